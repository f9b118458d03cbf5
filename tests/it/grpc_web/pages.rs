//! Pages that may call and pages that may not; what they send, and what they read of the answer.

use base64::{Engine, prelude::BASE64_STANDARD};
use easemob_gateway::{
    caller::{CallerConfig, Mode, key},
    proto::{
        self, SendMessageResponse, UploadFileRequest, download_file_response,
        upload_file_request::Part,
    },
    sandbox::Endpoint,
};
use prost::Message;
use reqwest::Method;
use tonic::Code;
use tonic_types::StatusExt;

use super::{PAGE, SEND, Started, framed, hear, start, start_with, told};
use crate::support::{
    gateway::TestGateway,
    request::{error_info, text_to, verdict},
    soon,
};

const USERS: Endpoint = Endpoint::SendToUsers;

fn sent(started: &Started) -> usize {
    started.easemob.calls(USERS).len()
}

#[tokio::test]
async fn there_is_no_such_port_unless_it_is_set_up() {
    let gateway = TestGateway::start("http://127.0.0.1:1").await;
    assert_eq!(gateway.web, None);
}

#[tokio::test]
async fn a_page_sends_and_reads_the_id() {
    let started = start().await;
    let heard = started.call(SEND, &[text_to(&["bob"])]).await;
    let sent: SendMessageResponse = heard.message();
    assert_eq!(sent.accepted.len(), 1);
    assert!(!sent.accepted[0].message_id.is_empty());
    assert_eq!(heard.headers["access-control-allow-origin"], PAGE);
    assert_eq!(heard.headers["content-type"], "application/grpc-web+proto");
    assert_eq!(started.easemob.calls(USERS).len(), 1);
}

#[tokio::test]
async fn a_page_may_read_why_it_was_refused_and_under_which_trace() {
    let started = start().await;
    let request = started.post(SEND, &[text_to(&[])]);
    let heard = hear(request.header("accept-language", "zh-CN")).await;
    assert_eq!(heard.status.code(), Code::InvalidArgument);
    let (reason, state) = verdict(&heard.status);
    assert_eq!(
        (reason.as_str(), state.as_str()),
        ("INVALID_REQUEST", "NOT_SENT")
    );
    let details = heard.status.get_error_details();
    let violations = &details.bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "message.users.user_ids");
    assert!(details.localized_message().is_some());
    let exposed = &heard.headers["access-control-expose-headers"];
    let exposed: Vec<_> = exposed.to_str().unwrap().split(',').collect();
    for header in [
        "grpc-status",
        "grpc-message",
        "grpc-status-details-bin",
        "x-trace-id",
    ] {
        assert!(exposed.contains(&header), "{header}");
    }
    assert_eq!(heard.headers["x-trace-id"].len(), 32);
}

#[tokio::test]
async fn a_browser_is_told_what_a_page_may_do() {
    let started = start().await;
    let asked = |origin: &str| {
        started
            .request(Method::OPTIONS, SEND)
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,content-type,x-grpc-web",
            )
    };
    let answer = asked(PAGE).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let headers = answer.headers();
    assert_eq!(headers["access-control-allow-origin"], PAGE);
    assert_eq!(headers["access-control-allow-methods"], "POST");
    assert_eq!(headers["access-control-allow-credentials"], "true");
    let allowed = headers["access-control-allow-headers"].to_str().unwrap();
    for header in ["authorization", "content-type", "x-grpc-web", "traceparent"] {
        assert!(allowed.split(',').any(|one| one == header), "{allowed}");
    }

    let answer = asked("https://evil.example").send().await.unwrap();
    let headers = answer.headers();
    assert!(!headers.contains_key("access-control-allow-origin"));
}

/// Not even one that its browser takes for the gateway's own, because its name was made to point here.
#[tokio::test]
async fn another_page_sends_nothing() {
    let started = start().await;
    for origin in [
        "https://evil.example",
        "null",
        "https://console.acme.example.evil.example",
        "http://console.acme.example",
    ] {
        let request = started.request(Method::POST, SEND).header("origin", origin);
        let request = request.header("content-type", "application/grpc-web+proto");
        let answer = request
            .body(framed(&[text_to(&["bob"])]))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 403, "{origin}");
        let text = answer.text().await.unwrap();
        assert!(text.contains("allowed_origins"), "{text}");
    }
    assert_eq!(sent(&started), 0);
}

#[tokio::test]
async fn what_is_no_grpc_web_is_told_what_the_port_speaks() {
    let started = start().await;
    let get = started.request(Method::GET, SEND);
    // A form, which any page may send without asking.
    let form = started
        .request(Method::POST, SEND)
        .header("content-type", "text/plain");
    let grpc = started
        .request(Method::POST, SEND)
        .header("content-type", "application/grpc");
    for request in [get, form, grpc] {
        let request = request.body(framed(&[text_to(&["bob"])]));
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_client_error(), "{answer:?}");
        assert!(answer.text().await.unwrap().contains("gRPC-Web"));
    }
    assert_eq!(sent(&started), 0);
}

#[tokio::test]
async fn the_encoding_of_old_libraries_is_read_and_written() {
    let started = start().await;
    let body = BASE64_STANDARD.encode(framed(&[text_to(&["bob"])]));
    let request = started
        .request(Method::POST, SEND)
        .header("content-type", "application/grpc-web-text")
        .header("accept", "application/grpc-web-text");
    let answer = soon("an answer", request.body(body).send()).await.unwrap();
    let headers = answer.headers().clone();
    // Each piece is encoded by itself, and ends with its own padding.
    let mut bytes = Vec::new();
    let text = answer.text().await.unwrap();
    for piece in text.as_bytes().chunks(4) {
        bytes.extend(BASE64_STANDARD.decode(piece).unwrap());
    }
    let sent: SendMessageResponse = told(headers, bytes.into()).message();
    assert_eq!(sent.accepted.len(), 1);
}

#[tokio::test]
async fn a_page_needs_a_key_as_everybody_does() {
    let key = "egk_of-the-console";
    let started = start_with(|setup| {
        setup.auth(|auth| {
            auth.mode = Mode::ApiKey;
            let caller = CallerConfig {
                key_sha256: vec![key::hex(&key::sha256(key.as_bytes()))],
                apps: vec!["shop".into()],
                ..Default::default()
            };
            auth.callers.insert("console".into(), caller);
        })
    })
    .await;
    let heard = started.call(SEND, &[text_to(&["bob"])]).await;
    assert_eq!(heard.status.code(), Code::Unauthenticated);
    assert_eq!(error_info(&heard.status).reason, "CALLER_UNAUTHENTICATED");
    assert_eq!(sent(&started), 0);

    let request = started.post(SEND, &[text_to(&["bob"])]);
    let heard = hear(request.bearer_auth(key)).await;
    let _sent: SendMessageResponse = heard.message();
}

#[tokio::test]
async fn a_stream_of_requests_is_refused_in_words() {
    let started = start().await;
    for (rpc, has_state) in [
        ("SendMessages", true),
        ("SendMediaMessage", true),
        ("UploadFile", false),
    ] {
        let heard = started.call(rpc, &[text_to(&["bob"])]).await;
        assert_eq!(heard.status.code(), Code::Unimplemented, "{rpc}");
        assert!(heard.status.message().contains("gRPC-Web"));
        let info = error_info(&heard.status);
        assert_eq!(info.reason, "INVALID_REQUEST");
        assert_eq!(info.metadata.contains_key("send_state"), has_state, "{rpc}");
    }
    assert_eq!(sent(&started), 0);
}

#[tokio::test]
async fn a_page_downloads() {
    let started = start().await;
    let content = b"a file".to_vec();
    let header = proto::UploadFileHeader {
        filename: "a.txt".into(),
        ..Default::default()
    };
    let parts = [
        Part::Header(header),
        Part::Chunk(content.clone().into()),
        Part::Finish(proto::UploadFinish::default()),
    ];
    let parts = parts.map(|part| UploadFileRequest { part: Some(part) });
    let mut client = started.gateway.client().await;
    let uploaded = client.upload_file(tokio_stream::iter(parts)).await.unwrap();
    let request = proto::DownloadFileRequest {
        file: uploaded.into_inner().file.unwrap().r#ref,
        ..Default::default()
    };
    let heard = started.call("DownloadFile", &[request]).await;
    assert_eq!(heard.status.code(), Code::Ok, "{:?}", heard.status);
    let mut file = Vec::new();
    for message in heard.messages {
        let answer = proto::DownloadFileResponse::decode(message).unwrap();
        if let Some(download_file_response::Part::Chunk(chunk)) = answer.part {
            file.extend(chunk);
        }
    }
    assert_eq!(file, content);
}
