//! No request can add a series: what it says is no label.

use easemob_gateway::{
    metrics::Registry,
    proto::{
        SendMessageRequest, UploadFileHeader, UploadFileRequest, UploadFinish,
        upload_file_request::Part,
    },
    sandbox::{self, Sandbox},
};

use crate::support::{
    gateway::TestGateway,
    metrics::Page,
    request::{message, request, text, text_to, users},
    times,
};

/// Through the front door: users, request IDs, file names, apps and paths, each another one.
#[tokio::test]
async fn distinct_users_ids_names_and_apps_add_no_series() {
    let easemob = Sandbox::start(sandbox::Config::for_tests()).unwrap();
    let gateway = TestGateway::start(easemob.base_url()).await;
    round(&gateway, 0).await;
    let before = Page::of(&gateway).await;
    // A million users, 600 a message.
    for number in 1..=times(20, 1_667) {
        round(&gateway, number).await;
    }
    let after = Page::of(&gateway).await;
    assert_eq!(before.series(), after.series());
    let text = gateway.metrics().await;
    for canary in ["CANARY", "user-", "nonsense"] {
        assert!(!text.contains(canary), "{canary} is in:\n{text}");
    }
}

async fn round(gateway: &TestGateway, number: u32) {
    let mut client = gateway.client().await;
    let ids: Vec<String> = (0..600)
        .map(|user| format!("user-{number}-{user}"))
        .collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    // Accepted, or over Easemob's quota: no matter here.
    let _answer = client
        .send_message(SendMessageRequest {
            request_id: format!("CANARY-{number}"),
            ..request(message(users(&ids), text("CANARY")))
        })
        .await;
    let wrong = SendMessageRequest {
        app: format!("nonsense-{number}\"}} 1\nevil 2"),
        ..text_to(&["bob"])
    };
    client.send_message(wrong).await.unwrap_err();
    let parts = [
        Part::Header(UploadFileHeader {
            filename: format!("CANARY-{number}.bin"),
            ..Default::default()
        }),
        Part::Finish(UploadFinish::default()),
    ];
    let parts = parts.map(|part| UploadFileRequest { part: Some(part) });
    client.upload_file(tokio_stream::iter(parts)).await.unwrap();
}

/// What is recorded with, a million times over.
#[test]
fn a_million_recordings_add_no_series() {
    let registry = Registry::unexported().unwrap();
    let metrics = registry.metrics();
    let recipients = metrics
        .recipients("shop")
        .with_kinds(["users"], "OUTCOME_UNKNOWN");
    let endpoint = metrics
        .calls
        .endpoint("shop", ("127.0.0.1", 443), "POST", "users");
    let method = metrics.rpc.method(None);
    let page = || Page::parse(&registry.text().unwrap());
    let record = |number: u32| {
        recipients.accepted("users", 1);
        recipients.failed("users", true, "OUTCOME_UNKNOWN", 1);
        endpoint.attempt().ok();
        // Easemob, or what stands in its place, may answer with any number.
        let status = u16::try_from(number % 65_536).ok();
        endpoint
            .attempt()
            .failed("refused", status.filter(|s| !(100..600).contains(s)));
        method.ok(std::time::Duration::from_micros(number.into()));
    };
    record(0);
    let before = page();
    for number in 1..=1_000_000 {
        record(number);
    }
    let after = page();
    assert_eq!(before.series(), after.series());
    let accepted = [("state", "accepted")];
    let counted = after.count("easemob_gateway_recipients_total", &accepted);
    assert_eq!(counted, 1_000_001.0);
}
