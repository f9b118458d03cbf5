//! More than there is room for: refused at once, with the time to wait, and without harm to the rest.

use std::time::{Duration, Instant};

use tonic::{Code, Request};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{assert_arrived, assert_worth_waiting, one_place, says};
use crate::support::{
    easemob::{Easemob, Gate, Script},
    gateway::TestGateway,
};

#[tokio::test]
async fn beyond_place_and_queue_a_send_is_refused_at_once() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    let gateway = one_place(easemob.url())
        .delivery(|delivery| delivery.queue = 1)
        .app(|app| app.timeouts.attempt = Duration::from_secs(20))
        .app(|app| app.timeouts.call = Duration::from_secs(20))
        .start()
        .await;
    let mut first = gateway.client().await;
    let first = tokio::spawn(async move { first.send_message(says("first")).await });
    easemob
        .until("the first is there", |seen| seen.sends.len() == 1)
        .await;
    // Two more, of which one has to go.
    let (mut second, mut third) = (gateway.client().await, gateway.client().await);
    let mut second = tokio::spawn(async move { second.send_message(says("second")).await });
    let mut third = tokio::spawn(async move { third.send_message(says("third")).await });

    let begin = Instant::now();
    let (refused, waiting, texts) = tokio::select! {
        refused = &mut second => (refused, third, ["first", "third"]),
        refused = &mut third => (refused, second, ["first", "second"]),
    };
    let took = begin.elapsed();
    gate.open();

    let status = refused.unwrap().unwrap_err();
    let wait = assert_worth_waiting(&status, Code::ResourceExhausted, "OVERLOADED");
    assert_eq!(wait, Duration::from_secs(1));
    assert!(took < Duration::from_secs(2), "{took:?}");
    first.await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
    assert_arrived(&easemob, &texts);
}

#[tokio::test]
async fn what_waits_for_a_token_is_bounded_as_well() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_token(Script::read().wait(&gate).give_token());
    let gateway = one_place(easemob.url())
        .app(|app| app.timeouts.token = Duration::from_secs(20))
        .start()
        .await;
    let mut first = gateway.client().await;
    let first = tokio::spawn(async move { first.send_message(says("first")).await });
    easemob
        .until("a token is asked for", |seen| seen.tokens.len() == 1)
        .await;

    // One app's outage must not take the places of the others.
    let mut client = gateway.client().await;
    let mut second = Request::new(says("second"));
    second.set_timeout(Duration::from_secs(2));
    let status = client.send_message(second).await.unwrap_err();

    assert_worth_waiting(&status, Code::ResourceExhausted, "OVERLOADED");
    gate.open();
    first.await.unwrap().unwrap();
    client.send_message(says("third")).await.unwrap();
    assert_arrived(&easemob, &["first", "third"]);
}

#[tokio::test]
async fn beyond_the_gateways_bound_a_request_is_refused_at_once_and_health_still_answers() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    let gateway = one_place(easemob.url())
        .server(|server| server.max_requests_in_flight = 1)
        .app(|app| app.timeouts.attempt = Duration::from_secs(20))
        .app(|app| app.timeouts.call = Duration::from_secs(20))
        .start()
        .await;
    let mut client = gateway.client().await;
    let mut first = client.clone();
    let first = tokio::spawn(async move { first.send_message(says("first")).await });
    easemob
        .until("the first is there", |seen| seen.sends.len() == 1)
        .await;

    let status = client.send_message(says("second")).await.unwrap_err();
    let wait = assert_worth_waiting(&status, Code::ResourceExhausted, "OVERLOADED");
    assert_eq!(wait, Duration::from_secs(1));
    healthy(&gateway).await;

    gate.open();
    first.await.unwrap().unwrap();
    client.send_message(says("third")).await.unwrap();
    assert_arrived(&easemob, &["first", "third"]);
}

async fn healthy(gateway: &TestGateway) {
    let mut health = HealthClient::new(gateway.channel().await);
    let request = HealthCheckRequest::default();
    let answer = health.check(request).await.unwrap().into_inner();
    assert_eq!(answer.status(), tonic_health::ServingStatus::Serving.into());
}
