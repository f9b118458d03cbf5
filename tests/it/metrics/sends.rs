//! A send that goes well, and one whose caller does not wait for it.

use easemob_gateway::sandbox::{self, Sandbox};
use tonic::Request;

use super::{CALLS, ERRORS, FETCHES, RECIPIENTS, RPC, WAITS, method};
use crate::support::{
    easemob::{Easemob, Gate, Script},
    gateway::TestGateway,
    metrics::Page,
    request::text_to,
};

#[tokio::test]
async fn a_send_shows_once_in_each_metric_that_it_belongs_to() {
    let easemob = Sandbox::start(sandbox::Config::for_tests()).unwrap();
    let gateway = TestGateway::start(easemob.base_url()).await;
    let idle = Page::of(&gateway).await;
    let kind = [("app", "shop"), ("kind", "users")];
    // From zero, so that the first one shows as an increase.
    for state in ["accepted", "maybe_sent"] {
        let labels = [kind[0], kind[1], ("state", state)];
        assert_eq!(idle.get(RECIPIENTS, &labels), Some(0.0), "{idle:#?}");
    }
    assert_eq!(idle.get("easemob_gateway_token_age_seconds", &[]), None);

    let mut client = gateway.client().await;
    client.send_message(text_to(&["amy", "bob"])).await.unwrap();

    let page = Page::of(&gateway).await;
    let sent = [method!("SendMessage"), ("rpc_response_status_code", "OK")];
    assert_eq!(page.count(RPC, &sent), 1.0, "{page:#?}");
    assert_eq!(
        page.count(RPC, &[("rpc_system_name", "grpc"), sent[0]]),
        1.0
    );
    let labels = [kind[0], kind[1], ("state", "accepted"), ("reason", "")];
    assert_eq!(page.count(RECIPIENTS, &labels), 2.0);
    assert_eq!(page.count(RECIPIENTS, &[]), 2.0);
    let call = [
        ("app", "shop"),
        ("endpoint", "users"),
        ("outcome", "ok"),
        ("http_request_method", "POST"),
        ("http_response_status_code", "200"),
        ("server_address", "127.0.0.1"),
    ];
    assert_eq!(page.count(CALLS, &call), 1.0);
    assert_eq!(page.count(CALLS, &[("endpoint", "token")]), 1.0);
    assert_eq!(page.count(WAITS, &[("app", "shop")]), 1.0);
    assert_eq!(page.count(FETCHES, &[("outcome", "ok")]), 1.0);
    assert_eq!(page.get(ERRORS, &[]), None);
    let age = page.get("easemob_gateway_token_age_seconds", &[("app", "shop")]);
    assert!(age.is_some_and(|age| (0.0..60.0).contains(&age)), "{age:?}");
    let left = page.get("easemob_gateway_token_time_left_seconds", &[]);
    assert!(left.is_some_and(|left| left > 60.0), "{left:?}");

    // What the gateway took beside Easemob is what remains.
    let seconds = |name: &str, labels: &[_]| page.count(&format!("{name}_seconds_sum"), labels);
    let all = seconds("rpc_server_call_duration", &sent);
    let easemob = seconds("http_client_request_duration", &call);
    let wait = seconds("easemob_gateway_wait_duration", &[]);
    assert!(easemob > 0.0 && all >= easemob + wait, "{page:#?}");
}

#[tokio::test]
async fn what_is_sent_for_a_caller_that_has_left_is_counted_as_it_came_out() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    let gateway = TestGateway::start(easemob.url()).await;
    let mut client = gateway.client().await;
    let call = tokio::spawn(async move { client.send_message(text_to(&["bob"])).await });
    easemob
        .until("the send", |seen| !seen.sends.is_empty())
        .await;
    call.abort();
    let left = [("rpc_response_status_code", "CANCELLED")];
    Page::until(&gateway, "the call is cancelled", |page| {
        page.count(RPC, &left) == 1.0
    })
    .await;
    gate.open();
    let page = Page::until(&gateway, "the recipient is counted", |page| {
        page.count(RECIPIENTS, &[]) > 0.0
    })
    .await;
    assert_eq!(page.count(RECIPIENTS, &[("state", "accepted")]), 1.0);
}

#[tokio::test]
async fn what_a_caller_takes_back_in_time_is_counted_as_not_sent() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_token(Script::read().wait(&gate).give_token());
    let gateway = TestGateway::start(easemob.url()).await;
    let mut client = gateway.client().await;
    let call = tokio::spawn(async move { client.send_message(text_to(&["bob"])).await });
    Page::until(&gateway, "the send waits", |page| {
        page.count("easemob_gateway_queue_active", &[]) == 1.0
    })
    .await;
    call.abort();
    let page = Page::until(&gateway, "the recipient is counted", |page| {
        page.count(RECIPIENTS, &[]) > 0.0
    })
    .await;
    let labels = [("state", "not_sent"), ("reason", "CALLER_LEFT")];
    assert_eq!(page.count(RECIPIENTS, &labels), 1.0);
    gate.open();
}

#[tokio::test]
async fn a_deadline_in_doubt_is_counted_once() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    let gateway = TestGateway::start(easemob.url()).await;
    let mut client = gateway.client().await;
    let mut request = Request::new(text_to(&["bob"]));
    request.set_timeout(std::time::Duration::from_millis(300));
    client.send_message(request).await.unwrap_err();
    gate.open();
    // The part has ended when its place is free.
    let page = Page::until(&gateway, "the part ends", |page| {
        page.count("easemob_gateway_calls_active", &[]) == 0.0
    })
    .await;
    assert_eq!(page.count(RECIPIENTS, &[("state", "maybe_sent")]), 1.0);
    assert_eq!(page.count(RECIPIENTS, &[]), 1.0, "{page:#?}");
}
