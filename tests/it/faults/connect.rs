//! No connection to Easemob: nothing was sent, and a later send works by itself.

use std::time::Duration;

use tokio::time::sleep;
use tonic::Code;

use super::{assert_arrived, assert_worth_waiting, one_place, says};
use crate::support::easemob::{Closed, Easemob};

#[tokio::test]
async fn a_refused_connection_sends_nothing() {
    let easemob = Easemob::start();
    let gateway = one_place(easemob.url()).start().await;
    let mut client = gateway.client().await;
    client.send_message(says("before")).await.unwrap();
    easemob.down();

    let mut wait = Duration::ZERO;
    for _ in 0..3 {
        let status = client.send_message(says("while down")).await.unwrap_err();
        wait = assert_worth_waiting(&status, Code::Unavailable, "EASEMOB_UNREACHABLE");
    }

    easemob.up();
    // By now nobody even tries: as long as the last one was told.
    sleep(wait).await;
    client.send_message(says("after")).await.unwrap();
    assert_arrived(&easemob, &["before", "after"]);
    assert_eq!(easemob.seen().tokens.len(), 1);
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let closed = Closed::new();
    let gateway = one_place(closed.url())
        .server(|server| server.default_deadline = Duration::from_secs(1))
        .start()
        .await;
    let mut client = gateway.client().await;

    let status = client.send_message(says("hello")).await.unwrap_err();

    let wait = assert_worth_waiting(&status, Code::Unavailable, "EASEMOB_UNREACHABLE");
    assert!(wait <= Duration::from_secs(1), "{wait:?}");
}

#[tokio::test]
async fn a_host_that_does_not_exist_sends_nothing() {
    let gateway = one_place("http://does-not-exist.invalid")
        .app(|app| app.insecure_http = true)
        .start()
        .await;
    let mut client = gateway.client().await;

    let status = client.send_message(says("hello")).await.unwrap_err();

    assert_worth_waiting(&status, Code::Unavailable, "EASEMOB_UNREACHABLE");
}

#[tokio::test]
async fn a_connection_that_is_neither_made_nor_refused_sends_nothing() {
    let easemob = Easemob::start();
    let gateway = one_place(easemob.url()).start().await;
    let mut client = gateway.client().await;
    client.send_message(says("before")).await.unwrap();
    easemob.black_hole();

    let status = client
        .send_message(says("into the hole"))
        .await
        .unwrap_err();

    assert_worth_waiting(&status, Code::Unavailable, "EASEMOB_UNREACHABLE");
    easemob.end_black_hole();
    client.send_message(says("after")).await.unwrap();
    // A connection that comes about late carries nothing.
    assert_arrived(&easemob, &["before", "after"]);
}
