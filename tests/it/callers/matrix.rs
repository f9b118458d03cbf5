//! S1: every method of the contract, by every kind of caller. The methods are those of the descriptor, so that a
//! new one fails here until it has its row.

use std::collections::BTreeSet;

use easemob_gateway::{
    caller::{Mode, Reflection},
    proto::{
        self, DownloadFileRequest, FILE_DESCRIPTOR_SET, MediaHeader, SendMediaMessageRequest,
        SendMessageRequest, SendMessagesRequest, SendMessagesResponse, UploadFileHeader,
        UploadFileRequest, file_ref::Location, send_media_message_request as media,
        send_messages_response, upload_file_request as upload,
    },
};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::{Code, Request};

use super::{AMY, BEN, sandbox, send_with, setup};
use crate::support::{
    gateway::TestGateway,
    http2::{Answer, Connection, data, headers, message},
    request::{error_info, text_to, verdict},
    soon,
};

const UNAUTHENTICATED: i32 = Code::Unauthenticated as i32;
const PERMISSION_DENIED: i32 = Code::PermissionDenied as i32;
const UNIMPLEMENTED: i32 = Code::Unimplemented as i32;

/// Paths of all methods in the contract.
fn methods() -> BTreeSet<String> {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut paths = BTreeSet::new();
    for file in files.file {
        for service in &file.service {
            for method in &service.method {
                let service = format!("{}.{}", file.package(), service.name());
                paths.insert(format!("/{service}/{}", method.name()));
            }
        }
    }
    assert!(paths.len() >= 5, "{paths:?}");
    paths
}

/// A request that is good but for its app.
fn request(path: &str, app: &str) -> Vec<u8> {
    let app = app.to_owned();
    let send = SendMessageRequest {
        app: app.clone(),
        ..text_to(&["bob"])
    };
    match path.rsplit('/').next().unwrap() {
        "SendMessage" => send.encode_to_vec(),
        "SendMessages" => SendMessagesRequest {
            request: Some(send),
            ..Default::default()
        }
        .encode_to_vec(),
        "SendMediaMessage" => SendMediaMessageRequest {
            part: Some(media::Part::Header(MediaHeader {
                app,
                ..Default::default()
            })),
        }
        .encode_to_vec(),
        "UploadFile" => UploadFileRequest {
            part: Some(upload::Part::Header(UploadFileHeader {
                app,
                filename: "a.txt".into(),
                ..Default::default()
            })),
        }
        .encode_to_vec(),
        "DownloadFile" => DownloadFileRequest {
            app,
            file: Some(proto::FileRef {
                location: Some(Location::Uuid(
                    "11111111-2222-3333-4444-555555555555".into(),
                )),
                ..Default::default()
            }),
            ..Default::default()
        }
        .encode_to_vec(),
        other => panic!("{other} is new: say here how its requests name their app"),
    }
}

struct Calls {
    connection: Connection,
    stream: u32,
}

impl Calls {
    async fn to(gateway: &TestGateway) -> Self {
        Self {
            connection: Connection::open(gateway.addr).await,
            stream: 1,
        }
    }

    async fn call(&mut self, path: &str, metadata: &[(&str, &str)], payload: &[u8]) -> Answer {
        let stream = self.stream;
        self.stream += 2;
        self.connection.send(&headers(stream, path, metadata)).await;
        let payload = data(stream, &message(payload), true);
        self.connection.send(&payload).await;
        soon("an answer", self.connection.answer(stream))
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn every_method_asks_who_calls_and_for_which_app() {
    let easemob = sandbox();
    let gateway = setup(&easemob, Mode::ApiKey).start().await;
    let mut calls = Calls::to(&gateway).await;
    let amy = format!("Bearer {AMY}");
    // A token that says of itself that nobody has to check it.
    let unsigned = "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbXkifQ.";
    for path in methods() {
        let name = path.rsplit('/').next().unwrap();
        for (who, metadata) in [
            ("nobody", vec![]),
            (
                "an unknown key",
                vec![("authorization", "Bearer egk_other")],
            ),
            ("the digest", vec![("authorization", &*digest_of_amy())]),
            (
                "another scheme",
                vec![("authorization", "Basic egk_of-amy")],
            ),
            (
                "a token without a signature",
                vec![("authorization", unsigned)],
            ),
            (
                "two keys",
                vec![("authorization", &*amy), ("authorization", "Bearer x")],
            ),
            // What a proxy in front might say, and anybody can.
            (
                "a header of a mesh",
                vec![
                    ("x-forwarded-client-cert", "URI=spiffe://acme.example/amy"),
                    ("l5d-client-id", "amy.acme.serviceaccount.identity"),
                    ("x-forwarded-user", "amy"),
                    ("x-api-key", AMY),
                ],
            ),
        ] {
            let answer = calls.call(&path, &metadata, &request(&path, "shop")).await;
            assert_eq!(answer.status(), Some(UNAUTHENTICATED), "{name} by {who}");
            assert!(answer.header("grpc-status-details-bin").is_some());
        }
        let metadata = [("authorization", &*amy)];
        let mut refusals = BTreeSet::new();
        for app in ["support", "no-such-app", "Shop", ""] {
            let answer = calls.call(&path, &metadata, &request(&path, app)).await;
            let refusal = match name {
                "SendMessages" => refusal_in_stream(&answer),
                _ => {
                    assert_eq!(
                        answer.status(),
                        Some(PERMISSION_DENIED),
                        "{name} for {app:?}"
                    );
                    // The trace is the call's own, and says nothing of the app.
                    let mut headers = answer.headers;
                    headers.retain(|(name, _)| name != "x-trace-id");
                    format!("{headers:?}")
                }
            };
            if !app.is_empty() {
                refusals.insert(refusal);
            }
        }
        assert_eq!(refusals.len(), 1, "forbidden and unknown apps, by {name}");
        let answer = calls.call(&path, &metadata, &request(&path, "shop")).await;
        let refused = [UNAUTHENTICATED, PERMISSION_DENIED];
        assert!(
            !refused.contains(&answer.status().unwrap()),
            "{name} for the caller's own app: {answer:?}"
        );
    }
    // The two that were allowed: SendMessage's, and that of SendMessages.
    assert_eq!(easemob.messages().len(), 2);
}

/// Each request on the stream has an answer of its own, which tells what the RPC would have.
fn refusal_in_stream(answer: &Answer) -> String {
    assert_eq!(answer.status(), Some(Code::Ok as i32), "{answer:?}");
    let message = answer.data.get(5..).expect("one answer");
    let response = SendMessagesResponse::decode(message).unwrap();
    let Some(send_messages_response::Result::Failure(failure)) = response.result else {
        panic!("{response:?}")
    };
    assert_eq!(failure.reason(), proto::ErrorReason::AppForbidden);
    format!("{:?}", failure.encode_to_vec())
}

fn digest_of_amy() -> String {
    format!("Bearer {}", super::digest(AMY))
}

/// Health for everybody; reflection as it is set; and whoever is not known does not learn what there is.
#[tokio::test]
async fn health_is_open_and_reflection_by_setting() {
    let easemob = sandbox();
    let health = "/grpc.health.v1.Health/Check";
    let reflections = [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ];
    let amy = format!("Bearer {AMY}");
    let amy = [("authorization", &*amy)];
    for (setting, to_anybody, to_amy) in [
        (Reflection::Callers, UNAUTHENTICATED, 0),
        (Reflection::Open, 0, 0),
        (Reflection::Off, UNIMPLEMENTED, UNIMPLEMENTED),
    ] {
        let setup = setup(&easemob, Mode::ApiKey).auth(|auth| auth.reflection = setting);
        let gateway = setup.start().await;
        let mut calls = Calls::to(&gateway).await;
        assert_eq!(calls.call(health, &[], b"").await.status(), Some(0));
        for path in reflections {
            // list_services.
            let request = [0x3a, 0];
            let answer = calls.call(path, &[], &request).await;
            assert_eq!(answer.status(), Some(to_anybody), "{setting:?}");
            let answer = calls.call(path, &amy, &request).await;
            assert_eq!(answer.status(), Some(to_amy), "{setting:?}");
        }
        for path in ["/easemob.messaging.v1.MessagingService/Nothing", "/x.Y/Z"] {
            let answer = calls.call(path, &[], b"").await;
            assert_eq!(answer.status(), Some(UNAUTHENTICATED), "{path}");
            let answer = calls.call(path, &amy, b"").await;
            assert_eq!(answer.status(), Some(UNIMPLEMENTED), "{path}");
        }
    }
}

#[tokio::test]
async fn refusals_tell_their_reason() {
    let easemob = sandbox();
    let gateway = setup(&easemob, Mode::ApiKey).start().await;
    let mut client = gateway.client().await;
    let not_sent = |reason: &str| (reason.to_owned(), "NOT_SENT".to_owned());

    let request = Request::new(text_to(&["bob"]));
    let error = client.send_message(request).await.unwrap_err();
    assert_eq!(verdict(&error), not_sent("CALLER_UNAUTHENTICATED"));
    assert!(error.message().contains("authorization: Bearer"), "{error}");

    let error = client.send_message(send_with(AMY, "support")).await;
    assert_eq!(verdict(&error.unwrap_err()), not_sent("APP_FORBIDDEN"));

    // Of what sends no message, nothing is told of one.
    let request = Request::new(DownloadFileRequest::default());
    let error = client.download_file(request).await.unwrap_err();
    let info = error_info(&error);
    assert_eq!(info.reason, "CALLER_UNAUTHENTICATED");
    assert!(info.metadata.is_empty(), "{info:?}");
}

/// The default is for those who may use it. To others it is as if there were none.
#[tokio::test]
async fn a_default_app_is_no_way_around() {
    let easemob = sandbox();
    let mut answers = BTreeSet::new();
    for default_app in [None, Some("shop")] {
        let mut setup = setup(&easemob, Mode::ApiKey);
        setup.default_app = default_app.map(str::to_owned);
        let gateway = setup.start().await;
        let mut client = gateway.client().await;
        let error = client.send_message(send_with(BEN, "")).await;
        let error = error.unwrap_err();
        assert_eq!(error.code(), Code::PermissionDenied);
        answers.insert((error.message().to_owned(), error.details().to_vec()));
        let sent = client.send_message(send_with(AMY, "")).await;
        assert_eq!(sent.is_ok(), default_app.is_some());
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
}

/// Deliveries by one caller cannot be told from those by another at Easemob; here, each goes to its own app.
#[tokio::test]
async fn each_caller_sends_for_its_own_apps() {
    let easemob = sandbox();
    let gateway = setup(&easemob, Mode::ApiKey).start().await;
    let mut client = gateway.client().await;
    client.send_message(send_with(AMY, "shop")).await.unwrap();
    client
        .send_message(send_with(BEN, "support"))
        .await
        .unwrap();
    client
        .send_message(send_with(BEN, "shop"))
        .await
        .unwrap_err();
    assert_eq!(easemob.messages().len(), 2);
}
