//! The end of a gateway under way: what is dispatched finishes, what cannot is told so.

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Code, Request, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{assert_arrived, assert_in_doubt, assert_not_sent, one_place, says};
use crate::support::{
    binary::Binary,
    easemob::{Easemob, Gate, Script},
    gateway::{Setup, TestGateway},
    refused,
};

const LONG: Duration = Duration::from_secs(20);

fn slow(url: String) -> Setup {
    one_place(url)
        .delivery(|delivery| delivery.queue = 10)
        .app(|app| app.timeouts.attempt = LONG)
        .app(|app| app.timeouts.call = LONG)
}

async fn send(gateway: &TestGateway, words: &str) -> tokio::task::JoinHandle<Result<(), Status>> {
    let mut client = gateway.client().await;
    let mut request = Request::new(says(words));
    request.set_timeout(LONG);
    tokio::spawn(async move { client.send_message(request).await.map(drop) })
}

#[tokio::test]
async fn what_is_under_way_finishes_before_the_gateway_ends() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    // Long enough for what still waits for its turn.
    let gateway = slow(easemob.url())
        .server(|server| server.drain_timeout = 2 * LONG)
        .start()
        .await;
    let mut health = HealthClient::new(gateway.channel().await);
    let mut health = health
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    let first = health.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    let dispatched = send(&gateway, "dispatched").await;
    easemob
        .until("it is there", |seen| seen.sends.len() == 1)
        .await;
    let waiting = send(&gateway, "waiting").await;
    arrived(&gateway).await;

    gateway.begin_drain();

    let second = health.message().await.unwrap().unwrap();
    assert_eq!(second.status(), ServingStatus::NotServing);
    assert!(health.message().await.unwrap().is_none());
    assert_eq!(gateway.page("readyz").await, 503);
    assert_eq!(gateway.page("livez").await, 200);
    refused(gateway.addr).await;
    gate.open();
    dispatched.await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
    let report = gateway.drained().await;
    assert!(report.in_time, "{report:?}");
    assert_eq!((report.connections_cut, report.tasks_lost), (0, 0));
    assert_arrived(&easemob, &["dispatched", "waiting"]);
}

#[tokio::test]
async fn what_could_not_end_within_the_drain_is_refused_and_the_rest_finishes() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    // No longer than a call may take: nothing new can be begun in it.
    let gateway = slow(easemob.url())
        .server(|server| server.drain_timeout = LONG)
        .start()
        .await;
    let dispatched = send(&gateway, "dispatched").await;
    easemob
        .until("it is there", |seen| seen.sends.len() == 1)
        .await;
    let waiting = send(&gateway, "waiting").await;
    arrived(&gateway).await;

    gateway.begin_drain();

    let status = waiting.await.unwrap().unwrap_err();
    assert_not_sent(&status, Code::Unavailable, "SHUTTING_DOWN");
    assert!(!dispatched.is_finished());
    gate.open();
    dispatched.await.unwrap().unwrap();
    let report = gateway.drained().await;
    assert!(report.in_time, "{report:?}");
    assert_arrived(&easemob, &["dispatched"]);
}

#[tokio::test]
async fn a_drain_waits_for_a_send_whose_caller_has_its_answer() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    let gateway = slow(easemob.url())
        .server(|server| server.default_deadline = Duration::from_millis(150))
        .start()
        .await;
    let mut client = gateway.client().await;
    let status = client.send_message(says("too late")).await.unwrap_err();
    assert_in_doubt(&status);

    gateway.begin_drain();
    refused(gateway.addr).await;
    gate.open();
    let report = gateway.drained().await;

    assert!(report.in_time, "{report:?}");
    assert_eq!((report.connections_cut, report.tasks_lost), (0, 0));
    // The answer had gone out whole before the connection ended.
    let seen = easemob.seen();
    assert!(seen.bytes_out > 0);
    assert_arrived(&easemob, &["too late"]);
}

#[tokio::test]
async fn a_send_that_never_ends_does_not_hold_the_gateway_for_ever() {
    let easemob = Easemob::start();
    easemob.on_send(Script::read().silence());
    let gateway = slow(easemob.url())
        .server(|server| server.drain_timeout = Duration::from_millis(300))
        .start()
        .await;
    let stuck = send(&gateway, "stuck").await;
    easemob
        .until("it is there", |seen| seen.sends.len() == 1)
        .await;

    let report = timeout(Duration::from_secs(10), gateway.drained())
        .await
        .expect("it ends");

    assert!(!report.in_time);
    assert_eq!(report.connections_cut, 1);
    // Cut, without an answer of the gateway: the client's own error, which proves nothing.
    stuck.await.unwrap().unwrap_err();
    assert_arrived(&easemob, &["stuck"]);
}

#[tokio::test]
async fn the_process_ends_with_0_after_what_was_under_way() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    let app = format!(
        "[apps.shop]\nbase_url = '{}'\norg_name = 'o'\napp_name = 'a'\nclient_id = 'i'\n\
         client_secret_env = 'SHOP_SECRET'\n",
        easemob.url()
    );
    let gateway = Binary::serve(&app, &[("SHOP_SECRET", "s")]).await;
    let mut client = gateway.client().await;
    let sending = tokio::spawn(async move { client.send_message(says("hello")).await });
    easemob
        .until("it is there", |seen| seen.sends.len() == 1)
        .await;

    gateway.terminate();
    refused(gateway.grpc).await;
    gate.open();

    sending.await.unwrap().unwrap();
    let (status, said) = gateway.ended().await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("drained"), "{said}");
    assert_arrived(&easemob, &["hello"]);
}

/// Waits until the gateway has looked at everything that it was sent before.
async fn arrived(gateway: &TestGateway) {
    let mut client = gateway.client().await;
    for _ in 0..5 {
        client
            .send_message(easemob_gateway::proto::SendMessageRequest::default())
            .await
            .unwrap_err();
    }
}
