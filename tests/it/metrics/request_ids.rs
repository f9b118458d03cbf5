//! Requests that carry an ID: what was remembered of each, and how much is remembered.

use easemob_gateway::proto::SendMessageRequest;

use crate::support::{
    easemob::{Easemob, Gate, Script},
    gateway::Setup,
    metrics::Page,
    request::text_to,
};

const REQUEST_IDS: &str = "easemob_gateway_request_ids_total";

fn under(id: &str) -> SendMessageRequest {
    SendMessageRequest {
        request_id: id.into(),
        ..text_to(&["bob"])
    }
}

#[tokio::test]
async fn requests_with_an_id_are_counted_by_what_is_remembered_of_them() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().answer(400, ""));
    easemob.on_send(Script::read().wait(&gate).accept());
    // Room for one.
    let setup = Setup::at(easemob.url()).store(|store| store.memory_bytes = 220);
    let gateway = setup.start().await;
    let mut client = gateway.client().await;
    let counted = async |outcome: &'static str, times: f64| {
        Page::until(&gateway, outcome, |page| {
            page.count(REQUEST_IDS, &[("app", "shop"), ("outcome", outcome)]) == times
        })
        .await
    };
    for outcome in [
        "first", "resumed", "replayed", "joined", "reused", "refused",
    ] {
        counted(outcome, 0.0).await;
    }

    // Refused, so nothing is remembered of it.
    client.send_message(under("1")).await.unwrap_err();
    let page = counted("first", 1.0).await;
    assert_eq!(page.get("easemob_gateway_store_records", &[]), Some(0.0));

    let run = |id: &'static str| {
        let mut client = client.clone();
        tokio::spawn(async move { client.send_message(under(id)).await })
    };
    let (first, joined) = (run("1"), {
        counted("first", 2.0).await;
        run("1")
    });
    counted("joined", 1.0).await;
    gate.open();
    first.await.unwrap().unwrap();
    joined.await.unwrap().unwrap();
    let page = counted("replayed", 1.0).await;
    assert_eq!(page.get("easemob_gateway_store_records", &[]), Some(1.0));
    assert!(page.count("easemob_gateway_store_active_bytes", &[]) > 0.0);

    let mut other = under("1");
    other.message.as_mut().unwrap().silent = true;
    client.send_message(other).await.unwrap_err();
    counted("reused", 1.0).await;
    client.send_message(under("2")).await.unwrap_err();
    counted("refused", 1.0).await;

    // In doubt, and asked for once more.
    drop(gateway);
    let gateway = Setup::at(easemob.url()).start().await;
    let mut client = gateway.client().await;
    easemob.on_send(Script::read().reset());
    client.send_message(under("3")).await.unwrap_err();
    let again = SendMessageRequest {
        resend_maybe_sent: true,
        ..under("3")
    };
    client.send_message(again).await.unwrap();
    let page = Page::of(&gateway).await;
    assert_eq!(page.count(REQUEST_IDS, &[("outcome", "resumed")]), 1.0);
}
