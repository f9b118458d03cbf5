//! What is tried again: what is proven not sent, while its caller waits, and nothing else unasked.

use std::time::Duration;

use easemob_gateway::proto::{Groups, SendMessageRequest, SendMessageResponse, message::Target};
use tonic::{Code, Request, Status};

use super::{assert_arrived, assert_in_doubt, assert_worth_waiting, one_place, says};
use crate::support::{
    easemob::{Easemob, Gate, Script},
    gateway::TestGateway,
    request::{message, request, text},
};

const LIMIT: &str =
    r#"{"error":"reach_limit","error_description":"This request has reached api limit"}"#;

/// A send with so much time.
async fn send_within(
    gateway: &TestGateway,
    time: Duration,
    request: SendMessageRequest,
) -> Result<SendMessageResponse, Status> {
    let mut request = Request::new(request);
    request.set_timeout(time);
    let mut client = gateway.client().await;
    Ok(client.send_message(request).await?.into_inner())
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_is_tried_again() {
    let easemob = Easemob::start();
    let gateway = one_place(easemob.url()).start().await;
    let patient = Duration::from_secs(20);
    send_within(&gateway, patient, says("before"))
        .await
        .unwrap();
    easemob.black_hole();

    // The kernel repeats itself after a second: the first attempt is given up before.
    let sending = send_within(&gateway, patient, says("again"));
    let (result, ()) = tokio::join!(sending, async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        easemob.end_black_hole();
    });

    assert_eq!(result.unwrap().accepted.len(), 1);
}

#[tokio::test]
async fn a_used_up_quota_stops_its_kind_of_target_alone_and_what_can_wait_goes_again() {
    let easemob = Easemob::start();
    easemob.on_send(Script::read().answer(429, LIMIT));
    let gateway = one_place(easemob.url())
        .delivery(|delivery| delivery.queue = 10)
        .start()
        .await;
    let (short, long) = (Duration::from_millis(900), Duration::from_secs(20));

    // The second is told without a call.
    for words in ["first", "second"] {
        let result = send_within(&gateway, short, says(words)).await;
        let status = result.unwrap_err();
        let wait = assert_worth_waiting(&status, Code::ResourceExhausted, "QUOTA_EXCEEDED");
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
    }
    assert_arrived(&easemob, &["first"]);
    let groups = Groups {
        group_ids: vec!["bob".into()],
        ..Groups::default()
    };
    let to_group = request(message(Target::Groups(groups), text("to a group")));
    send_within(&gateway, short, to_group).await.unwrap();

    let result = send_within(&gateway, long, says("third")).await;

    result.unwrap();
    assert_arrived(&easemob, &["first", "to a group", "third"]);
}

#[tokio::test]
async fn what_the_quota_refused_goes_again_by_itself() {
    let easemob = Easemob::start();
    for _ in 0..2 {
        easemob.on_send(Script::read().answer(429, LIMIT));
    }
    let gateway = one_place(easemob.url()).start().await;

    let result = send_within(&gateway, Duration::from_secs(20), says("patient")).await;

    assert_eq!(result.unwrap().accepted.len(), 1);
    assert_arrived(&easemob, &["patient"; 3]);
}

#[tokio::test]
async fn nothing_is_tried_again_for_a_caller_that_has_left() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).answer(429, LIMIT));
    let gateway = one_place(easemob.url())
        .delivery(|delivery| delivery.queue = 10)
        .server(|server| server.max_requests_in_flight = 1)
        .start()
        .await;
    let time = Duration::from_secs(20);
    let mut client = gateway.client().await;
    let gone = tokio::spawn(async move { client.send_message(says("gone")).await });
    easemob
        .until("it is there", |seen| seen.sends.len() == 1)
        .await;
    gone.abort();
    // The gateway takes one request at a time: when it takes another, it knows that the first is gone.
    let empty = SendMessageRequest::default;
    while send_within(&gateway, time, empty())
        .await
        .unwrap_err()
        .code()
        != Code::InvalidArgument
    {}
    gate.open();

    send_within(&gateway, time, says("next")).await.unwrap();
    let report = gateway.drained().await;

    assert!(report.in_time, "{report:?}");
    assert_arrived(&easemob, &["gone", "next"]);
}

#[tokio::test]
async fn what_may_have_been_sent_is_sent_again_where_the_caller_asks_for_it() {
    let easemob = Easemob::start();
    let gateway = one_place(easemob.url()).start().await;
    let time = Duration::from_secs(20);
    let twice = |words: &str| SendMessageRequest {
        resend_maybe_sent: true,
        ..says(words)
    };

    easemob.on_send(Script::read().reset());
    send_within(&gateway, time, twice("at least once"))
        .await
        .unwrap();
    assert_arrived(&easemob, &["at least once"; 2]);

    // What a later attempt is told does not say what became of the first.
    easemob.on_send(Script::read().fin());
    easemob.on_send(Script::read().answer(400, ""));
    let status = send_within(&gateway, time, twice("still in doubt")).await;
    assert_in_doubt(&status.unwrap_err());

    easemob.always_on_send(Script::read().answer(500, ""));
    let status = send_within(&gateway, time, twice("always in doubt")).await;
    assert_in_doubt(&status.unwrap_err());
    assert_eq!(easemob.seen().sends.len(), 2 + 2 + 3);

    let status = send_within(&gateway, time, says("once")).await;
    assert_in_doubt(&status.unwrap_err());
    assert_eq!(easemob.seen().sends.len(), 2 + 2 + 3 + 1);
}
