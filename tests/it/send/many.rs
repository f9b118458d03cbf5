//! SendMessages: many messages over one stream.

use std::{collections::HashMap, time::Duration};

use easemob_gateway::{
    proto::{
        ErrorReason, SendFailure, SendMessageRequest, SendMessageResponse, SendMessagesRequest,
        SendState, send_messages_response::Result as Answer,
    },
    sandbox::Fault,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::{USERS, start, start_with};
use crate::support::{
    easemob::{Easemob, Gate, Script},
    gateway::{Setup, TestGateway},
    ledger::Answers,
    request::text_to,
    soon,
};

fn asks(correlation_id: &str, request: SendMessageRequest) -> SendMessagesRequest {
    SendMessagesRequest {
        correlation_id: correlation_id.into(),
        request: Some(request),
        timeout: None,
    }
}

/// An open stream: where its requests go in, and where its answers come out.
struct Many {
    requests: mpsc::Sender<SendMessagesRequest>,
    answers: Answers,
}

async fn open(gateway: &TestGateway) -> Many {
    let (requests, stream) = mpsc::channel(1_000);
    let mut client = gateway.client().await;
    let answers = client.send_messages(ReceiverStream::new(stream)).await;
    Many {
        requests,
        answers: answers.unwrap().into_inner(),
    }
}

impl Many {
    async fn ask(&self, correlation_id: &str, request: SendMessageRequest) {
        let request = asks(correlation_id, request);
        self.requests.send(request).await.unwrap();
    }

    async fn next(&mut self) -> (String, Answer) {
        let answer = soon("an answer", self.answers.message()).await;
        let answer = answer.unwrap().expect("an answer");
        (answer.correlation_id, answer.result.expect("a result"))
    }

    async fn ended(&mut self) {
        let end = soon("the end", self.answers.message()).await;
        assert_eq!(end.unwrap(), None);
    }
}

fn sent(answer: Answer) -> SendMessageResponse {
    match answer {
        Answer::Response(response) => response,
        Answer::Failure(failure) => panic!("{failure:?}"),
    }
}

fn failed(answer: Answer) -> SendFailure {
    match answer {
        Answer::Failure(failure) => failure,
        Answer::Response(response) => panic!("{response:?}"),
    }
}

#[tokio::test]
async fn each_request_has_its_answer_and_the_stream_ends_after_the_last() {
    let started = start().await;
    let Many {
        requests,
        mut answers,
    } = open(&started.gateway).await;
    for i in 0..200 {
        let request = asks(&i.to_string(), text_to(&[&format!("user-{i}")]));
        requests.send(request).await.unwrap();
    }
    drop(requests);
    let mut recipients = HashMap::new();
    while let Some(answer) = answers.message().await.unwrap() {
        let accepted = sent(answer.result.unwrap()).accepted;
        recipients.insert(answer.correlation_id, accepted[0].recipient.clone());
    }
    assert_eq!(recipients.len(), 200);
    for (correlation_id, recipient) in recipients {
        assert_eq!(recipient, format!("user-{correlation_id}"));
    }
    assert_eq!(started.easemob.messages().len(), 200);
}

#[tokio::test]
async fn a_request_that_fails_leaves_the_others_alone() {
    let started = start().await;
    let mut many = open(&started.gateway).await;
    many.ask("", SendMessageRequest::default()).await;
    let (correlation_id, answer) = many.next().await;
    assert_eq!(correlation_id, "");
    let failure = failed(answer);
    assert_eq!(failure.reason(), ErrorReason::InvalidRequest);
    assert_eq!(failure.state(), SendState::NotSent);
    assert_eq!(failure.recipients, Vec::<String>::new());
    assert_eq!(failure.status.unwrap().code, Code::InvalidArgument as i32);

    let nothing = SendMessagesRequest {
        correlation_id: "nothing".into(),
        ..Default::default()
    };
    let long = asks(&"x".repeat(129), text_to(&["bob"]));
    let timeless = SendMessagesRequest {
        timeout: Some(prost_types::Duration {
            seconds: -1,
            nanos: 0,
        }),
        ..asks("timeless", text_to(&["bob"]))
    };
    for (request, field) in [
        (nothing, "request is required"),
        (long, "correlation_id is longer than 128 bytes"),
        (timeless, "timeout is no time, or a negative one"),
    ] {
        many.requests.send(request.clone()).await.unwrap();
        let (correlation_id, answer) = many.next().await;
        assert_eq!(correlation_id, request.correlation_id);
        let failure = failed(answer);
        assert_eq!(failure.reason(), ErrorReason::InvalidRequest);
        let text = failure.status.unwrap().message;
        assert!(text.starts_with(field), "{text}");
    }
    assert_eq!(started.sent(), 0);

    started.easemob.script(USERS, [Fault::status(500)]);
    many.ask("doubt", text_to(&["bob"])).await;
    let failure = failed(many.next().await.1);
    assert_eq!(failure.reason(), ErrorReason::OutcomeUnknown);
    assert_eq!(failure.state(), SendState::MaybeSent);
    many.ask("good", text_to(&["bob"])).await;
    let (correlation_id, answer) = many.next().await;
    assert_eq!(correlation_id, "good");
    assert_eq!(sent(answer).accepted.len(), 1);
}

#[tokio::test]
async fn answers_come_as_they_finish_and_each_request_has_its_own_time() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    easemob.on_send(Script::read().accept());
    easemob.on_send(Script::read().silence());
    let gateway = TestGateway::start(easemob.url()).await;
    let mut many = open(&gateway).await;
    many.ask("slow", text_to(&["bob"])).await;
    easemob
        .until("it is there", |seen| seen.sends.len() == 1)
        .await;
    many.ask("fast", text_to(&["bob"])).await;
    assert_eq!(many.next().await.0, "fast");
    let hurried = SendMessagesRequest {
        timeout: prost_types::Duration::try_from(Duration::from_millis(200)).ok(),
        ..asks("hurried", text_to(&["bob"]))
    };
    many.requests.send(hurried).await.unwrap();
    let (correlation_id, answer) = many.next().await;
    assert_eq!(correlation_id, "hurried");
    assert_eq!(failed(answer).state(), SendState::MaybeSent);
    let timeless = SendMessagesRequest {
        timeout: Some(prost_types::Duration::default()),
        ..asks("no time", text_to(&["bob"]))
    };
    many.requests.send(timeless).await.unwrap();
    let failure = failed(many.next().await.1);
    assert_eq!(failure.reason(), ErrorReason::DeadlineExceeded);
    gate.open();
    assert_eq!(many.next().await.0, "slow");
    assert_eq!(easemob.seen().sends.len(), 3);
}

#[tokio::test]
async fn a_request_that_names_no_time_has_the_default() {
    let easemob = Easemob::start();
    easemob.always_on_send(Script::read().silence());
    let gateway = Setup::at(easemob.url())
        .server(|server| server.default_deadline = Duration::from_millis(200))
        .start()
        .await;
    let mut many = open(&gateway).await;
    many.ask("a", text_to(&["bob"])).await;
    assert_eq!(failed(many.next().await.1).state(), SendState::MaybeSent);
}

#[tokio::test]
async fn a_caller_that_takes_no_answers_is_not_read_further() {
    let easemob = Easemob::start();
    let gateway = Setup::at(easemob.url())
        .server(|server| {
            server.requests_per_send_stream = 4;
            server.http2.send_buffer_bytes = 16 * 1024;
        })
        .app(|app| app.limits.request_bytes = 0)
        .start()
        .await;
    // A few answers of some 600 recipients fill the caller's window.
    let users: Vec<_> = (0..600).map(|i| format!("{i:0>60}")).collect();
    let users: Vec<_> = users.iter().map(String::as_str).collect();
    let request = text_to(&users);
    let (requests, stream) = mpsc::channel(1);
    let mut client = gateway.client().await;
    let answers = client.send_messages(ReceiverStream::new(stream)).await;
    let mut answers = answers.unwrap().into_inner();
    let asked = tokio::spawn(async move {
        for i in 0..300 {
            let request = asks(&i.to_string(), request.clone());
            requests.send(request).await.unwrap();
        }
    });

    // As long as nobody reads, it comes to a stand: the same number for a while.
    let mut before = 0;
    let stands = loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = easemob.seen().sends.len();
        if now > 0 && now == before {
            break now;
        }
        before = now;
    };
    assert!(stands < 200, "{stands} were read");
    assert!(!asked.is_finished());

    let mut count = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        sent(answer.result.unwrap());
        count += 1;
    }
    assert_eq!(count, 300);
}

#[tokio::test]
async fn a_stream_has_so_many_requests_under_way_and_no_more() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    for _ in 0..3 {
        easemob.on_send(Script::read().wait(&gate).accept());
    }
    let gateway = Setup::at(easemob.url())
        .server(|server| server.requests_per_send_stream = 3)
        .start()
        .await;
    let mut many = open(&gateway).await;
    for i in 0..10 {
        many.ask(&i.to_string(), text_to(&["bob"])).await;
    }
    easemob
        .until("three are there", |seen| seen.sends.len() == 3)
        .await;
    // Others are not held up by it.
    let mut client = gateway.client().await;
    for _ in 0..5 {
        client.send_message(text_to(&["amy"])).await.unwrap();
    }
    assert_eq!(easemob.seen().sends.len(), 3 + 5);
    gate.open();
    for _ in 0..10 {
        sent(many.next().await.1);
    }
    assert_eq!(easemob.seen().sends.len(), 10 + 5);
}

#[tokio::test]
async fn a_drain_answers_what_was_read_and_refuses_what_comes_then() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    let gateway = TestGateway::start(easemob.url()).await;
    let mut many = open(&gateway).await;
    let mut idle = open(&gateway).await;
    many.ask("first", text_to(&["bob"])).await;
    easemob
        .until("it is there", |seen| seen.sends.len() == 1)
        .await;

    gateway.begin_drain();
    // Nothing is under way on it.
    idle.ended().await;
    many.ask("late", text_to(&["bob"])).await;
    let (correlation_id, answer) = many.next().await;
    assert_eq!(correlation_id, "late");
    let failure = failed(answer);
    assert_eq!(failure.reason(), ErrorReason::ShuttingDown);
    assert_eq!(failure.state(), SendState::NotSent);
    gate.open();
    let (correlation_id, answer) = many.next().await;
    assert_eq!(correlation_id, "first");
    assert_eq!(sent(answer).accepted.len(), 1);
    many.ended().await;

    let report = gateway.drained().await;
    assert!(report.in_time, "{report:?}");
    assert_eq!((report.connections_cut, report.tasks_lost), (0, 0));
}

#[tokio::test]
async fn a_connection_that_is_to_be_renewed_ends_its_streams() {
    let started = start_with(|setup| {
        setup.server(|server| server.connection_age = Duration::from_millis(300))
    })
    .await;
    let mut many = open(&started.gateway).await;
    many.ended().await;
}

#[tokio::test]
async fn streams_beyond_their_number_are_refused_at_once() {
    let started = start_with(|setup| setup.server(|server| server.max_send_streams = 1)).await;
    let mut many = open(&started.gateway).await;
    let mut client = started.client.clone();
    let error = client.send_messages(tokio_stream::empty()).await;
    let error = error.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert_eq!(crate::support::request::verdict(&error).0, "OVERLOADED");
    many.ask("a", text_to(&["bob"])).await;
    sent(many.next().await.1);
}
