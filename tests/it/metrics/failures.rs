//! What fails, in which state it leaves the message, and who can mend it.

use easemob_gateway::proto::SendMessageRequest;

use super::{CALLS, ERRORS, FETCHES, RECIPIENTS, RPC, method};
use crate::support::{
    easemob::{Easemob, Script},
    gateway::{Setup, TestGateway},
    http2::Connection,
    metrics::Page,
    request::text_to,
};

/// One failed send, as the metrics tell it: code, reason, whose fault, state, outcome of the call.
#[track_caller]
fn assert_told(page: &Page, [code, reason, fault, state, outcome]: [&str; 5]) {
    let method = method!("SendMessage");
    let labels = [method, ("rpc_response_status_code", code)];
    assert_eq!(page.count(RPC, &labels), 1.0, "{page:#?}");
    let labels = [method, ("reason", reason), ("fault", fault)];
    assert_eq!(page.count(ERRORS, &labels), 1.0, "{page:#?}");
    assert_eq!(page.count(ERRORS, &[]), 1.0, "{page:#?}");
    let labels = [("state", state), ("reason", reason)];
    assert_eq!(page.count(RECIPIENTS, &labels), 1.0, "{page:#?}");
    assert_eq!(page.count(RECIPIENTS, &[]), 1.0, "{page:#?}");
    let labels = [("endpoint", "users"), ("outcome", outcome)];
    assert_eq!(page.count(CALLS, &labels), 1.0, "{page:#?}");
}

async fn after(script: Script) -> Page {
    let easemob = Easemob::start();
    easemob.on_send(script);
    let gateway = TestGateway::start(easemob.url()).await;
    let mut client = gateway.client().await;
    client.send_message(text_to(&["bob"])).await.unwrap_err();
    Page::of(&gateway).await
}

#[tokio::test]
async fn a_send_in_doubt_is_maybe_sent_and_easemobs_fault() {
    let page = after(Script::read().reset()).await;
    let doubt = ["UNKNOWN", "OUTCOME_UNKNOWN", "easemob", "maybe_sent"];
    let [code, reason, fault, state] = doubt;
    assert_told(&page, [code, reason, fault, state, "outcome_unknown"]);

    let page = after(Script::read().answer(502, "<html>")).await;
    assert_told(&page, [code, reason, fault, state, "outcome_unknown"]);
    let answered = [("http_response_status_code", "502"), ("endpoint", "users")];
    assert_eq!(page.count(CALLS, &answered), 1.0, "{page:#?}");
}

#[tokio::test]
async fn easemobs_quota_is_for_the_operator() {
    // One whose wait is longer than anybody has time for: it is not tried again.
    let limit = r#"{"error_description":"message send reach limit"}"#;
    let page = after(Script::read().answer(403, limit)).await;
    let told = ["RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "operator"];
    let [code, reason, fault] = told;
    assert_told(&page, [code, reason, fault, "not_sent", "quota_exceeded"]);
}

#[tokio::test]
async fn a_wrong_request_is_the_callers_fault_and_has_no_recipients() {
    let easemob = Easemob::start();
    let gateway = TestGateway::start(easemob.url()).await;
    let mut client = gateway.client().await;
    let empty = SendMessageRequest::default();
    client.send_message(empty).await.unwrap_err();
    let page = Page::of(&gateway).await;
    let labels = [("reason", "INVALID_REQUEST"), ("fault", "caller")];
    assert_eq!(page.count(ERRORS, &labels), 1.0, "{page:#?}");
    assert_eq!(page.count(RECIPIENTS, &[]), 0.0);
}

#[tokio::test]
async fn what_the_layers_refuse_is_measured_too() {
    let easemob = Easemob::start();
    let setup = Setup::at(easemob.url()).server(|server| server.max_requests_in_flight = 0);
    let gateway = setup.start().await;
    let mut client = gateway.client().await;
    client.send_message(text_to(&["bob"])).await.unwrap_err();
    let page = Page::of(&gateway).await;
    let labels = [("reason", "OVERLOADED"), ("fault", "gateway")];
    assert_eq!(page.count(ERRORS, &labels), 1.0, "{page:#?}");
}

#[tokio::test]
async fn a_method_that_is_none_of_ours_has_one_name() {
    let easemob = Easemob::start();
    let gateway = TestGateway::start(easemob.url()).await;
    for path in ["/a/B", "/easemob.messaging.v1.MessagingService/Nope"] {
        let mut caller = Connection::open(gateway.addr).await;
        caller.call(1, path, b"").await.unwrap();
    }
    let page = Page::of(&gateway).await;
    let labels = [
        ("rpc_method", "_OTHER"),
        ("rpc_response_status_code", "UNIMPLEMENTED"),
    ];
    assert_eq!(page.count(RPC, &labels), 2.0, "{page:#?}");
}

#[tokio::test]
async fn a_token_that_cannot_be_had_is_counted_by_its_outcome() {
    let easemob = Easemob::start();
    easemob.on_token(Script::read().answer(400, r#"{"error":"invalid_grant"}"#));
    let gateway = TestGateway::start(easemob.url()).await;
    let mut client = gateway.client().await;
    client.send_message(text_to(&["bob"])).await.unwrap_err();
    let page = Page::of(&gateway).await;
    let rejected = [("app", "shop"), ("outcome", "credentials_rejected")];
    assert_eq!(page.count(FETCHES, &rejected), 1.0, "{page:#?}");
    let labels = [
        ("state", "not_sent"),
        ("reason", "EASEMOB_CREDENTIALS_REJECTED"),
    ];
    assert_eq!(page.count(RECIPIENTS, &labels), 1.0);
    assert_eq!(page.get("easemob_gateway_token_age_seconds", &[]), None);
}
