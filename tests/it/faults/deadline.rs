//! Deadlines that pass, and callers that leave: before anything was sent it never will be, and after
//! that nobody is told that it was not.

use std::time::{Duration, Instant};

use easemob_gateway::proto::SendMessageRequest;
use tonic::{Code, Request, Status};

use super::{Told, assert_arrived, assert_in_doubt, assert_not_sent, one_place, says, told};
use crate::support::{
    easemob::{Easemob, Gate, Script, UNAUTHORIZED},
    gateway::{Setup, TestGateway},
    http2::{self, Connection},
    ledger::Client,
    soon,
};

/// A gateway with a place and a queue of one, and a short deadline for calls that name none. A client
/// would keep a deadline of its own by itself as well, and the test would not know whose it sees.
fn hurried(url: String) -> Setup {
    one_place(url)
        .delivery(|delivery| delivery.queue = 1)
        .server(|server| server.default_deadline = Duration::from_millis(150))
        .app(|app| {
            app.timeouts.connect = Duration::from_secs(20);
            app.timeouts.attempt = Duration::from_secs(20);
            app.timeouts.call = Duration::from_secs(20);
            app.timeouts.token = Duration::from_secs(20);
        })
}

/// A send with the short deadline, which passes.
async fn too_late(gateway: &TestGateway) -> Status {
    let request = says("too late");
    gateway
        .client()
        .await
        .send_message(request)
        .await
        .unwrap_err()
}

/// A send that has time, over a connection of its own.
async fn send(
    gateway: &TestGateway,
    words: &str,
) -> impl Future<Output = Result<(), Status>> + Send + 'static {
    let mut client = gateway.client().await;
    let request = patient(says(words));
    async move { client.send_message(request).await.map(drop) }
}

fn patient(request: SendMessageRequest) -> Request<SendMessageRequest> {
    let mut request = Request::new(request);
    request.set_timeout(Duration::from_secs(20));
    request
}

#[tokio::test]
async fn a_deadline_that_passes_while_no_connection_comes_about_sends_nothing_ever() {
    let easemob = Easemob::start();
    let gateway = hurried(easemob.url()).start().await;
    send(&gateway, "before").await.await.unwrap();
    easemob.black_hole();

    let status = too_late(&gateway).await;

    assert_not_sent(&status, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    easemob.end_black_hole();
    send(&gateway, "after").await.await.unwrap();
    assert_arrived(&easemob, &["before", "after"]);
}

#[tokio::test]
async fn a_deadline_that_passes_while_a_token_is_fetched_sends_nothing_ever() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_token(Script::read().wait(&gate).give_token());
    let gateway = hurried(easemob.url()).start().await;

    let status = too_late(&gateway).await;

    assert_not_sent(&status, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    gate.open();
    send(&gateway, "after").await.await.unwrap();
    assert_arrived(&easemob, &["after"]);
    assert_eq!(easemob.seen().tokens.len(), 1);
}

#[tokio::test]
async fn a_deadline_that_passes_in_the_queue_sends_nothing_ever() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    let gateway = hurried(easemob.url()).start().await;
    let first = tokio::spawn(send(&gateway, "first").await);
    easemob
        .until("the first is there", |seen| seen.sends.len() == 1)
        .await;

    let status = too_late(&gateway).await;

    assert_not_sent(&status, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    gate.open();
    first.await.unwrap().unwrap();
    send(&gateway, "after").await.await.unwrap();
    assert_arrived(&easemob, &["first", "after"]);
}

#[tokio::test]
async fn a_deadline_of_no_time_sends_nothing() {
    let easemob = Easemob::start();
    let gateway = hurried(easemob.url())
        .server(|server| server.default_deadline = Duration::ZERO)
        .start()
        .await;
    send(&gateway, "before").await.await.unwrap();

    let status = too_late(&gateway).await;

    assert_not_sent(&status, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    send(&gateway, "after").await.await.unwrap();
    assert_arrived(&easemob, &["before", "after"]);
}

#[tokio::test]
async fn a_deadline_that_passes_after_the_dispatch_leaves_the_outcome_in_doubt() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    let gateway = hurried(easemob.url()).start().await;

    let status = too_late(&gateway).await;
    let next = tokio::spawn(send(&gateway, "next").await);
    gate.open();
    next.await.unwrap().unwrap();

    assert_in_doubt(&status);
    let seen = easemob.seen();
    assert_eq!(seen.texts(), ["too late", "next"]);
    // It was not cut short: the answer was read, and the connection is as good as before.
    assert_eq!(seen.sends[0].connection, seen.sends[1].connection);
}

#[tokio::test]
async fn the_verdict_comes_before_the_callers_own_timer() {
    let easemob = Easemob::start();
    easemob.always_on_send(Script::read().silence());
    let gateway = hurried(easemob.url())
        .delivery(|delivery| delivery.calls_in_flight = 10)
        .start()
        .await;
    let mut client = gateway.client().await;
    let time = Duration::from_millis(400);
    // tonic's client keeps the deadline by itself, too. We are 25 ms ahead of it, which a busy machine
    // may take from us now and then, and not always.
    for _ in 0..10 {
        let mut request = Request::new(says("hello"));
        request.set_timeout(time);
        let begin = Instant::now();
        let status = client.send_message(request).await.unwrap_err();
        let took = begin.elapsed();
        if status.message() == "Timeout expired" {
            continue;
        }
        assert_in_doubt(&status);
        assert!(took < time && took > time / 2, "{took:?}");
        return;
    }
    panic!("the caller's own timer was always first");
}

#[tokio::test]
async fn after_the_deadline_a_refused_token_is_no_reason_to_send_again() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).answer(401, UNAUTHORIZED));
    let gateway = hurried(easemob.url()).start().await;

    let status = too_late(&gateway).await;
    let next = tokio::spawn(send(&gateway, "next").await);
    gate.open();
    next.await.unwrap().unwrap();

    // The caller has its answer: of whatever came of the message now, it would not hear.
    assert_in_doubt(&status);
    assert_arrived(&easemob, &["too late", "next"]);
}

#[tokio::test]
async fn a_caller_that_leaves_while_a_token_is_fetched_sends_nothing() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_token(Script::read().wait(&gate).give_token());
    let gateway = one_request(easemob.url()).start().await;
    let gone = tokio::spawn(send(&gateway, "gone").await);
    easemob
        .until("a token is asked for", |seen| seen.tokens.len() == 1)
        .await;

    gone.abort();
    noticed(&gateway).await;
    gate.open();
    send(&gateway, "after").await.await.unwrap();

    assert_arrived(&easemob, &["after"]);
}

#[tokio::test]
async fn a_caller_that_leaves_the_queue_sends_nothing_and_gives_its_place_to_another() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    let gateway = hurried(easemob.url()).start().await;
    let mut client = gateway.client().await;
    let first = tokio::spawn(send(&gateway, "first").await);
    easemob
        .until("the first is there", |seen| seen.sends.len() == 1)
        .await;
    let gone = loop {
        let gone = tokio::spawn(send(&gateway, "gone").await);
        // Where the probe came first and had the place in the queue, it was this one that was refused.
        if queue_is_full(&mut client).await {
            break gone;
        }
        assert_overloaded(&gone.await.unwrap().unwrap_err());
    };

    gone.abort();
    while queue_is_full(&mut client).await {}
    let last = tokio::spawn(send(&gateway, "last").await);
    gate.open();
    first.await.unwrap().unwrap();
    last.await.unwrap().unwrap();

    assert_arrived(&easemob, &["first", "last"]);
}

/// Whether a send is refused at once. Else it waits until its deadline.
async fn queue_is_full(client: &mut Client) -> bool {
    let status = client.send_message(says("probe")).await.unwrap_err();
    if status.code() == Code::DeadlineExceeded {
        return false;
    }
    assert_overloaded(&status);
    true
}

#[tokio::test]
async fn a_caller_that_leaves_after_the_dispatch_does_not_stop_the_send() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    let gateway = one_request(easemob.url()).start().await;
    let gone = tokio::spawn(send(&gateway, "gone").await);
    easemob
        .until("it is there", |seen| seen.sends.len() == 1)
        .await;

    gone.abort();
    noticed(&gateway).await;
    let next = tokio::spawn(send(&gateway, "next").await);
    gate.open();
    next.await.unwrap().unwrap();

    let seen = easemob.seen();
    assert_eq!(seen.texts(), ["gone", "next"]);
    // The answer was read to its end, or the connection could not serve another.
    assert_eq!(seen.sends[0].connection, seen.sends[1].connection);
}

/// A gateway that takes one request at a time: when it takes another, the first is gone.
fn one_request(url: String) -> Setup {
    hurried(url).server(|server| server.max_requests_in_flight = 1)
}

/// Waits until a gateway of [`one_request`] has noticed that its caller is gone.
async fn noticed(gateway: &TestGateway) {
    let mut client = gateway.client().await;
    let empty = SendMessageRequest::default();
    loop {
        let status = client.send_message(empty.clone()).await.unwrap_err();
        if status.code() == Code::InvalidArgument {
            return;
        }
        assert_overloaded(&status);
    }
}

#[track_caller]
fn assert_overloaded(status: &Status) {
    let expected = Told {
        code: Code::ResourceExhausted,
        reason: "OVERLOADED".into(),
        state: "NOT_SENT".into(),
        wait: Some(Duration::from_secs(1)),
        pushback: None,
    };
    assert_eq!(told(status), expected, "{status:?}");
}

#[tokio::test]
async fn a_request_that_never_arrives_whole_gives_its_place_back_at_its_deadline() {
    let easemob = Easemob::start();
    let gateway = one_request(easemob.url()).start().await;
    let path = "/easemob.messaging.v1.MessagingService/SendMessage";
    let mut slow = Connection::open(gateway.addr).await;
    // As long as the first part of a message takes to arrive, nobody asks for the second.
    slow.send(&http2::headers(1, path, &[])).await;
    slow.send(&http2::data(1, &[0, 0, 0, 0, 99, 1], false))
        .await;

    let answer = soon("the answer", slow.answer(1)).await.unwrap();

    assert_eq!(answer.status(), Some(Code::DeadlineExceeded as i32));
    assert!(answer.header("grpc-status-details-bin").is_some());
    send(&gateway, "after").await.await.unwrap();
    assert_arrived(&easemob, &["after"]);
}
