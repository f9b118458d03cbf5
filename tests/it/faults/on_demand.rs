//! Every row of the error table, made to happen as a developer would: by the sandbox's own HTTP API and by
//! magic recipients.

use std::time::Duration;

use easemob_gateway::{
    app::Timeouts,
    proto::{self, upload_file_request::Part},
    sandbox::{Config, Sandbox},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tonic::{Request, Status};

use super::says;
use crate::support::{
    gateway::{Setup, TestGateway},
    ledger::Client,
    refused,
    request::{error_info, text_to, verdict},
    soon,
};

const DOCUMENTED: &str = include_str!("../../../docs/sandbox.md");

struct Started {
    easemob: Sandbox,
    _gateway: TestGateway,
    client: Client,
}

/// A gateway that is soon out of patience, in front of a sandbox without quotas.
async fn start(change: impl FnOnce(Setup) -> Setup) -> Started {
    let easemob = Sandbox::start(Config::for_tests()).unwrap();
    let setup = Setup::at(easemob.base_url()).app(|app| {
        app.timeouts = Timeouts {
            connect: Duration::from_millis(600),
            attempt: Duration::from_millis(1_500),
            call: Duration::from_millis(3_000),
            token: Duration::from_millis(1_500),
        };
    });
    let gateway = change(setup).start().await;
    let client = gateway.client().await;
    Started {
        easemob,
        _gateway: gateway,
        client,
    }
}

impl Started {
    /// `POST /sandbox/faults`.
    async fn fault(&self, fault: &str) {
        let mut socket = TcpStream::connect(self.easemob.addr()).await.unwrap();
        let request = format!(
            "POST /sandbox/faults HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{fault}",
            fault.len()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{fault}: {answer}");
    }

    async fn send(&self, to: &str) -> Result<(), Status> {
        let mut client = self.client.clone();
        client.send_message(text_to(&[to])).await.map(|_| ())
    }

    /// Reason and state of a send that meets this.
    async fn told(&self, fault: &str) -> (String, String) {
        self.fault(fault).await;
        let sent = self.send("bob").await;
        verdict(&sent.expect_err(fault))
    }

    async fn upload(&self) -> Result<(), Status> {
        let header = proto::UploadFileHeader {
            filename: "a.txt".into(),
            ..Default::default()
        };
        let finish = proto::UploadFinish {
            size_bytes: Some(4),
            ..Default::default()
        };
        let parts = [
            Part::Header(header),
            Part::Chunk("meow".into()),
            Part::Finish(finish),
        ];
        let parts = parts.map(|part| proto::UploadFileRequest { part: Some(part) });
        let mut client = self.client.clone();
        let uploaded = client.upload_file(tokio_stream::iter(parts)).await;
        uploaded.map(|_| ())
    }

    async fn download(&self) -> Result<(), Status> {
        let request = proto::DownloadFileRequest {
            file: Some(proto::FileRef {
                location: Some(proto::file_ref::Location::Uuid(
                    "11111111-2222-3333-4444-555555555555".into(),
                )),
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut client = self.client.clone();
        let mut parts = client.download_file(request).await?.into_inner();
        while parts.message().await?.is_some() {}
        Ok(())
    }
}

/// Each in a gateway and a sandbox of its own, all at once.
async fn walk(rows: &'static [(&str, &str, &str)]) {
    let mut walking = JoinSet::new();
    for (fault, reason, state) in rows {
        walking.spawn(async move {
            let started = start(|setup| setup).await;
            let told = started.told(fault).await;
            assert_eq!(
                (told.0.as_str(), told.1.as_str()),
                (*reason, *state),
                "{fault}"
            );
        });
    }
    soon("every row is told", walking.join_all()).await;
}

#[tokio::test]
async fn what_easemob_refuses_was_not_sent() {
    walk(&[
        (
            r#"{"kind":"status","name":"from_empty"}"#,
            "INVALID_REQUEST",
            "NOT_SENT",
        ),
        (
            r#"{"kind":"status","name":"invalid_body"}"#,
            "INVALID_REQUEST",
            "NOT_SENT",
        ),
        (
            r#"{"kind":"status","name":"message_too_large"}"#,
            "MESSAGE_TOO_LARGE",
            "NOT_SENT",
        ),
        (
            r#"{"kind":"status","name":"request_too_large"}"#,
            "MESSAGE_TOO_LARGE",
            "NOT_SENT",
        ),
        (
            r#"{"kind":"status","name":"token_refused"}"#,
            "EASEMOB_CREDENTIALS_REJECTED",
            "NOT_SENT",
        ),
        (
            r#"{"kind":"status","name":"wrong_client_secret","endpoint":"token"}"#,
            "EASEMOB_CREDENTIALS_REJECTED",
            "NOT_SENT",
        ),
        (
            r#"{"kind":"status","name":"internal","endpoint":"token"}"#,
            "EASEMOB_UNREACHABLE",
            "NOT_SENT",
        ),
        (
            r#"{"kind":"reset_after","endpoint":"token"}"#,
            "EASEMOB_UNREACHABLE",
            "NOT_SENT",
        ),
        (
            r#"{"kind":"silence","endpoint":"token"}"#,
            "EASEMOB_UNREACHABLE",
            "NOT_SENT",
        ),
        (
            r#"{"kind":"outage","delay":"1m"}"#,
            "EASEMOB_UNREACHABLE",
            "NOT_SENT",
        ),
        (
            r#"{"kind":"status","name":"message_rate"}"#,
            "QUOTA_EXCEEDED",
            "NOT_SENT",
        ),
        (
            r#"{"kind":"status","name":"call_rate"}"#,
            "QUOTA_EXCEEDED",
            "NOT_SENT",
        ),
        (
            r#"{"kind":"status","status":429}"#,
            "QUOTA_EXCEEDED",
            "NOT_SENT",
        ),
        (
            r#"{"kind":"status","name":"plan_limit"}"#,
            "PLAN_LIMIT_REACHED",
            "NOT_SENT",
        ),
        (
            r#"{"kind":"status","name":"feature_off"}"#,
            "FEATURE_NOT_ENABLED",
            "NOT_SENT",
        ),
        (
            r#"{"kind":"status","name":"service_not_open"}"#,
            "FEATURE_NOT_ENABLED",
            "NOT_SENT",
        ),
        (
            r#"{"kind":"status","name":"app_not_found"}"#,
            "EASEMOB_APP_NOT_FOUND",
            "NOT_SENT",
        ),
        (
            r#"{"kind":"status","name":"no_permission"}"#,
            "EASEMOB_REFUSED",
            "NOT_SENT",
        ),
        (
            r#"{"kind":"status","name":"media_type"}"#,
            "EASEMOB_REFUSED",
            "NOT_SENT",
        ),
        (
            r#"{"kind":"status","status":418}"#,
            "EASEMOB_REFUSED",
            "NOT_SENT",
        ),
    ])
    .await;
}

#[tokio::test]
async fn what_leaves_the_answer_open_may_have_been_sent() {
    walk(&[
        (
            r#"{"kind":"status","name":"request_timeout"}"#,
            "OUTCOME_UNKNOWN",
            "MAYBE_SENT",
        ),
        (
            r#"{"kind":"status","name":"internal"}"#,
            "OUTCOME_UNKNOWN",
            "MAYBE_SENT",
        ),
        (
            r#"{"kind":"status","name":"unavailable"}"#,
            "OUTCOME_UNKNOWN",
            "MAYBE_SENT",
        ),
        (r#"{"kind":"html"}"#, "OUTCOME_UNKNOWN", "MAYBE_SENT"),
        (
            r#"{"kind":"html","status":200}"#,
            "OUTCOME_UNKNOWN",
            "MAYBE_SENT",
        ),
        (r#"{"kind":"redirect"}"#, "OUTCOME_UNKNOWN", "MAYBE_SENT"),
        (r#"{"kind":"truncated"}"#, "OUTCOME_UNKNOWN", "MAYBE_SENT"),
        (r#"{"kind":"oversized"}"#, "OUTCOME_UNKNOWN", "MAYBE_SENT"),
        (r#"{"kind":"without_ids"}"#, "OUTCOME_UNKNOWN", "MAYBE_SENT"),
        (
            r#"{"kind":"reset_before"}"#,
            "OUTCOME_UNKNOWN",
            "MAYBE_SENT",
        ),
        (r#"{"kind":"reset_after"}"#, "OUTCOME_UNKNOWN", "MAYBE_SENT"),
        (r#"{"kind":"close"}"#, "OUTCOME_UNKNOWN", "MAYBE_SENT"),
        (r#"{"kind":"silence"}"#, "OUTCOME_UNKNOWN", "MAYBE_SENT"),
        (
            r#"{"kind":"latency","delay":"1m"}"#,
            "OUTCOME_UNKNOWN",
            "MAYBE_SENT",
        ),
        (
            r#"{"kind":"slow","delay":"1s"}"#,
            "OUTCOME_UNKNOWN",
            "MAYBE_SENT",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_revoked_token_is_renewed_and_the_message_sent() {
    let started = start(|setup| setup).await;
    started.fault(r#"{"kind":"token_revoked","count":1}"#).await;
    started.send("bob").await.unwrap();
    assert_eq!(started.easemob.messages().len(), 1);
}

#[tokio::test]
async fn an_outage_with_a_token_at_hand_was_not_sent() {
    let started = start(|setup| setup).await;
    // It leaves a token, and no connection.
    started.told(r#"{"kind":"close","count":1}"#).await;
    started.fault(r#"{"kind":"outage","delay":"1m"}"#).await;
    refused(started.easemob.addr()).await;
    let told = verdict(&started.send("bob").await.unwrap_err());
    assert_eq!(told, ("EASEMOB_UNREACHABLE".into(), "NOT_SENT".into()));
}

#[tokio::test]
async fn a_503_was_not_sent_where_the_app_says_so() {
    let started = start(|setup| setup.app(|app| app.treat_503_as_not_sent = true)).await;
    let told = started
        .told(r#"{"kind":"status","name":"unavailable"}"#)
        .await;
    assert_eq!(told, ("EASEMOB_BUSY".into(), "NOT_SENT".into()));
}

#[tokio::test]
async fn a_deadline_before_the_first_byte_was_not_sent() {
    let started = start(|setup| setup).await;
    started
        .fault(r#"{"kind":"latency","endpoint":"token","delay":"1m"}"#)
        .await;
    let mut request = Request::new(says("late"));
    request.set_timeout(Duration::from_millis(300));
    let status = started.client.clone().send_message(request).await;
    let told = verdict(&status.unwrap_err());
    assert_eq!(told, ("DEADLINE_EXCEEDED".into(), "NOT_SENT".into()));
}

#[tokio::test]
async fn a_full_gateway_sends_nothing() {
    let started = start(|setup| {
        let setup = setup.server(|server| server.shards = std::num::NonZeroUsize::new(1));
        setup.delivery(|delivery| {
            delivery.calls_in_flight = 1;
            delivery.queue = 0;
        })
    })
    .await;
    started.fault(r#"{"kind":"silence"}"#).await;
    let (first, second) = tokio::join!(started.send("amy"), started.send("bob"));
    let mut told = [first, second].map(|sent| verdict(&sent.unwrap_err()).0);
    told.sort();
    assert_eq!(told, ["OUTCOME_UNKNOWN", "OVERLOADED"]);
}

#[tokio::test]
async fn files_have_their_own_rows() {
    for (fault, reason) in [
        (
            r#"{"kind":"status","name":"internal","endpoint":"upload"}"#,
            "UPLOAD_INTERRUPTED",
        ),
        (
            r#"{"kind":"reset_after","endpoint":"upload"}"#,
            "UPLOAD_INTERRUPTED",
        ),
        (
            r#"{"kind":"status","name":"file_too_large","endpoint":"upload"}"#,
            "FILE_TOO_LARGE",
        ),
        (
            r#"{"kind":"status","name":"file_not_found","endpoint":"download"}"#,
            "FILE_NOT_FOUND",
        ),
        (
            r#"{"kind":"status","name":"file_expired","endpoint":"download"}"#,
            "FILE_EXPIRED",
        ),
    ] {
        let started = start(|setup| setup).await;
        started.fault(fault).await;
        let done = match fault.contains("upload") {
            true => started.upload().await,
            false => started.download().await,
        };
        assert_eq!(error_info(&done.unwrap_err()).reason, reason, "{fault}");
    }
}

/// `fault-…`, reason and state of each magic recipient that docs/sandbox.md lists.
fn magic() -> Vec<(&'static str, &'static str, &'static str)> {
    let rows = DOCUMENTED.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `fault-")?.split('|').map(str::trim);
        let user = cells.next()?.trim_end_matches('`');
        let (reason, state) = (cells.nth(1)?.trim_matches('`'), cells.next()?);
        Some((user, reason, state))
    });
    rows.collect()
}

#[tokio::test]
async fn magic_recipients_do_what_their_table_says() {
    let rows = magic();
    assert!(rows.len() > 20, "{rows:?}");
    let mut walking = JoinSet::new();
    for (user, reason, state) in rows {
        walking.spawn(async move {
            let started = start(|setup| match state {
                // Late, and within the patience of the defaults.
                "accepted" => setup.app(|app| app.timeouts = Timeouts::default()),
                _ => setup,
            })
            .await;
            let sent = started.send(&format!("fault-{user}")).await;
            if state == "accepted" {
                return sent.unwrap_or_else(|status| panic!("fault-{user}: {status:?}"));
            }
            let expected = (reason.to_owned(), state.replace(' ', "_").to_uppercase());
            assert_eq!(verdict(&sent.unwrap_err()), expected, "fault-{user}");
            assert_eq!(started.easemob.messages().is_empty(), user != "truncated");
        });
    }
    soon("every recipient has its fault", walking.join_all()).await;
}
