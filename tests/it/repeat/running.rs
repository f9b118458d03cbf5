//! A repeat while the first request is under way, or after its caller has left.

use std::time::Duration;

use super::{in_doubt, refusal, says, send, under_way};
use crate::support::{
    easemob::{Easemob, Gate, Script},
    gateway::{Setup, TestGateway},
    metrics::Page,
    request::send_within,
    soon,
};

/// Waits until so many requests have found this under their ID.
async fn found(gateway: &TestGateway, what: &str, times: f64) {
    Page::until(gateway, what, |page| {
        page.count("easemob_gateway_request_ids_total", &[("outcome", what)]) == times
    })
    .await;
}

#[tokio::test]
async fn a_repeat_waits_for_the_first_and_gets_its_outcome() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    let gateway = Setup::at(easemob.url()).start().await;
    let client = gateway.client().await;
    let first = under_way(&easemob, &client, says("1", "once")).await;
    let repeats: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { send(&client, says("1", "once")).await })
        })
        .collect();
    found(&gateway, "joined", 8.0).await;
    gate.open();
    let first = soon("the first", first).await.unwrap().unwrap();
    for repeat in repeats {
        let repeat = soon("a repeat", repeat).await.unwrap().unwrap();
        assert!(repeat.replayed);
        assert_eq!(repeat.accepted, first.accepted);
    }
    assert_eq!(easemob.seen().texts(), ["once"]);
}

#[tokio::test]
async fn a_repeat_that_cannot_wait_so_long_leaves_the_outcome_in_doubt() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    let gateway = Setup::at(easemob.url()).start().await;
    let client = gateway.client().await;
    let first = under_way(&easemob, &client, says("1", "once")).await;
    let time = Duration::from_millis(300);
    let hasty = send_within(&client, &says("1", "once"), time).await;
    assert_eq!(refusal(hasty), in_doubt());
    gate.open();
    soon("the first", first).await.unwrap().unwrap();
    assert!(send(&client, says("1", "once")).await.unwrap().replayed);
    assert_eq!(easemob.seen().texts(), ["once"]);
}

#[tokio::test]
async fn whoever_waits_sends_what_the_first_did_not() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).answer(400, ""));
    let gateway = Setup::at(easemob.url()).start().await;
    let client = gateway.client().await;
    let first = under_way(&easemob, &client, says("1", "once")).await;
    let repeats: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { send(&client, says("1", "once")).await })
        })
        .collect();
    found(&gateway, "joined", 4.0).await;
    gate.open();
    soon("the first", first).await.unwrap().unwrap_err();
    for repeat in repeats {
        soon("a repeat", repeat).await.unwrap().unwrap();
    }
    // The one that was refused, and one more.
    assert_eq!(easemob.seen().texts(), ["once", "once"]);
}

#[tokio::test]
async fn a_caller_that_leaves_before_the_dispatch_leaves_it_all_to_the_repeat() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_token(Script::read().wait(&gate).give_token());
    let gateway = Setup::at(easemob.url()).start().await;
    let client = gateway.client().await;
    let leaves = tokio::spawn({
        let client = client.clone();
        async move { send(&client, says("1", "once")).await }
    });
    let asked = easemob.until("a token is asked for", |seen| seen.tokens.len() == 1);
    asked.await;
    leaves.abort();
    let repeat = tokio::spawn(async move { send(&client, says("1", "once")).await });
    // Each found nothing: the first has given back what it had.
    found(&gateway, "first", 2.0).await;
    gate.open();
    let sent = soon("the repeat", repeat).await.unwrap().unwrap();
    assert!(!sent.replayed);
    assert_eq!(easemob.seen().texts(), ["once"]);
}

#[tokio::test]
async fn a_caller_that_leaves_after_the_dispatch_finds_the_outcome_by_its_repeat() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    let gateway = Setup::at(easemob.url()).start().await;
    let client = gateway.client().await;
    let leaves = under_way(&easemob, &client, says("1", "once")).await;
    leaves.abort();
    let repeat = tokio::spawn(async move { send(&client, says("1", "once")).await });
    found(&gateway, "joined", 1.0).await;
    gate.open();
    let sent = soon("the repeat", repeat).await.unwrap().unwrap();
    assert!(sent.replayed);
    assert_eq!(easemob.seen().texts(), ["once"]);
}
