//! Easemob's quota, kept and used: the sandbox counts as Easemob does and refuses what is too much.

use std::time::{Duration, Instant};

use easemob_gateway::{
    app::Quota,
    sandbox::{self, Sandbox},
};
use tokio::time::sleep;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    gateway::Setup,
    request::{text_to, verdict},
};

/// A gateway with Easemob's own figures, in front of a sandbox that has them too.
fn setup(change: impl FnOnce(&mut Quota)) -> (Sandbox, Setup) {
    let sandbox = Sandbox::start(sandbox::Config {
        listen: ([127, 0, 0, 1], 0).into(),
        ..sandbox::Config::default()
    })
    .unwrap();
    let setup = Setup::at(sandbox.base_url()).app(|app| {
        app.quota = Quota::default();
        change(&mut app.quota);
    });
    (sandbox, setup)
}

#[tokio::test]
async fn a_burst_waits_its_turn_and_easemob_refuses_none_of_it() {
    let (_sandbox, setup) = setup(|_| {});
    let gateway = setup.start().await;
    let client = gateway.client().await;
    // Easemob takes 100 a second. At once they would be refused there.
    let begin = Instant::now();
    let sends: Vec<_> = (0..250)
        .map(|i| {
            let mut client = client.clone();
            tokio::spawn(async move {
                let request = text_to(&[&format!("user-{i}")]);
                // A connection has 100 streams; the library waits for one.
                client.send_message(request).await
            })
        })
        .collect();
    for send in sends {
        let sent = send.await.unwrap().unwrap().into_inner();
        assert_eq!(sent.accepted.len(), 1);
        assert!(sent.failures.is_empty());
    }
    assert!(begin.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn what_has_no_turn_in_time_is_refused_at_once_as_a_whole_and_told_when() {
    let (sandbox, setup) = setup(|quota| quota.groups.messages_per_second = 6);
    let gateway = setup.start().await;
    let mut client = gateway.client().await;
    let groups = |count: u32| {
        use easemob_gateway::proto::{Groups, Message, SendMessageRequest, message::Target};
        let group_ids = (0..count).map(|i| (1_000 + i).to_string()).collect();
        let target = Target::Groups(Groups {
            group_ids,
            ..Default::default()
        });
        let SendMessageRequest { message, .. } = text_to(&["x"]);
        let mut request = tonic::Request::new(SendMessageRequest {
            message: Some(Message {
                target: Some(target),
                ..message.unwrap()
            }),
            ..Default::default()
        });
        request.set_timeout(Duration::from_millis(500));
        request
    };
    client.send_message(groups(6)).await.unwrap();
    let arrived = sandbox.messages().len();

    let begin = Instant::now();
    let refusal = client.send_message(groups(6)).await.unwrap_err();
    assert!(begin.elapsed() < Duration::from_millis(400));
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    let expected = ("QUOTA_EXCEEDED".to_owned(), "NOT_SENT".to_owned());
    assert_eq!(verdict(&refusal), expected);
    assert_eq!(sandbox.messages().len(), arrived);

    // Exactly as long as it was told.
    sleep(wait(&refusal).expect("waiting helps")).await;
    client.send_message(groups(6)).await.unwrap();
}

#[tokio::test]
async fn more_than_a_deadline_allows_is_told_the_time_that_it_needs() {
    let (_sandbox, setup) = setup(|quota| quota.users.messages_per_minute = 10);
    let gateway = setup.start().await;
    let mut client = gateway.client().await;
    let users: Vec<_> = (0..25).map(|i| format!("user-{i}")).collect();
    let users: Vec<_> = users.iter().map(String::as_str).collect();
    let refusal = client.send_message(text_to(&users)).await.unwrap_err();
    assert_eq!(verdict(&refusal).0, "QUOTA_EXCEEDED");
    assert_eq!(wait(&refusal), None);
    assert!(
        refusal.message().contains("takes 121 s of it"),
        "{}",
        refusal.message()
    );
}

fn wait(refusal: &Status) -> Option<Duration> {
    refusal.get_details_retry_info()?.retry_delay
}
