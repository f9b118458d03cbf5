//! What a request ID promises: whatever happened to the first request, a repeat sends what is left of
//! it, and nothing twice.

mod chaos;
mod long;
mod media;
mod running;
mod traced;

use std::time::Duration;

use easemob_gateway::proto::{SendMessageRequest, SendMessageResponse, SendState};
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{
    binary::Binary,
    easemob::{Easemob, Script},
    gateway::Setup,
    request::{in_doubt, message, refusal, says, send, text, under_way, users, verdict},
};

fn reused() -> (Code, String, String) {
    let (reason, state) = ("REQUEST_ID_REUSED", "NOT_SENT");
    (Code::FailedPrecondition, reason.into(), state.into())
}

#[tokio::test]
async fn a_repeat_is_answered_from_the_record_on_every_connection() {
    let easemob = Easemob::start();
    let gateway = Setup::at(easemob.url()).start().await;
    let first = send(&gateway.client().await, says("1", "once"))
        .await
        .unwrap();
    assert!(!first.replayed);
    for _ in 0..4 {
        // The next connection has another shard.
        let again = send(&gateway.client().await, says("1", "once"))
            .await
            .unwrap();
        assert!(again.replayed);
        assert_eq!(again.accepted, first.accepted);
        assert_eq!(again.failures, []);
    }
    assert_eq!(easemob.seen().texts(), ["once"]);
}

#[tokio::test]
async fn another_message_under_the_same_id_is_refused() {
    let easemob = Easemob::start();
    let gateway = Setup::at(easemob.url()).start().await;
    let client = gateway.client().await;
    send(&client, says("1", "first")).await.unwrap();
    assert_eq!(refusal(send(&client, says("1", "other")).await), reused());
    let mut more = says("1", "first");
    more.message.as_mut().unwrap().target = Some(users(&["bob", "amy"]));
    assert_eq!(refusal(send(&client, more).await), reused());
    send(&client, says("2", "other")).await.unwrap();
    assert_eq!(easemob.seen().texts(), ["first", "other"]);
}

#[tokio::test]
async fn the_same_message_listed_in_another_order_is_a_repeat() {
    let easemob = Easemob::start();
    let gateway = Setup::at(easemob.url()).start().await;
    let client = gateway.client().await;
    let to = |ids: &[&str]| SendMessageRequest {
        message: Some(message(users(ids), text("to three"))),
        ..says("1", "")
    };
    let first = send(&client, to(&["amy", "bob", "zoe"])).await.unwrap();
    let again = send(&client, to(&["Zoe", "amy", "BOB"])).await.unwrap();
    let id = |response: &SendMessageResponse, name: &str| {
        let mut accepted = response.accepted.iter();
        let found = accepted.find(|accepted| accepted.recipient == name);
        found.unwrap().message_id.clone()
    };
    for (before, now) in [("amy", "amy"), ("bob", "BOB"), ("zoe", "Zoe")] {
        assert_eq!(id(&first, before), id(&again, now));
    }
    assert_eq!(easemob.seen().sends.len(), 1);
}

#[tokio::test]
async fn what_is_in_doubt_is_not_sent_again_unless_asked_for() {
    let easemob = Easemob::start();
    easemob.on_send(Script::read().reset());
    let gateway = Setup::at(easemob.url()).start().await;
    let client = gateway.client().await;
    for _ in 0..3 {
        assert_eq!(refusal(send(&client, says("1", "doubt")).await), in_doubt());
    }
    assert_eq!(easemob.seen().texts(), ["doubt"]);

    // Asked for, and refused: that does not tell that the first was not sent either.
    let resend = SendMessageRequest {
        resend_maybe_sent: true,
        ..says("1", "doubt")
    };
    easemob.on_send(Script::read().answer(400, ""));
    assert_eq!(refusal(send(&client, resend.clone()).await), in_doubt());
    let sent = send(&client, resend).await.unwrap();
    assert_eq!(sent.accepted.len(), 1);
    assert_eq!(easemob.seen().texts(), ["doubt"; 3]);

    let again = send(&client, says("1", "doubt")).await.unwrap();
    assert!(again.replayed);
    assert_eq!(easemob.seen().texts(), ["doubt"; 3]);
}

#[tokio::test]
async fn what_was_not_sent_is_sent_by_the_repeat() {
    let easemob = Easemob::start();
    easemob.on_send(Script::read().answer(400, ""));
    let gateway = Setup::at(easemob.url()).start().await;
    let client = gateway.client().await;
    let status = send(&client, says("1", "later")).await.unwrap_err();
    assert_eq!(verdict(&status).1, "NOT_SENT");
    let sent = send(&client, says("1", "later")).await.unwrap();
    assert!(!sent.replayed, "nothing was remembered");
}

#[tokio::test]
async fn a_repeat_of_a_partial_answer_tells_every_recipient_once() {
    let easemob = Easemob::start();
    let answer = r#"{"data":{"amy":"7"},"timestamp":1}"#;
    easemob.on_send(Script::read().answer(200, answer));
    let gateway = Setup::at(easemob.url()).start().await;
    let client = gateway.client().await;
    let both = || SendMessageRequest {
        message: Some(message(users(&["amy", "bob"]), text("to both"))),
        ..says("1", "")
    };
    for replayed in [false, true, true] {
        let sent = send(&client, both()).await.unwrap();
        assert_eq!(sent.replayed, replayed);
        assert_eq!(sent.accepted.len(), 1);
        assert_eq!(sent.accepted[0].message_id, "7");
        assert_eq!(sent.failures.len(), 1);
        assert_eq!(sent.failures[0].recipients, ["bob"]);
        assert_eq!(sent.failures[0].state(), SendState::MaybeSent);
    }
    assert_eq!(easemob.seen().sends.len(), 1);
}

#[tokio::test]
async fn every_app_has_ids_of_its_own() {
    let easemob = Easemob::start();
    let mut setup = Setup::at(easemob.url());
    let mut other = setup.apps[0].1.clone();
    other.app_name = Some("other".into());
    setup.apps.push(("other".into(), other));
    setup.default_app = Some("shop".into());
    let gateway = setup.start().await;
    let client = gateway.client().await;
    let to_other = SendMessageRequest {
        app: "other".into(),
        ..says("1", "hello")
    };
    let first = send(&client, says("1", "hello")).await.unwrap();
    let second = send(&client, to_other).await.unwrap();
    assert!(!second.replayed);
    assert_ne!(first.accepted[0].message_id, second.accepted[0].message_id);
    assert_eq!(easemob.seen().sends.len(), 2);
}

#[tokio::test]
async fn the_log_says_at_every_start_where_the_promise_ends() {
    let app = "[apps.shop]\nbase_url = 'http://127.0.0.1:1'\norg_name = 'o'\napp_name = 'a'\n\
               client_id = 'c'\nclient_secret_env = 'SECRET'\n[store]\nttl = '30m'\n";
    let binary = Binary::serve(app, &[("SECRET", "secret")]).await;
    // What it says comes in order, and it says this before it serves.
    binary.client().await;
    binary.terminate();
    let (_, said) = binary.ended().await;
    let lines = said
        .lines()
        .filter(|line| line.contains("request IDs are remembered"));
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].contains("comes to this replica, and until it ends"));
    assert!(lines[0].contains("30m"));
}

/// M4.
#[tokio::test]
async fn a_full_store_refuses_new_ids_and_nothing_else() {
    let easemob = Easemob::start();
    let gateway = Setup::at(easemob.url())
        .store(|store| store.memory_bytes = 400)
        .start()
        .await;
    let client = gateway.client().await;
    let mut held = Vec::new();
    let status = loop {
        let id = held.len().to_string();
        match send(&client, says(&id, &id)).await {
            Ok(_) => held.push(id),
            Err(status) => break status,
        }
    };
    assert!(!held.is_empty());
    assert_eq!(status.code(), Code::ResourceExhausted);
    let (reason, state) = verdict(&status);
    assert_eq!((&*reason, &*state), ("OVERLOADED", "NOT_SENT"));
    let wait = status.get_error_details().retry_info().unwrap().retry_delay;
    let wait = wait.unwrap();
    assert!(
        wait > Duration::from_secs(3_500) && wait <= Duration::from_secs(3_601),
        "{wait:?}"
    );

    for id in &held {
        assert!(send(&client, says(id, id)).await.unwrap().replayed, "{id}");
    }
    send(&client, says("", "without an ID")).await.unwrap();
    assert_eq!(easemob.seen().sends.len(), held.len() + 1);
}
