//! Bytes that no proper client sends, and sizes that none should: every refusal is an error that
//! says so, and the next call works.

use std::time::Duration;

use easemob_gateway::{
    proto::{self, messaging_service_client::MessagingServiceClient},
    sandbox::Fault,
};
use proptest::{
    collection::vec,
    prelude::any,
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use prost::Message as _;
use tokio::time::Instant;
use tonic::{Code, Status, codec::CompressionEncoding};

use super::{Started, USERS, start, start_with};
use crate::support::{
    http2::{Answer, Connection, data, headers, message},
    request::{error_info, text_to, verdict},
    soon,
};

const SEND: &str = "/easemob.messaging.v1.MessagingService/SendMessage";

const METHODS: [&str; 5] = [
    "SendMessage",
    "SendMessages",
    "SendMediaMessage",
    "UploadFile",
    "DownloadFile",
];

/// The error of a call, which has exactly one `ErrorInfo` and fits into the headers of every client.
#[track_caller]
fn error_of(answer: &Answer) -> Status {
    let mut headers = http::HeaderMap::new();
    for (name, value) in &answer.headers {
        let name = http::HeaderName::try_from(name.as_str());
        // Not those of HTTP/2 itself, such as `:status`.
        if let Ok(name) = name {
            headers.append(name, value.parse().unwrap());
        }
    }
    let bytes: usize = headers
        .iter()
        .map(|(n, v)| n.as_str().len() + v.len())
        .sum();
    assert!(bytes < 4_096, "{bytes} bytes of headers");
    assert_eq!(answer.reset, None);
    let status = Status::from_header_map(&headers).expect("a status");
    assert_ne!(status.code(), Code::Ok, "{answer:?}");
    error_info(&status);
    status
}

/// The text of the error, whose verdict is that the request cannot be read.
#[track_caller]
fn unreadable(answer: &Answer) -> String {
    let status = error_of(answer);
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let expected = ("INVALID_REQUEST".to_owned(), "NOT_SENT".to_owned());
    assert_eq!(verdict(&status), expected);
    status.message().to_owned()
}

/// A connection whose calls are made byte by byte.
struct Raw {
    connection: Connection,
    stream: u32,
}

impl Raw {
    async fn connect(started: &Started) -> Self {
        Self {
            connection: Connection::open(started.gateway.addr).await,
            stream: 1,
        }
    }

    /// A call with this metadata and these bytes, gRPC's framing among them.
    async fn call(&mut self, path: &str, metadata: &[(&str, &str)], bytes: &[u8]) -> Answer {
        let stream = self.stream;
        self.stream += 2;
        self.connection.send(&headers(stream, path, metadata)).await;
        self.connection.send(&data(stream, bytes, true)).await;
        let answer = soon("an answer", self.connection.answer(stream)).await;
        answer.expect("the connection lives")
    }

    /// A send that works, on the same connection.
    async fn works(&mut self) {
        let bytes = message(&text_to(&["bob"]).encode_to_vec());
        let answer = self.call(SEND, &[], &bytes).await;
        assert_eq!(answer.status(), Some(0), "{answer:?}");
    }
}

/// So many values of a strategy, other ones at each run; a failing one is told by its assertion.
fn samples<S: Strategy>(strategy: S, count: usize) -> Vec<S::Value> {
    let mut runner = TestRunner::default();
    let mut sample = || strategy.new_tree(&mut runner).unwrap().current();
    (0..count).map(|_| sample()).collect()
}

#[tokio::test]
async fn bytes_that_are_no_message_are_refused_by_every_method() {
    let started = start().await;
    let mut raw = Raw::connect(&started).await;
    for method in METHODS {
        let path = format!("/easemob.messaging.v1.MessagingService/{method}");
        for bytes in samples(vec(any::<u8>(), 0..300), 25) {
            for framed in [bytes.clone(), message(&bytes)] {
                let answer = raw.call(&path, &[], &framed).await;
                // A stream of no messages, or of some that are told apart from those that can be read.
                if method == "SendMessages" && answer.status() == Some(0) {
                    continue;
                }
                let status = error_of(&answer);
                let refused = match status.code() {
                    Code::InvalidArgument | Code::ResourceExhausted => true,
                    Code::Unimplemented => method != "SendMessage",
                    _ => false,
                };
                assert!(refused, "{method}: {status:?} for {framed:?}");
            }
        }
    }
    assert_eq!(started.sent(), 0);
    raw.works().await;
}

#[tokio::test]
async fn frames_that_are_cut_or_lie_about_their_length_are_refused() {
    let started = start().await;
    let mut raw = Raw::connect(&started).await;
    let whole = message(&text_to(&["bob"]).encode_to_vec());
    for length in 0..whole.len() {
        let answer = raw.call(SEND, &[], &whole[..length]).await;
        let text = unreadable(&answer);
        assert!(text.starts_with("the request cannot be read ("), "{text}");
    }
    for declared in [100_u32, 100_000] {
        let mut longer = whole.clone();
        longer[1..5].copy_from_slice(&declared.to_be_bytes());
        unreadable(&raw.call(SEND, &[], &longer).await);
    }
    for declared in [1_048_577_u32, 0x7fff_ffff, u32::MAX] {
        let mut longer = whole.clone();
        longer[1..5].copy_from_slice(&declared.to_be_bytes());
        let status = error_of(&raw.call(SEND, &[], &longer).await);
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(verdict(&status).0, "MESSAGE_TOO_LARGE");
    }
    let mut shorter = whole.clone();
    shorter[4] -= 1;
    error_of(&raw.call(SEND, &[], &shorter).await);
    for flag in [1, 2, 3, 127, 128, 255] {
        let mut flagged = whole.clone();
        flagged[0] = flag;
        unreadable(&raw.call(SEND, &[], &flagged).await);
    }
    assert_eq!(started.sent(), 0);
    raw.works().await;
}

#[tokio::test]
async fn a_request_that_cannot_be_decoded_is_told_by_its_field() {
    let started = start().await;
    let mut raw = Raw::connect(&started).await;
    // Field 1, `app`, is text: this is none.
    let text = unreadable(&raw.call(SEND, &[], &message(&[0x0a, 1, 0xff])).await);
    assert!(text.contains("SendMessageRequest.app"), "{text}");
    assert!(text.contains("UTF-8"), "{text}");
    // An extension deeper than the decoder goes.
    let mut value = prost_types::Value::default();
    for _ in 0..60 {
        value = prost_types::Value {
            kind: Some(prost_types::value::Kind::ListValue(
                prost_types::ListValue {
                    values: vec![value],
                },
            )),
        };
    }
    let mut deep = text_to(&["bob"]);
    deep.message.as_mut().unwrap().extension =
        Some(proto::message::Extension::Ext(prost_types::Struct {
            fields: [("k".to_owned(), value)].into(),
        }));
    let text = unreadable(&raw.call(SEND, &[], &message(&deep.encode_to_vec())).await);
    assert!(text.contains("recursion limit"), "{text}");
    raw.works().await;
}

#[tokio::test]
async fn a_request_larger_than_the_gateway_reads_is_refused() {
    let started = start().await;
    let mut huge = text_to(&["bob"]);
    huge.message.as_mut().unwrap().content =
        Some(crate::support::request::text(&"0".repeat(5 * 1024 * 1024)));
    let plain = started.client.clone();
    let gzip = plain.clone().send_compressed(CompressionEncoding::Gzip);
    let zstd = plain.clone().send_compressed(CompressionEncoding::Zstd);
    for mut client in [plain, gzip, zstd] {
        let error = soon("a refusal", client.send_message(huge.clone())).await;
        let error = error.unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted, "{error:?}");
        let expected = ("MESSAGE_TOO_LARGE".to_owned(), "NOT_SENT".to_owned());
        assert_eq!(verdict(&error), expected);
        assert!(error.message().contains("1048576"), "{error:?}");
    }
    assert_eq!(started.sent(), 0);
    started.send(text_to(&["bob"])).await.unwrap();
}

#[tokio::test]
async fn the_largest_request_that_fits_is_read() {
    let started = start_with(|setup| setup.server(|server| server.max_request_bytes = 2_048)).await;
    let mut request = text_to(&["bob"]);
    let frame = request.encoded_len() + 4;
    let fill = |bytes: usize| {
        let mut request = text_to(&["bob"]);
        // An app's name, so that the refusal of the gateway itself is another one.
        request.app = "x".repeat(bytes);
        request
    };
    request = fill(2_048 - frame + 1);
    assert_eq!(request.encoded_len(), 2_048);
    let error = started.send(request).await.unwrap_err();
    assert_eq!(error_info(&error).reason, "APP_NOT_CONFIGURED");
    let error = started.send(fill(2_048 - frame + 2)).await.unwrap_err();
    assert_eq!(error_info(&error).reason, "MESSAGE_TOO_LARGE");
}

#[tokio::test]
async fn compressed_requests_are_read() {
    let started = start().await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let channel = started.gateway.channel().await;
        let mut client = MessagingServiceClient::new(channel).send_compressed(encoding);
        let sent = client.send_message(text_to(&["bob"])).await.unwrap();
        assert_eq!(sent.into_inner().accepted.len(), 1);
        let json = started.take_json();
        assert_eq!(json["body"]["msg"], "hello");
    }
}

#[tokio::test]
async fn an_unknown_compression_is_told_with_those_that_are_known() {
    let started = start().await;
    let mut raw = Raw::connect(&started).await;
    let bytes = message(&text_to(&["bob"]).encode_to_vec());
    for encoding in ["deflate", "snappy", "br", "x"] {
        let answer = raw.call(SEND, &[("grpc-encoding", encoding)], &bytes).await;
        let status = error_of(&answer);
        assert_eq!(status.code(), Code::Unimplemented);
        assert_eq!(verdict(&status).0, "INVALID_REQUEST");
        assert!(status.message().contains(encoding), "{status:?}");
        let known = answer.header("grpc-accept-encoding").expect("a list");
        assert!(known.contains("gzip") && known.contains("zstd"), "{known}");
    }
    // Compressed by name, and not in fact.
    for encoding in ["gzip", "zstd"] {
        let mut compressed = bytes.clone();
        compressed[0] = 1;
        let answer = raw
            .call(SEND, &[("grpc-encoding", encoding)], &compressed)
            .await;
        unreadable(&answer);
    }
    assert_eq!(started.sent(), 0);
    raw.works().await;
}

#[tokio::test]
async fn a_deadline_of_nothing_has_passed_and_garbage_is_none() {
    let started = start().await;
    let mut raw = Raw::connect(&started).await;
    let bytes = message(&text_to(&["bob"]).encode_to_vec());
    for timeout in ["0S", "0n", "00000000H"] {
        let answer = raw.call(SEND, &[("grpc-timeout", timeout)], &bytes).await;
        let status = error_of(&answer);
        assert_eq!(status.code(), Code::DeadlineExceeded, "{timeout}");
        let expected = ("DEADLINE_EXCEEDED".to_owned(), "NOT_SENT".to_owned());
        assert_eq!(verdict(&status), expected);
    }
    assert_eq!(started.sent(), 0);
    for timeout in [
        "99999999H",
        "",
        "S",
        "-1S",
        "1",
        "123456789S",
        "1.5S",
        "1s",
        "soon",
    ] {
        let answer = raw.call(SEND, &[("grpc-timeout", timeout)], &bytes).await;
        assert_eq!(answer.status(), Some(0), "{timeout}");
    }
}

#[tokio::test]
async fn a_deadline_that_is_garbage_or_too_far_is_one_of_the_settings() {
    let started = start_with(|setup| {
        setup.server(|server| {
            server.default_deadline = Duration::from_millis(100);
            server.max_deadline = Duration::from_millis(400);
        })
    })
    .await;
    let mut raw = Raw::connect(&started).await;
    let bytes = message(&text_to(&["bob"]).encode_to_vec());
    for (timeout, expected_ms) in [("garbage", 100), ("99999999H", 400), ("200m", 200)] {
        started.easemob.script(USERS, [Fault::silence()]);
        let begin = Instant::now();
        let answer = raw.call(SEND, &[("grpc-timeout", timeout)], &bytes).await;
        let took = begin.elapsed();
        let status = error_of(&answer);
        // The latter where a busy machine has not come as far as sending by then.
        let in_time = [Code::Unknown, Code::DeadlineExceeded];
        assert!(in_time.contains(&status.code()), "{timeout}: {status:?}");
        // Shortly before the deadline, so that the caller still reads it.
        let earliest = Duration::from_millis(expected_ms * 3 / 4);
        assert!(took >= earliest, "{timeout}: {took:?}");
        assert!(
            took < earliest + Duration::from_secs(5),
            "{timeout}: {took:?}"
        );
    }
}
