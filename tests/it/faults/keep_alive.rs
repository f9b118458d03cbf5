//! U3: Easemob closes a connection that it has kept open, at about the instant of the next request.

use std::time::Duration;

use easemob_gateway::proto::SendMessageRequest;
use tokio::task::JoinSet;

use super::{assert_in_doubt, says};
use crate::support::{
    easemob::{Easemob, Script},
    gateway::TestGateway,
    times,
};

/// How long after its answer Easemob closes; the next request comes in the middle of this.
const LONGEST: Duration = Duration::from_millis(4);
const CALLERS: u32 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_ends_under_a_request_loses_it_or_leaves_it_in_doubt_and_sends_nothing_twice()
 {
    let rounds = times(400, 10_000);
    let easemob = Easemob::start();
    for round in 0..rounds {
        let open = LONGEST * round / rounds;
        let answered = Script::read().accept().stay(open);
        easemob.on_send(if round % 2 == 0 {
            answered.fin()
        } else {
            answered.reset()
        });
    }
    let gateway = TestGateway::start(easemob.url()).await;
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let client = gateway.client().await;
        callers.spawn(async move {
            let mut results = Vec::new();
            for round in 0..rounds / CALLERS {
                let text = format!("{caller}: {round}");
                let request = SendMessageRequest {
                    request_id: text.clone(),
                    ..says(&text)
                };
                results.push(client.clone().send_message(request).await);
                tokio::time::sleep(LONGEST / 2).await;
            }
            results
        });
    }
    let results: Vec<_> = callers.join_all().await.into_iter().flatten().collect();
    gateway.drained().await;

    let failed = results.iter().filter_map(|result| result.as_ref().err());
    let in_doubt = failed.inspect(|status| assert_in_doubt(status)).count();
    println!("{} sends, {in_doubt} of them in doubt", results.len());
    // Most of those that meet a dead connection had not begun.
    assert!(in_doubt < results.len() / 2, "{in_doubt}");
}
