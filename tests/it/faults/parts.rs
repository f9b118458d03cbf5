//! A message in several parts: each has a fate of its own, and the caller is told every one.

use std::{collections::HashSet, time::Duration};

use easemob_gateway::proto::{
    ErrorReason, Groups, SendMessageRequest, SendMessageResponse, SendState, Users, message::Target,
};
use tonic::{Code, Status};

use super::{assert_in_doubt, assert_not_sent, one_place};
use crate::support::{
    easemob::{Easemob, Gate, Script},
    gateway::{Setup, TestGateway},
    request::{message, request, text},
};

/// A gateway that splits by number alone, and sends one part after the other.
fn in_turn(easemob: &Easemob) -> Setup {
    one_place(easemob.url()).app(|app| app.limits.request_bytes = 0)
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("user-{i}")).collect()
}

fn to(user_ids: &[String], words: &str) -> SendMessageRequest {
    let user_ids = user_ids.to_vec();
    request(message(Target::Users(Users { user_ids }), text(words)))
}

async fn send(
    gateway: &TestGateway,
    request: SendMessageRequest,
) -> Result<SendMessageResponse, Status> {
    let mut client = gateway.client().await;
    Ok(client.send_message(request).await?.into_inner())
}

/// State, reason and number of recipients of each failure.
fn failures(response: &SendMessageResponse) -> HashSet<(SendState, ErrorReason, usize)> {
    let failures = response.failures.iter();
    failures
        .map(|failure| (failure.state(), failure.reason(), failure.recipients.len()))
        .collect()
}

#[tokio::test]
async fn each_part_has_its_own_fate_and_every_recipient_is_told_it() {
    let easemob = Easemob::start();
    let gateway = in_turn(&easemob).start().await;
    // Parts that wait for the first token together go on in any order.
    send(&gateway, to(&names(1), "before")).await.unwrap();
    easemob.on_send(Script::read().accept());
    easemob.on_send(Script::read().reset());
    easemob.on_send(Script::read().answer(400, ""));
    easemob.on_send(Script::read().answer(200, r#"{"data":{"user-1800":"1"}}"#));
    let all = names(2_000);

    let result = send(&gateway, to(&all, "to many")).await;

    let sent = result.unwrap();
    assert_eq!(sent.accepted.len(), 601);
    let expected = [
        (SendState::NotSent, ErrorReason::InvalidRequest, 600),
        // Reset, and 200 without an ID, differ in their text.
        (SendState::MaybeSent, ErrorReason::OutcomeUnknown, 600),
        (SendState::MaybeSent, ErrorReason::OutcomeUnknown, 199),
    ];
    assert_eq!(failures(&sent), expected.into());
}

#[tokio::test]
async fn where_all_parts_fail_for_one_reason_the_rpc_fails_for_it() {
    let easemob = Easemob::start();
    easemob.always_on_send(Script::read().answer(400, ""));
    let gateway = in_turn(&easemob).start().await;
    let all = names(1_201);
    let result = send(&gateway, to(&all, "wrong")).await;
    assert_not_sent(
        &result.unwrap_err(),
        Code::InvalidArgument,
        "INVALID_REQUEST",
    );

    // The texts may differ.
    easemob.on_send(Script::read().answer(500, ""));
    easemob.on_send(Script::read().answer(502, ""));
    easemob.on_send(Script::read().fin());
    let result = send(&gateway, to(&all, "unknown")).await;
    assert_in_doubt(&result.unwrap_err());
    assert_eq!(easemob.seen().sends.len(), 6);
}

#[tokio::test]
async fn where_parts_fail_for_several_reasons_the_rpc_tells_each() {
    let easemob = Easemob::start();
    easemob.on_send(Script::read().answer(400, ""));
    easemob.on_send(Script::read().answer(500, ""));
    let gateway = in_turn(&easemob).start().await;
    let all = names(1_200);

    let result = send(&gateway, to(&all, "neither")).await;

    let sent = result.unwrap();
    assert_eq!(sent.accepted, []);
    let expected = [
        (SendState::NotSent, ErrorReason::InvalidRequest, 600),
        (SendState::MaybeSent, ErrorReason::OutcomeUnknown, 600),
    ];
    assert_eq!(failures(&sent), expected.into());
}

#[tokio::test]
async fn at_the_deadline_each_part_is_told_as_what_is_known_of_it() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().accept());
    easemob.on_send(Script::read().wait(&gate).accept());
    let gateway = in_turn(&easemob)
        .server(|server| server.default_deadline = Duration::from_millis(600))
        .app(|app| app.timeouts.attempt = Duration::from_secs(20))
        .app(|app| app.timeouts.call = Duration::from_secs(20))
        .start()
        .await;
    let all = names(1_800);

    let result = send(&gateway, to(&all, "too many for the time")).await;
    gate.open();
    let report = gateway.drained().await;

    // The part under way was waited for, and the one behind it never sent.
    assert!(report.in_time, "{report:?}");
    assert_eq!(easemob.seen().sends.len(), 2);
    let sent = result.unwrap();
    assert_eq!(sent.accepted.len(), 600);
    let expected = [
        (SendState::MaybeSent, ErrorReason::OutcomeUnknown, 600),
        (SendState::NotSent, ErrorReason::DeadlineExceeded, 600),
    ];
    assert_eq!(failures(&sent), expected.into());
}

#[tokio::test]
async fn parts_of_a_message_go_at_once_within_their_bound() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.always_on_send(Script::read().wait(&gate).accept());
    let gateway = Setup::at(easemob.url())
        .delivery(|delivery| delivery.parts_in_flight = 3)
        .start()
        .await;
    let group_ids = names(30);
    let groups = Groups {
        group_ids: group_ids.clone(),
        ..Groups::default()
    };
    let to_groups = request(message(Target::Groups(groups), text("at once")));
    let sending = tokio::spawn({
        let mut client = gateway.client().await;
        async move { client.send_message(to_groups).await }
    });

    easemob
        .until("three are there", |seen| seen.sends.len() == 3)
        .await;
    assert_eq!(easemob.seen().connections, 4, "and one for the token");
    gate.open();

    let result = sending.await.unwrap().map(tonic::Response::into_inner);
    assert_eq!(result.unwrap().accepted.len(), 30);
    let seen = easemob.seen();
    assert_eq!(seen.sends.len(), 10);
    assert!(seen.connections <= 4 + 3, "{}", seen.connections);
}

#[tokio::test]
async fn callers_that_leave_at_random_leave_nothing_twice() {
    let easemob = Easemob::start();
    let gateway = Setup::at(easemob.url()).start().await;
    let client = gateway.client().await;
    let recipients = names(7);
    let mut calls = Vec::new();
    for i in 0..crate::support::times(200, 1_000) {
        let groups = Groups {
            group_ids: recipients.clone(),
            ..Groups::default()
        };
        let message = message(Target::Groups(groups), text(&format!("random {i}")));
        let mut client = client.clone();
        let call = async move { client.send_message(request(message)).await };
        // Some leave at once, some after the answer.
        let patience = Duration::from_micros(fastrand::u64(0..20_000));
        calls.push(tokio::spawn(tokio::time::timeout(patience, call)));
    }
    for call in calls {
        let _told_or_left = call.await.unwrap();
    }
    let report = gateway.drained().await;
    assert!(report.in_time, "{report:?}");
    assert_eq!(report.tasks_lost, 0);
}
