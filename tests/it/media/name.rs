//! File names and content types that try to be more than that: the form that arrives is read here
//! byte by byte, by RFC 7578 and RFC 2183 alone.

use easemob_gateway::proto;
use tonic::Code;

use super::{assert_refused, file_with, upload};
use crate::support::{
    easemob::{Easemob, Received},
    gateway::TestGateway,
};

/// The one part of a form.
#[derive(Debug, PartialEq)]
struct Part {
    name: String,
    filename: String,
    content_type: String,
    content: Vec<u8>,
}

/// A form of exactly one part, with exactly two headers; anything else fails the test.
fn parse(received: &Received) -> Part {
    let boundary = received
        .head
        .lines()
        .find_map(|line| line.strip_prefix("content-type: multipart/form-data; boundary="))
        .expect("a form")
        .to_owned();
    let body = &received.bytes[..];
    let count = body
        .windows(boundary.len())
        .filter(|window| *window == boundary.as_bytes())
        .count();
    assert_eq!(count, 2, "one part");
    let body = body.strip_prefix(format!("--{boundary}\r\n").as_bytes());
    let end = format!("\r\n--{boundary}--\r\n");
    let body = body.unwrap().strip_suffix(end.as_bytes()).unwrap();
    let split = body
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let head = std::str::from_utf8(&body[..split]).unwrap();
    let [disposition, content_type] = head.split("\r\n").collect::<Vec<_>>()[..] else {
        panic!("two headers: {head}");
    };
    assert!(!head.replace("\r\n", "").contains(char::is_control));
    let parameters = disposition
        .strip_prefix("Content-Disposition: form-data; ")
        .unwrap();
    let (name, rest) = quoted(parameters.strip_prefix("name=").unwrap());
    let (filename, rest) = quoted(rest.strip_prefix("; filename=").unwrap());
    assert_eq!(rest, "");
    Part {
        name,
        filename,
        content_type: content_type
            .strip_prefix("Content-Type: ")
            .unwrap()
            .to_owned(),
        content: body[split + 4..].to_vec(),
    }
}

/// A quoted string, and what follows it.
fn quoted(text: &str) -> (String, &str) {
    let mut chars = text.strip_prefix('"').unwrap().char_indices();
    let mut value = String::new();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &text[at + 2..]),
            '\\' => value.push(chars.next().unwrap().1),
            char => value.push(char),
        }
    }
    panic!("a string without an end: {text}");
}

#[tokio::test]
async fn every_name_arrives_as_it_is_in_exactly_one_part() {
    let easemob = Easemob::start();
    let gateway = TestGateway::start(easemob.url()).await;
    let client = gateway.client().await;
    let long = "x".repeat(300);
    let names = [
        "cat.jpg",
        "my cat.jpg",
        "\"; name=\"other",
        "\"",
        "\\",
        "a\\\"b",
        "ends with \\",
        "../../etc/passwd",
        "C:\\temp\\cat.jpg",
        "猫.jpg",
        "🐱‍👓.png",
        "a%22b%0d%0a.txt",
        "; filename*=UTF-8''x",
        "--easemob-gateway-",
        " ",
        &long,
    ];
    for (index, name) in names.into_iter().enumerate() {
        let content = format!("content {index}\r\n--\r\n\r\n");
        let options = proto::UploadOptions {
            content_type: "text/plain; charset=utf-8".into(),
            ..Default::default()
        };
        let parts = file_with(name, content.as_bytes(), options);
        upload(&client, parts).await.unwrap();
        let seen = easemob.seen();
        assert_eq!(seen.uploads.len(), index + 1);
        let expected = Part {
            name: "file".into(),
            filename: name.into(),
            content_type: "text/plain; charset=utf-8".into(),
            content: content.into(),
        };
        assert_eq!(parse(&seen.uploads[index]), expected);
    }
}

#[tokio::test]
async fn what_could_end_a_header_is_refused() {
    let easemob = Easemob::start();
    let gateway = TestGateway::start(easemob.url()).await;
    let client = gateway.client().await;
    let typed = |content_type: &str| proto::UploadOptions {
        content_type: content_type.into(),
        ..Default::default()
    };
    let long = "x".repeat(513);
    for name in [
        "",
        "a\rb",
        "a\nb",
        "a\r\nX: 1",
        "a\0",
        "a\u{7f}",
        "a\u{85}b",
        &long,
    ] {
        let refused = upload(&client, file_with(name, b"x", typed(""))).await;
        assert_refused(refused, Code::InvalidArgument, "INVALID_REQUEST");
    }
    for content_type in ["text", "text/", "a/b\r\nX: 1", "a/b\0", "é/x", "a b/c"] {
        let refused = upload(&client, file_with("a", b"x", typed(content_type))).await;
        assert_refused(refused, Code::InvalidArgument, "INVALID_REQUEST");
    }
    let seen = easemob.seen();
    assert_eq!(seen.uploads.len(), 0);
}
