//! What stands beside SendMessage: methods that are not there, reflection, health.

use easemob_gateway::proto::{self, messaging_service_client::MessagingServiceClient};
use http_body_util::Full;
use prost::Message as _;
use prost_types::FileDescriptorProto;
use tonic::{Code, Status, body::Body, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tower::{Service, ServiceExt};

use super::start;
use crate::support::request::{error_info, text_to, verdict};

const SERVICE: &str = "easemob.messaging.v1.MessagingService";

/// The error of an empty call to a path.
async fn error_at(mut channel: Channel, path: &str) -> Status {
    let request = http::Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(Full::from(&[0_u8; 5][..])))
        .unwrap();
    let response = channel.ready().await.unwrap().call(request).await.unwrap();
    assert_eq!(response.status(), 200);
    Status::from_header_map(response.headers()).expect("a status in the headers")
}

#[tokio::test]
async fn a_method_or_service_that_is_not_there_is_unimplemented() {
    let started = start().await;
    let channel = started.gateway.channel().await;
    for path in [
        format!("/{SERVICE}/SendMessageTwice"),
        format!("/{SERVICE}/sendmessage"),
        format!("/{SERVICE}/"),
        format!("/{SERVICE}"),
        "/easemob.messaging.v2.MessagingService/SendMessage".to_owned(),
        "/".to_owned(),
        "/livez".to_owned(),
        "/grpc.health.v1.Health/Nothing".to_owned(),
    ] {
        let status = error_at(channel.clone(), &path).await;
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
        let expected = ("INVALID_REQUEST".to_owned(), "NOT_SENT".to_owned());
        assert_eq!(verdict(&status), expected, "{path}");
        assert!(
            status.message().starts_with("there is no such method"),
            "{path}: {status:?}"
        );
    }
}

#[tokio::test]
async fn health_speaks_for_the_process_and_the_service() {
    let started = start().await;
    let mut health = HealthClient::new(started.gateway.channel().await);
    let of = |service: &str| HealthCheckRequest {
        service: service.into(),
    };
    for service in ["", SERVICE] {
        let answer = health.check(of(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
        let mut watch = health.watch(of(service)).await.unwrap().into_inner();
        let news = watch.message().await.unwrap().unwrap();
        assert_eq!(news.status(), ServingStatus::Serving);
        if service.is_empty() {
            continue;
        }
        started.gateway.begin_drain();
        let news = watch.message().await.unwrap().unwrap();
        assert_eq!(news.status(), ServingStatus::NotServing);
    }
}

#[tokio::test]
async fn an_unknown_service_has_no_health() {
    let started = start().await;
    let mut health = HealthClient::new(started.gateway.channel().await);
    let service = "other".to_owned();
    let error = health.check(HealthCheckRequest { service }).await;
    let error = error.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert_eq!(error_info(&error).reason, "INVALID_REQUEST");
}

/// The two versions of reflection differ in the names of their types alone.
macro_rules! reflection {
    ($version:ident, $channel:expr, $request:ident $text:expr) => {{
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::$request($text.to_owned())),
        };
        let mut client = ServerReflectionClient::new($channel.clone());
        let stream = client
            .server_reflection_info(tokio_stream::iter([request]))
            .await;
        let answer = stream.unwrap().into_inner().message().await;
        answer.map(|answer| match answer.unwrap().message_response.unwrap() {
            MessageResponse::ListServicesResponse(list) => {
                let services = list.service.into_iter();
                services.map(|service| service.name).collect::<Vec<_>>()
            }
            MessageResponse::FileDescriptorResponse(files) => {
                let files = files.file_descriptor_proto.into_iter();
                files
                    .map(|file| {
                        FileDescriptorProto::decode(&*file)
                            .unwrap()
                            .name()
                            .to_owned()
                    })
                    .collect()
            }
            other => panic!("{other:?}"),
        })
    }};
}

#[tokio::test]
async fn reflection_knows_the_services_and_the_details_of_errors() {
    let started = start().await;
    let channel = started.gateway.channel().await;
    for services in [
        reflection!(v1, channel, ListServices ""),
        reflection!(v1alpha, channel, ListServices ""),
    ] {
        let services = services.unwrap();
        let known = |name: &str| services.iter().any(|service| service.starts_with(name));
        assert!(known(SERVICE), "{services:?}");
        assert!(known("grpc.health.v1.Health"), "{services:?}");
        // Each version tells of itself.
        assert!(known("grpc.reflection.v1"), "{services:?}");
    }
    for (symbol, file) in [
        (SERVICE, "easemob/messaging/v1/messaging_service.proto"),
        (
            "easemob.messaging.v1.Message",
            "easemob/messaging/v1/message.proto",
        ),
        (
            "easemob.messaging.v1.ErrorReason",
            "easemob/messaging/v1/error_reason.proto",
        ),
        (
            "easemob.messaging.v1.UploadedMedia",
            "easemob/messaging/v1/messaging_service.proto",
        ),
        ("google.rpc.ErrorInfo", "google/rpc/error_details.proto"),
        ("google.rpc.BadRequest", "google/rpc/error_details.proto"),
        ("google.rpc.RetryInfo", "google/rpc/error_details.proto"),
        ("google.rpc.QuotaFailure", "google/rpc/error_details.proto"),
        ("google.rpc.Status", "google/rpc/status.proto"),
        ("google.protobuf.Struct", "google/protobuf/struct.proto"),
    ] {
        for files in [
            reflection!(v1, channel, FileContainingSymbol symbol),
            reflection!(v1alpha, channel, FileContainingSymbol symbol),
        ] {
            assert_eq!(files.unwrap(), [file], "{symbol}");
        }
    }
    let unknown = reflection!(v1, channel, FileContainingSymbol "nobody.Knows");
    let unknown = unknown.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    assert_eq!(error_info(&unknown).reason, "INVALID_REQUEST");
}

#[tokio::test]
async fn two_clients_of_one_connection_do_not_disturb_each_other() {
    let started = start().await;
    let channel = started.gateway.channel().await;
    let (mut one, mut other) = (
        MessagingServiceClient::new(channel.clone()),
        MessagingServiceClient::new(channel),
    );
    let (sent, refused) = tokio::join!(
        one.send_message(text_to(&["bob"])),
        other.send_message(proto::SendMessageRequest::default())
    );
    assert_eq!(sent.unwrap().into_inner().accepted.len(), 1);
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
}
