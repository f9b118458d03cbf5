//! What tonic, or HTTP below it, refuses before any of our methods has a say.

use bytes::Bytes;
use easemob_gateway::proto::ErrorReason;
use http_body_util::{BodyExt, Full};
use tonic::{Code, Status, body::Body, transport::Channel};
use tower::{Service, ServiceExt};

use super::{Provoked, row, start};

const SEND: &str = "/easemob.messaging.v1.MessagingService/SendMessage";
const UPLOAD: &str = "/easemob.messaging.v1.MessagingService/UploadFile";

/// What is wrong, where, in which headers, with which body; the code.
type Case = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [u8],
    Code,
);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("no such method", "/easemob.messaging.v1.MessagingService/Nothing", &[], EMPTY, Code::Unimplemented),
    ("no such service", "/nobody.Knows/It", &[], EMPTY, Code::Unimplemented),
    ("another content type", SEND, &[("content-type", "application/json")], b"{}", Code::InvalidArgument),
    ("no message", SEND, &[], b"", Code::InvalidArgument),
    ("two messages", SEND, &[], &[0; 10], Code::InvalidArgument),
    ("half a message", SEND, &[], &[0, 0, 0, 0, 9, 1], Code::InvalidArgument),
    ("bytes that are no message", SEND, &[], &[0, 0, 0, 0, 2, 0xff, 0xff], Code::InvalidArgument),
    ("a flag that there is not", SEND, &[], &[7, 0, 0, 0, 0], Code::InvalidArgument),
    ("compressed, and nobody said how", SEND, &[], &[1, 0, 0, 0, 0], Code::InvalidArgument),
    ("a compression that there is not", SEND, &[("grpc-encoding", "br")], &[1, 0, 0, 0, 0], Code::Unimplemented),
    ("no gzip in it", SEND, &[("grpc-encoding", "gzip")], &[1, 0, 0, 0, 1, 7], Code::InvalidArgument),
    ("larger than we read", SEND, &[], &[0, 0x7f, 0, 0, 0], Code::ResourceExhausted),
    ("a part of a file larger than we read", UPLOAD, &[], &[0, 0x7f, 0, 0, 0], Code::InvalidArgument),
];

const EMPTY: &[u8] = &[0; 5];

#[tokio::test]
async fn what_the_framework_refuses_is_explained_as_well() {
    let started = start().await;
    for &(how, path, headers, body, code) in CASES {
        let channel = started.gateway.channel().await;
        let status = error_of(how, channel, path, headers, body).await;
        let reason = match code {
            Code::ResourceExhausted => ErrorReason::MessageTooLarge,
            _ => ErrorReason::InvalidRequest,
        };
        let mut error = Provoked::send(how, Err::<(), _>(status)).with_code(code);
        error.of_send = path != UPLOAD;
        error.assert_is(row(reason));
    }
    assert_eq!(started.easemob.messages().len(), 0);
}

async fn error_of(
    how: &str,
    mut channel: Channel,
    path: &str,
    headers: &[(&'static str, &'static str)],
    body: &'static [u8],
) -> Status {
    let mut request = http::Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("accept-language", "zh-CN")
        .body(Body::new(Full::from(Bytes::from_static(body))))
        .unwrap();
    for &(name, value) in headers {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let response = channel.ready().await.unwrap().call(request).await.unwrap();
    let (head, body) = response.into_parts();
    if let Some(status) = Status::from_header_map(&head.headers) {
        return status;
    }
    let body = body
        .collect()
        .await
        .unwrap_or_else(|error| panic!("{how}: {error}"));
    let trailers = body.trailers().unwrap_or_else(|| panic!("{how}: {head:?}"));
    Status::from_header_map(trailers).unwrap_or_else(|| panic!("{how}: {trailers:?}"))
}

/// One that cannot be read is none, as gRPC has it: the call has the time that everybody has.
#[tokio::test]
async fn a_timeout_that_cannot_be_read_is_ignored() {
    let started = start().await;
    for timeout in ["soon", "1", "123456789S", "-1S", "1Y", ""] {
        let channel = started.gateway.channel().await;
        let headers: &[(&'static str, &'static str)] = &[("grpc-timeout", timeout)];
        let status = error_of(timeout, channel, SEND, headers, EMPTY).await;
        let error = Provoked::send("an empty request", Err::<(), _>(status));
        error.assert_is(row(ErrorReason::InvalidRequest));
    }
}
