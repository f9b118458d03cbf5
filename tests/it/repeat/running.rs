//! A repeat while the first request is under way, or after its caller has left.

use std::time::Duration;

use tokio::time::timeout;
use tonic::Request;

use super::{in_doubt, refusal, says, send};
use crate::support::{
    easemob::{Easemob, Gate, Script},
    gateway::Setup,
    soon,
};

#[tokio::test]
async fn a_repeat_waits_for_the_first_and_gets_its_outcome() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    let gateway = Setup::at(easemob.url()).start().await;
    let client = gateway.client().await;
    let first = tokio::spawn({
        let client = client.clone();
        async move { send(&client, says("1", "once")).await }
    });
    easemob
        .until("it is there", |seen| seen.sends.len() == 1)
        .await;
    let repeats: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { send(&client, says("1", "once")).await })
        })
        .collect();
    // One that answers at once: those before it have been read.
    send(&client, says("2", "other")).await.unwrap();
    gate.open();
    let first = soon("the first", first).await.unwrap().unwrap();
    for repeat in repeats {
        let repeat = soon("a repeat", repeat).await.unwrap().unwrap();
        assert!(repeat.replayed);
        assert_eq!(repeat.accepted, first.accepted);
    }
    assert_eq!(easemob.seen().texts(), ["once", "other"]);
}

#[tokio::test]
async fn a_repeat_that_cannot_wait_so_long_leaves_the_outcome_in_doubt() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    let gateway = Setup::at(easemob.url()).start().await;
    let client = gateway.client().await;
    let first = tokio::spawn({
        let client = client.clone();
        async move { send(&client, says("1", "once")).await }
    });
    easemob
        .until("it is there", |seen| seen.sends.len() == 1)
        .await;
    let mut hasty = Request::new(says("1", "once"));
    hasty.set_timeout(Duration::from_millis(300));
    let hasty = client.clone().send_message(hasty).await;
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
    let first = tokio::spawn({
        let client = client.clone();
        async move { send(&client, says("1", "once")).await }
    });
    easemob
        .until("it is there", |seen| seen.sends.len() == 1)
        .await;
    let repeats: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { send(&client, says("1", "once")).await })
        })
        .collect();
    send(&client, says("2", "other")).await.unwrap();
    gate.open();
    soon("the first", first).await.unwrap().unwrap_err();
    for repeat in repeats {
        soon("a repeat", repeat).await.unwrap().unwrap();
    }
    // The one that was refused, and one more.
    assert_eq!(easemob.seen().texts(), ["once", "other", "once"]);
}

#[tokio::test]
async fn a_caller_that_leaves_before_the_dispatch_leaves_it_all_to_the_repeat() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_token(Script::read().wait(&gate).give_token());
    let gateway = Setup::at(easemob.url()).start().await;
    let client = gateway.client().await;
    let leaves = send(&client, says("1", "once"));
    let left = timeout(Duration::from_millis(300), leaves).await;
    left.unwrap_err();
    let repeat = tokio::spawn(async move { send(&client, says("1", "once")).await });
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
    let leaves = tokio::spawn({
        let client = client.clone();
        async move { send(&client, says("1", "once")).await }
    });
    easemob
        .until("it is there", |seen| seen.sends.len() == 1)
        .await;
    leaves.abort();
    let repeat = tokio::spawn(async move { send(&client, says("1", "once")).await });
    gate.open();
    let sent = soon("the repeat", repeat).await.unwrap().unwrap();
    assert!(sent.replayed);
    assert_eq!(easemob.seen().texts(), ["once"]);
}
