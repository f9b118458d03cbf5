//! Easemob has the message, and its answer does not come or does not tell.

use std::time::{Duration, Instant};

use tonic::Code;

use super::{assert_arrived, assert_in_doubt, assert_not_sent, one_place, says};
use crate::support::{
    easemob::{ACCEPTED_JSON, Easemob, Script, http},
    ledger::Client,
    request::error_info,
};

/// A send that meets this script leaves its outcome in doubt, is not repeated, and does not disturb
/// the next one. What Easemob answered with, if it did, is in the error.
async fn in_doubt(
    easemob: &Easemob,
    client: &mut Client,
    name: &str,
    script: Script,
    http_status: Option<&str>,
) {
    let next = format!("after {name}");
    let before = easemob.seen().sends.len();
    easemob.on_send(script);

    let status = client.send_message(says(name)).await.unwrap_err();
    client
        .send_message(says(&next))
        .await
        .unwrap_or_else(|status| panic!("{next}: {status:?}"));

    println!("{name}: {}", status.message());
    assert_in_doubt(&status);
    let metadata = error_info(&status).metadata;
    let told = metadata.get("http_status").map(String::as_str);
    assert_eq!(told, http_status, "{name}");
    assert_eq!(easemob.seen().texts()[before..], [name, &next], "{name}");
}

#[tokio::test]
async fn a_connection_lost_after_the_request_leaves_the_outcome_in_doubt() {
    let easemob = Easemob::start();
    let gateway = one_place(easemob.url()).start().await;
    let mut client = gateway.client().await;
    let whole = http(200, ACCEPTED_JSON);
    let broken = [
        ("FIN", Script::read().fin(), None),
        ("RST", Script::read().reset(), None),
        (
            "FIN in the status line",
            Script::read().write("HTTP/1.1 20").fin(),
            None,
        ),
        (
            "FIN in the headers",
            Script::read().write("HTTP/1.1 200 OK\r\nX: ").fin(),
            None,
        ),
        (
            "FIN in the body",
            Script::read().write(&whole[..whole.len() - 9]).fin(),
            Some("200"),
        ),
        (
            "RST in the body",
            Script::read().write(&whole[..whole.len() - 9]).reset(),
            Some("200"),
        ),
        (
            "an answer that is no HTTP",
            Script::read().write("220 mail.example.com ESMTP\r\n").fin(),
            None,
        ),
        (
            "a chunk that is none",
            Script::read()
                .write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
                .fin(),
            Some("200"),
        ),
        (
            "a status that is none",
            Script::read().write(http(42, ACCEPTED_JSON)).fin(),
            None,
        ),
    ];
    for (name, script, http_status) in broken {
        in_doubt(&easemob, &mut client, name, script, http_status).await;
    }
}

#[tokio::test]
async fn an_answer_of_200_that_cannot_be_read_leaves_the_outcome_in_doubt() {
    let easemob = Easemob::start();
    let gateway = one_place(easemob.url()).start().await;
    let mut client = gateway.client().await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_data = format!(r#"{{"data":{deep}}}"#);
    let deep_id = format!(r#"{{"data":{{"bob":{deep}}}}}"#);
    let unreadable = [
        ("HTML", "<html>welcome</html>"),
        ("nothing", ""),
        ("half a JSON", &ACCEPTED_JSON[..30]),
        ("null", "null"),
        ("an array", "[]"),
        ("no data", "{}"),
        ("data as an array", r#"{"data":["bob"]}"#),
        ("data as a text", r#"{"data":"bob"}"#),
        ("data as null", r#"{"data":null}"#),
        ("10,000 levels", &deep),
        ("10,000 levels of data", &deep_data),
        ("10,000 levels of an ID", &deep_id),
    ];
    for (name, body) in unreadable {
        let script = Script::read().answer(200, body);
        in_doubt(&easemob, &mut client, name, script, Some("200")).await;
    }
}

#[tokio::test]
async fn an_answer_without_an_id_for_the_recipient_leaves_the_outcome_in_doubt() {
    let easemob = Easemob::start();
    let gateway = one_place(easemob.url()).start().await;
    let mut client = gateway.client().await;
    let without = [
        ("no IDs", r#"{"data":{}}"#),
        ("null", r#"{"data":{"bob":null}}"#),
        ("an empty ID", r#"{"data":{"bob":""}}"#),
        ("an object", r#"{"data":{"bob":{"id":"1"}}}"#),
        ("an array", r#"{"data":{"bob":["1"]}}"#),
        ("a fraction", r#"{"data":{"bob":1.5}}"#),
        ("another recipient", r#"{"data":{"alice":"1"}}"#),
    ];
    for (name, body) in without {
        let script = Script::read().answer(200, body);
        in_doubt(&easemob, &mut client, name, script, Some("200")).await;
    }
}

#[tokio::test]
async fn odd_fields_beside_the_ids_do_not_hide_them() {
    let easemob = Easemob::start();
    let gateway = one_place(easemob.url()).start().await;
    let mut client = gateway.client().await;
    for body in [
        r#"{"data":{"bob":"1"},"timestamp":"soon","path":7,"uri":null,"duration":-1}"#,
        r#"{"data":{"BOB":"1"}}"#,
        r#"{"data":{"bob":1}}"#,
        r#"{"entities":[[[]]],"data":{"alice":null,"bob":"1"}}"#,
    ] {
        easemob.on_send(Script::read().answer(200, body));
        let sent = client.send_message(says(body)).await.unwrap().into_inner();
        assert_eq!(sent.accepted[0].message_id, "1", "{body}");
        assert_eq!(sent.accepted[0].recipient, "bob", "{body}");
    }
}

#[tokio::test]
async fn a_server_error_leaves_the_outcome_in_doubt() {
    let easemob = Easemob::start();
    let gateway = one_place(easemob.url()).start().await;
    let mut client = gateway.client().await;
    for status in [408, 500, 501, 502, 503, 504, 599] {
        for (what, body) in [
            ("HTML", "<html>sorry</html>"),
            ("nothing", ""),
            ("JSON", r#"{"error":"reach_limit"}"#),
        ] {
            let name = format!("{status} with {what}");
            let script = Script::read().answer(status, body);
            let status = status.to_string();
            in_doubt(&easemob, &mut client, &name, script, Some(&status)).await;
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let easemob = Easemob::start();
    let elsewhere = Easemob::start();
    let gateway = one_place(easemob.url()).start().await;
    let mut client = gateway.client().await;
    for status in [301, 302, 303, 307, 308] {
        let name = format!("{status}");
        let script = Script::read().write(redirect(status, &elsewhere));
        in_doubt(&easemob, &mut client, &name, script, Some(&name)).await;
    }
    assert_eq!(elsewhere.seen().connections, 0);
}

#[tokio::test]
async fn a_token_is_not_asked_for_where_a_redirect_points() {
    for status in [301, 302, 303, 307, 308] {
        let easemob = Easemob::start();
        let elsewhere = Easemob::start();
        easemob.on_token(Script::read().write(redirect(status, &elsewhere)));
        let gateway = one_place(easemob.url()).start().await;
        let mut client = gateway.client().await;

        let error = client.send_message(says("hello")).await.unwrap_err();

        assert_not_sent(&error, Code::FailedPrecondition, "EASEMOB_REFUSED");
        let metadata = error_info(&error).metadata;
        assert_eq!(metadata["http_status"], status.to_string());
        assert_eq!(elsewhere.seen().connections, 0);
        assert_arrived(&easemob, &[]);
    }
}

fn redirect(status: u16, to: &Easemob) -> Vec<u8> {
    let to = to.url();
    format!("HTTP/1.1 {status} Elsewhere\r\nLocation: {to}/token\r\nContent-Length: 0\r\n\r\n")
        .into()
}

#[tokio::test]
async fn silence_ends_at_the_limit_of_an_attempt_and_its_connection_is_not_used_again() {
    let easemob = Easemob::start();
    let limit = Duration::from_millis(400);
    let gateway = one_place(easemob.url())
        .app(|app| app.timeouts.attempt = limit)
        .start()
        .await;
    let mut client = gateway.client().await;
    client.send_message(says("before")).await.unwrap();
    easemob.on_send(Script::read().silence());
    let begin = Instant::now();

    let status = client.send_message(says("silence")).await.unwrap_err();

    assert!(begin.elapsed() >= limit);
    assert_in_doubt(&status);
    // Only the gateway can have ended it.
    easemob
        .until("the connection ends", |seen| seen.ended == 1)
        .await;
    client.send_message(says("after")).await.unwrap();
    let seen = easemob.seen();
    assert_eq!(seen.texts(), ["before", "silence", "after"]);
    assert_eq!(seen.sends[0].connection, seen.sends[1].connection);
    assert_ne!(seen.sends[1].connection, seen.sends[2].connection);
}

#[tokio::test]
async fn an_answer_of_a_byte_now_and_then_ends_at_the_limit_of_an_attempt() {
    let easemob = Easemob::start();
    let gateway = one_place(easemob.url())
        .app(|app| app.timeouts.attempt = Duration::from_millis(400))
        .start()
        .await;
    let mut client = gateway.client().await;
    let pause = Duration::from_millis(50);
    let slow = [
        ("from the first byte on", http(200, ACCEPTED_JSON), None),
        // The status was read; that it is 200 does not say for whom.
        ("in the body", Vec::new(), None),
    ];
    for (name, mut bytes, http_status) in slow {
        let mut script = Script::read();
        if bytes.is_empty() {
            bytes = http(200, ACCEPTED_JSON);
            let body = bytes.split_off(bytes.len() - ACCEPTED_JSON.len());
            script = script.write(bytes);
            bytes = body;
        }
        let script = script.drip(bytes, pause);
        in_doubt(&easemob, &mut client, name, script, http_status).await;
    }
}

#[tokio::test]
async fn an_answer_that_never_ends_is_read_to_1_mib_and_no_further() {
    let easemob = Easemob::start();
    let gateway = one_place(easemob.url())
        .app(|app| {
            app.timeouts.attempt = Duration::from_secs(60);
            app.timeouts.call = Duration::from_secs(60);
        })
        .start()
        .await;
    let mut client = gateway.client().await;
    let announced = "HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n";
    let endless = "HTTP/1.1 200 OK\r\n\r\n";
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (name, head, flood) in [
        ("64 MiB as announced", announced, " ".repeat(0x10000)),
        ("as long as the connection", endless, " ".repeat(0x10000)),
        ("in chunks", chunked, chunk),
    ] {
        let before = easemob.seen();
        let script = Script::read().write(head).flood(flood);
        in_doubt(&easemob, &mut client, name, script, Some("200")).await;
        // The gateway hangs up. What the kernel took for it is on top of the 1 MiB.
        let seen = easemob
            .until("it hangs up", |seen| seen.ended > before.ended)
            .await;
        let taken = seen.bytes_out - before.bytes_out;
        assert!(taken < 24 * 1024 * 1024, "{name}: {taken}");
    }
}

#[tokio::test]
async fn headers_without_end_are_not_read_without_end() {
    let easemob = Easemob::start();
    let gateway = one_place(easemob.url())
        .app(|app| app.timeouts.attempt = Duration::from_secs(60))
        .app(|app| app.timeouts.call = Duration::from_secs(60))
        .start()
        .await;
    let mut client = gateway.client().await;
    let one = "HTTP/1.1 200 OK\r\nX: ";
    let script = Script::read().write(one).flood("x".repeat(0x10000));
    in_doubt(&easemob, &mut client, "one header", script, None).await;
    let many = Script::read()
        .write("HTTP/1.1 200 OK\r\n")
        .flood("X-Again: 1\r\n".repeat(1_000));
    in_doubt(&easemob, &mut client, "many headers", many, None).await;
}

#[tokio::test]
async fn an_early_refusal_is_believed() {
    let easemob = Easemob::start();
    let gateway = one_place(easemob.url()).start().await;
    let mut client = gateway.client().await;
    easemob.on_send(Script::unread().answer(413, "").fin());

    let status = client.send_message(says("too large")).await.unwrap_err();
    // Before that, the next one could still go out on it, and be lost.
    easemob
        .until("the gateway hangs up", |seen| seen.ended == 1)
        .await;
    client.send_message(says("next")).await.unwrap();

    assert_not_sent(&status, Code::InvalidArgument, "MESSAGE_TOO_LARGE");
}

#[tokio::test]
async fn a_connection_that_easemob_closes_after_an_answer_does_not_harm_the_next_send() {
    let easemob = Easemob::start();
    let gateway = one_place(easemob.url()).start().await;
    let mut client = gateway.client().await;
    let closing = http(200, ACCEPTED_JSON);
    let announced = String::from_utf8(closing.clone()).unwrap().replacen(
        "\r\n",
        "\r\nConnection: close\r\n",
        1,
    );
    let ends = [
        Script::read().write(closing.clone()).fin(),
        Script::read().write(closing).reset(),
        Script::read().write(announced).fin(),
    ];
    for (i, script) in ends.into_iter().enumerate() {
        easemob.on_send(script);
        let (first, next) = (format!("closed {i}"), format!("next {i}"));
        let ended = easemob.seen().ended;
        client.send_message(says(&first)).await.unwrap();
        easemob
            .until("the connection ends", |seen| seen.ended > ended)
            .await;
        client.send_message(says(&next)).await.unwrap();
        let seen = easemob.seen();
        assert_eq!(seen.texts()[2 * i..], [first, next]);
    }
}
