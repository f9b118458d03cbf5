//! The table of errors: for everything that Easemob can answer to a send, what the caller is told,
//! and how many requests reached Easemob.

use std::time::Duration;

use easemob_gateway::{
    proto::{self, message::Target},
    sandbox::{Endpoint, Fault},
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetail, StatusExt};

use super::{SENDS, Started, USERS, start, start_with};
use crate::support::{
    gateway::Setup,
    request::{error_info, message, request, text, text_to, verdict},
};

/// What a caller is told.
#[derive(Debug, PartialEq)]
struct Told {
    code: Code,
    reason: &'static str,
    maybe_sent: bool,
    /// RetryInfo and the pushback, in milliseconds.
    wait_ms: Option<u64>,
    quota_failure: bool,
}

impl Told {
    const fn of(code: Code, reason: &'static str) -> Self {
        Self {
            code,
            reason,
            maybe_sent: false,
            wait_ms: None,
            quota_failure: false,
        }
    }

    const fn after(self, wait_ms: u64) -> Self {
        Self {
            wait_ms: Some(wait_ms),
            ..self
        }
    }
}

const INVALID: Told = Told::of(Code::InvalidArgument, "INVALID_REQUEST");
const TOO_LARGE: Told = Told::of(Code::InvalidArgument, "MESSAGE_TOO_LARGE");
const CREDENTIALS: Told = Told::of(Code::FailedPrecondition, "EASEMOB_CREDENTIALS_REJECTED");
const NO_APP: Told = Told::of(Code::FailedPrecondition, "EASEMOB_APP_NOT_FOUND");
const NOT_OPEN: Told = Told::of(Code::FailedPrecondition, "FEATURE_NOT_ENABLED");
const REFUSED: Told = Told::of(Code::FailedPrecondition, "EASEMOB_REFUSED");
const UNREACHABLE: Told = Told::of(Code::Unavailable, "EASEMOB_UNREACHABLE").after(1_000);
const BUSY: Told = Told::of(Code::Unavailable, "EASEMOB_BUSY").after(1_000);
const PLAN: Told = Told {
    quota_failure: true,
    ..Told::of(Code::ResourceExhausted, "PLAN_LIMIT_REACHED")
};
const UNKNOWN: Told = Told {
    maybe_sent: true,
    ..Told::of(Code::Unknown, "OUTCOME_UNKNOWN")
};

const fn quota(wait_ms: u64) -> Told {
    Told {
        quota_failure: true,
        ..Told::of(Code::ResourceExhausted, "QUOTA_EXCEEDED").after(wait_ms)
    }
}

/// Reads everything that the caller is told, and checks what holds for every error.
#[track_caller]
fn told(error: &Status) -> Told {
    let (reason, state) = verdict(error);
    let details = error.get_error_details_vec();
    let retry_info = details.iter().find_map(|detail| match detail {
        ErrorDetail::RetryInfo(retry) => Some(retry.retry_delay.expect("a time")),
        _ => None,
    });
    let pushback = error.metadata().get("grpc-retry-pushback-ms");
    let pushback = pushback.map(|value| value.to_str().unwrap().parse::<i64>().unwrap());
    let maybe_sent = state == "MAYBE_SENT";
    assert_eq!(state == "NOT_SENT", !maybe_sent);
    match retry_info {
        // Which clients obey whatever the code.
        Some(wait) if error.code() == Code::Unavailable => {
            assert_eq!(pushback, i64::try_from(wait.as_millis()).ok(), "{error:?}");
        }
        Some(_) => assert_eq!(pushback, None, "{error:?}"),
        None => assert_eq!(pushback, maybe_sent.then_some(-1), "{error:?}"),
    }
    // Whoever reads the text knows whether anything was sent.
    let text = error.message();
    assert_eq!(text.contains("may have been sent"), maybe_sent, "{text}");
    assert_eq!(text.contains("Nothing was sent"), !maybe_sent, "{text}");
    let known = proto::ErrorReason::from_str_name(&format!("ERROR_REASON_{reason}"));
    Told {
        code: error.code(),
        reason: known
            .expect("a reason of the contract")
            .as_str_name()
            .strip_prefix("ERROR_REASON_")
            .unwrap(),
        maybe_sent,
        wait_ms: retry_info.map(|wait| u64::try_from(wait.as_millis()).unwrap()),
        quota_failure: details
            .iter()
            .any(|detail| matches!(detail, ErrorDetail::QuotaFailure(_))),
    }
}

/// A gateway that has less time than any wait that helps: what could be tried again is told at once.
async fn start_hurried() -> Started {
    start_with(hurried).await
}

fn hurried(setup: Setup) -> Setup {
    setup.server(|server| server.default_deadline = Duration::from_secs(1))
}

/// The answers that are told without a second try, with what is told.
#[rustfmt::skip]
fn table() -> Vec<(u16, &'static str, &'static str, Told)> {
    let limit = "message send reach limit";
    vec![
        (400, "message_send_error", "param from can't be empty", INVALID),
        (400, "message_send_error", "params to's size can't exceed limit 600", INVALID),
        (400, "invalid_request_body", "Request body is invalid. Please check body is correct.", INVALID),
        (400, "json_parse", "Unexpected character at 17", INVALID),
        (400, "illegal_argument", "from can't be empty", INVALID),
        (400, "Bad Request", "", INVALID),
        (400, "message_send_error", "message is too large", TOO_LARGE),
        (400, "illegal_argument", "message is too large", TOO_LARGE),
        (413, "Request Entity Too Large", "Request Entity Too Large", TOO_LARGE),
        (400, "service open exception", "the app does not open the service", NOT_OPEN),
        (400, "Bad Request", "the message receipt is not open", NOT_OPEN),
        (403, "group_error", "group read receipts are not open", NOT_OPEN),
        (403, "forbidden_op", "message broadcast service is unopened", NOT_OPEN),
        (401, "unauthorized", "Subject does not have permission [apps:post]", REFUSED),
        (401, "unauthorized", "No admin user access authorized", REFUSED),
        (401, "unauthorized", "No organization access authorized", REFUSED),
        (401, "unauthorized", "registration is not open, please contact us", REFUSED),
        (401, "message_rewrite_error", "You are not authorized to edit this message.", REFUSED),
        (402, "payment_required", "", REFUSED),
        (403, "message_send_error", limit, quota(60_000)),
        (403, "forbidden", "Forbidden for url: [messages/users]", quota(60_000)),
        (403, "forbidden_op", "not yours", REFUSED),
        (404, "organization_application_not_found", "Could not find application for a/b from URI: x", NO_APP),
        (404, "service_resource_not_found", "Service resource not found", REFUSED),
        (404, "", "", REFUSED),
        (405, "Method Not Allowed", "", REFUSED),
        (406, "", "", REFUSED),
        (409, "concurrent_operation_error", "", REFUSED),
        (415, "web_application", "Unsupported Media Type", REFUSED),
        (418, "", "", REFUSED),
        (429, "reach_limit", "This request has reached api limit", quota(1_000)),
        (429, "", "", quota(1_000)),
        (429, "resource_limited", "You have exceeded the limit of the free edition.", PLAN),
        (408, "request_timeout", "", UNKNOWN),
        (500, "internal_server_error", "", UNKNOWN),
        (500, "web_application", "", UNKNOWN),
        (501, "not_implemented", "", UNKNOWN),
        (502, "", "", UNKNOWN),
        (503, "service_unavailable", "", UNKNOWN),
        (504, "", "", UNKNOWN),
        (599, "", "", UNKNOWN),
        (600, "", "", UNKNOWN),
        (201, "", "", UNKNOWN),
        (299, "", "", UNKNOWN),
    ]
}

#[tokio::test]
async fn every_answer_of_easemob_has_its_row() {
    let mut started = start_hurried().await;
    for (status, error, description, expected) in table() {
        let case = format!("{status} {error} {description}");
        let answer = Fault::json(status, error, description);
        let refused = started.send_answered(text_to(&["bob"]), answer).await;
        let refused = refused.unwrap_err();
        assert_eq!(told(&refused), expected, "{case}");
        let mut metadata = error_info(&refused).metadata;
        metadata.remove("send_state");
        assert_eq!(metadata.remove("http_status"), Some(status.to_string()));
        assert_eq!(metadata.remove("easemob_error").unwrap_or_default(), error);
        assert_eq!(metadata.len(), 0, "{metadata:?}");
        let text = refused.message();
        assert!(
            text.starts_with(&format!("Easemob answered {status}")),
            "{text}"
        );
        assert_eq!(started.sent(), 1, "{case}");
        assert!(started.easemob.call_count(Endpoint::Token) <= 1, "{case}");
        started.easemob.clear_calls();
        if expected.reason == "QUOTA_EXCEEDED" {
            // Nothing more would go to users for a while.
            started = start_hurried().await;
        }
    }
}

#[tokio::test]
async fn an_answer_of_a_proxy_is_told_by_its_status_alone() {
    for (status, expected) in [
        (400, INVALID),
        (401, REFUSED),
        (403, REFUSED),
        (404, REFUSED),
        (408, UNKNOWN),
        (413, TOO_LARGE),
        (429, quota(1_000)),
        (500, UNKNOWN),
        (502, UNKNOWN),
        (503, UNKNOWN),
        (504, UNKNOWN),
    ] {
        for answer in [
            Fault::html(status),
            Fault::status(status),
            Fault::raw(status, [], "{\"error\":"),
            Fault::raw(
                status,
                [],
                r#"{"error":7,"error_description":["x"],"error_code":{}}"#,
            ),
            Fault::raw(status, [], [0xff; 100].to_vec()),
        ] {
            let started = start_hurried().await;
            let refused = started.send_answered(text_to(&["bob"]), answer).await;
            let refused = refused.unwrap_err();
            assert_eq!(told(&refused), expected, "{status}");
            let metadata = error_info(&refused).metadata;
            assert_eq!(metadata["http_status"], status.to_string());
            assert!(!metadata.contains_key("easemob_error"));
            assert!(!refused.message().contains("nginx"));
            assert_eq!(started.sent(), 1);
        }
    }
}

#[tokio::test]
async fn an_answer_without_a_body_or_with_another_place_to_go_leaves_the_outcome_unknown() {
    let started = start().await;
    let elsewhere = start().await;
    let place = format!(
        "{}/sandbox/demo/messages/users",
        elsewhere.easemob.base_url()
    );
    let mut answers = vec![(204, Fault::status(204)), (205, Fault::status(205))];
    for status in [300, 301, 302, 303, 304, 307, 308] {
        answers.push((status, Fault::redirect(status, &place)));
    }
    let count = answers.len() as u64;
    for (status, answer) in answers {
        let error = started.send_answered(text_to(&["bob"]), answer).await;
        let error = error.unwrap_err();
        assert_eq!(told(&error), UNKNOWN, "{status}");
        let metadata = error_info(&error).metadata;
        assert_eq!(metadata["http_status"], status.to_string());
    }
    assert_eq!(started.sent(), count);
    assert_eq!(elsewhere.sent(), 0, "nobody goes where a redirect points");
}

#[tokio::test]
async fn numbers_of_easemob_are_told_and_waits_are_believed_within_reason() {
    let started = start().await;
    let too_large = Fault::error_code(400, "x", "y", 14_007);
    let error = started.send_answered(text_to(&["bob"]), too_large).await;
    let error = error.unwrap_err();
    assert_eq!(told(&error), TOO_LARGE);
    assert_eq!(error_info(&error).metadata["easemob_error_code"], "14007");

    let empty = Fault::error_code(400, "message_send_error", "from is empty", 14_001);
    let error = started.send_answered(text_to(&["bob"]), empty).await;
    let error = error.unwrap_err();
    assert_eq!(told(&error), INVALID);
    assert_eq!(error_info(&error).metadata["easemob_error_code"], "14001");

    for (header, wait_ms) in [
        ("7", 7_000),
        ("0", 1_000),
        ("99999999", 3_600_000),
        ("soon", 1_000),
        ("-1", 1_000),
    ] {
        let busy = Fault::raw(429, [("retry-after", header)], "");
        let started = start_hurried().await;
        let error = started.send_answered(text_to(&["bob"]), busy).await;
        assert_eq!(told(&error.unwrap_err()), quota(wait_ms), "{header}");
    }
}

#[tokio::test]
async fn each_kind_of_target_has_its_own_message_window() {
    let started = start_hurried().await;
    let ids = || vec!["7".to_owned()];
    let groups = |member_ids| {
        Target::Groups(proto::Groups {
            group_ids: ids(),
            member_ids,
            need_read_receipt: false,
        })
    };
    let rooms = |member_ids| {
        Target::Chatrooms(proto::Chatrooms {
            chatroom_ids: ids(),
            member_ids,
            priority: 0,
        })
    };
    let targets = [
        Target::Users(proto::Users { user_ids: ids() }),
        groups(Vec::new()),
        groups(ids()),
        rooms(Vec::new()),
    ];
    for (i, target) in targets.into_iter().enumerate() {
        let limit = Fault::json(403, "message_send_error", "message send reach limit");
        started.easemob.script(SENDS[i], [limit]);
        let error = started.send(request(message(target, text("hi")))).await;
        let expected = quota(if i == 0 { 60_000 } else { 1_000 });
        assert_eq!(told(&error.unwrap_err()), expected);
        assert_eq!(started.easemob.call_count(SENDS[i]), 1);
    }
    // Members of groups and of rooms have one quota, which is at rest already: nothing is asked.
    let error = started
        .send(request(message(rooms(ids()), text("hi"))))
        .await;
    let refusal = told(&error.unwrap_err());
    assert_eq!(refusal.reason, "QUOTA_EXCEEDED");
    assert_eq!(started.easemob.call_count(SENDS[4]), 0);
}

#[tokio::test]
async fn a_503_is_busy_only_where_the_settings_say_so() {
    let setup = |setup| hurried(setup).app(|app| app.treat_503_as_not_sent = true);
    let started = start_with(setup).await;
    for answer in [Fault::status(503), Fault::html(503)] {
        started
            .easemob
            .script(USERS, [answer.clone(), answer.clone()]);
        let error = started.send_answered(text_to(&["bob"]), answer).await;
        assert_eq!(told(&error.unwrap_err()), BUSY);
        assert_eq!(started.sent(), 3);
        started.easemob.clear_calls();
    }
    let waits = Fault::raw(503, [("retry-after", "3")], "");
    let error = started.send_answered(text_to(&["bob"]), waits).await;
    let expected = Told::of(Code::Unavailable, "EASEMOB_BUSY").after(3_000);
    assert_eq!(told(&error.unwrap_err()), expected);
    for status in [500, 502, 504] {
        let error = started
            .send_answered(text_to(&["bob"]), Fault::status(status))
            .await;
        assert_eq!(told(&error.unwrap_err()), UNKNOWN);
    }
}

/// The 401s that ask for a new token, by type and text.
const TOKEN_REFUSALS: [(&str, &str); 6] = [
    (
        "unauthorized",
        "Unable to authenticate due to expired access token",
    ),
    ("unauthorized", "Unable to authenticate (OAuth)"),
    (
        "auth_bad_access_token",
        "Unable to authenticate due to corrupt access token",
    ),
    ("auth_bad_access_token", "Unable to authenticate"),
    (
        "expired_token",
        "Unable to authenticate due to expired access token",
    ),
    ("group_authorization", "token is blank!"),
];

#[tokio::test]
async fn a_refused_token_is_renewed_and_the_send_tried_once_more() {
    for (error, description) in TOKEN_REFUSALS {
        let started = start().await;
        let refused = Fault::json(401, error, description);
        let sent = started.send_answered(text_to(&["bob"]), refused).await;
        assert_eq!(sent.unwrap().accepted.len(), 1, "{error}");
        let calls = started.easemob.calls(USERS);
        assert_eq!(calls.len(), 2, "{error}");
        assert_eq!(calls[0].body, calls[1].body);
        assert_ne!(
            calls[0].headers["authorization"],
            calls[1].headers["authorization"]
        );
        assert_eq!(started.easemob.call_count(Endpoint::Token), 2);
    }
}

#[tokio::test]
async fn a_token_refused_again_is_told_as_rejected_credentials() {
    for (error, description) in TOKEN_REFUSALS {
        let started = start().await;
        let refused = Fault::json(401, error, description);
        started
            .easemob
            .script(USERS, [refused.clone(), refused.clone()]);
        let failed = started.send(text_to(&["bob"])).await.unwrap_err();
        assert_eq!(told(&failed), CREDENTIALS);
        let metadata = error_info(&failed).metadata;
        assert_eq!(metadata["http_status"], "401");
        assert_eq!(metadata["easemob_error"], error);
        assert_eq!(started.sent(), 2);
        assert_eq!(started.easemob.call_count(Endpoint::Token), 2);

        // The next one does not ask for a third token at once; its own refusal is told all the same.
        let failed = started.send_answered(text_to(&["bob"]), refused).await;
        let failed = failed.unwrap_err();
        assert_eq!(told(&failed), CREDENTIALS);
        assert_eq!(error_info(&failed).metadata["http_status"], "401");
        assert_eq!(started.sent(), 3);
        assert_eq!(started.easemob.call_count(Endpoint::Token), 2);
    }
}

#[tokio::test]
async fn what_the_second_try_is_answered_is_what_is_told() {
    for (second, expected) in [
        (Fault::status(500), UNKNOWN),
        (Fault::close_after_read(), UNKNOWN),
        (Fault::json(429, "reach_limit", "x"), quota(1_000)),
        (Fault::json(400, "message_send_error", "x"), INVALID),
    ] {
        let started = start_hurried().await;
        started
            .easemob
            .script(USERS, [Fault::unauthorized(), second]);
        let error = started.send(text_to(&["bob"])).await.unwrap_err();
        assert_eq!(told(&error), expected);
        assert_eq!(started.sent(), 2);
    }
}

#[tokio::test]
async fn without_a_new_token_in_time_the_refused_send_is_not_tried_again() {
    let started = start_hurried().await;
    started.send(text_to(&["bob"])).await.unwrap();
    started
        .easemob
        .script(Endpoint::Token, [Fault::status(500)]);
    let error = started
        .send_answered(text_to(&["bob"]), Fault::unauthorized())
        .await;
    let mut told = told(&error.unwrap_err());
    // What is left of the pause before another token is asked for.
    assert!((900..=1_000).contains(&told.wait_ms.unwrap()), "{told:?}");
    told.wait_ms = Some(1_000);
    assert_eq!(told, UNREACHABLE);
    assert_eq!(started.sent(), 2);
}

#[tokio::test]
async fn revoked_and_expired_tokens_are_renewed_for_real() {
    let started = start().await;
    started.send(text_to(&["bob"])).await.unwrap();
    started.easemob.revoke_tokens();
    started.send(text_to(&["bob"])).await.unwrap();
    assert_eq!(started.easemob.messages().len(), 2);
    assert_eq!(started.sent(), 3);
    assert_eq!(started.easemob.call_count(Endpoint::Token), 2);

    let started = start().await;
    started.send(text_to(&["bob"])).await.unwrap();
    started
        .easemob
        .advance(Duration::from_secs(61 * 24 * 60 * 60));
    started.send(text_to(&["bob"])).await.unwrap();
    assert_eq!(started.easemob.call_count(Endpoint::Token), 2);
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let no_wait = |told: Told| Told {
        wait_ms: None,
        ..told
    };
    for (answer, expected) in [
        (
            Fault::json(400, "invalid_grant", "client_secret does not match"),
            CREDENTIALS,
        ),
        (
            Fault::json(400, "illegal_argument", "client_id must be provided."),
            CREDENTIALS,
        ),
        (
            Fault::json(401, "unauthorized", "Unable to authenticate (OAuth)"),
            CREDENTIALS,
        ),
        (Fault::status(403), CREDENTIALS),
        (
            Fault::json(
                404,
                "organization_application_not_found",
                "Could not find application",
            ),
            NO_APP,
        ),
        (Fault::status(404), no_wait(REFUSED)),
        (Fault::redirect(302, "http://127.0.0.1:1/"), REFUSED),
        (Fault::status(429), quota(10_000)),
        (Fault::status(500), UNREACHABLE),
        (Fault::html(502), UNREACHABLE),
        (Fault::status(503), UNREACHABLE),
        (Fault::status(408), UNREACHABLE),
        (Fault::status(204), UNREACHABLE),
        (Fault::raw(200, [], "<html>"), UNREACHABLE),
        (Fault::raw(200, [], "{}"), UNREACHABLE),
        (Fault::reset_before_read(), UNREACHABLE),
        (Fault::reset_after_read(), UNREACHABLE),
        (Fault::close_after_read(), UNREACHABLE),
        (Fault::truncated(), UNREACHABLE),
    ] {
        let started = start_hurried().await;
        started.easemob.script(Endpoint::Token, [answer.clone()]);
        let error = started.send(text_to(&["bob"])).await.unwrap_err();
        assert_eq!(told(&error), expected, "{answer:?}");
        let text = error.message();
        assert!(text.starts_with("no token: "), "{text}");
        assert_eq!(started.sent(), 0, "{answer:?}");
    }
}

#[tokio::test]
async fn credentials_and_app_are_wrong_for_real() {
    type Change = fn(&mut easemob_gateway::app::Config);
    let wrong: [(Change, Told, &str); 5] = [
        (
            |app| app.client_secret = Some("other".into()),
            CREDENTIALS,
            "invalid_grant",
        ),
        (
            |app| app.client_id = "other".into(),
            CREDENTIALS,
            "invalid_grant",
        ),
        (
            |app| app.org_name = Some("other".into()),
            NO_APP,
            "organization_application_not_found",
        ),
        (
            |app| app.app_name = Some("other".into()),
            NO_APP,
            "organization_application_not_found",
        ),
        (
            |app| {
                app.org_name = None;
                app.app_name = None;
                app.app_id = Some("other".into());
            },
            NO_APP,
            "organization_application_not_found",
        ),
    ];
    for (change, expected, easemob_error) in wrong {
        let started = start_with(|setup| setup.app(change)).await;
        // The second is told the same without asking Easemob again.
        for _ in 0..2 {
            let error = started.send(text_to(&["bob"])).await.unwrap_err();
            assert_eq!(told(&error), expected);
            assert_eq!(error_info(&error).metadata["easemob_error"], easemob_error);
            assert!(!error.message().contains("sandbox-client"));
        }
        assert_eq!(started.sent(), 0);
        assert_eq!(started.easemob.call_count(Endpoint::Token), 1);
    }
}

#[tokio::test]
async fn where_nobody_listens_nothing_is_sent() {
    // Bound without listening: whoever connects is refused, and nobody else gets the port.
    let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any_port = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    silent.bind(&any_port.into()).unwrap();
    let addr = silent.local_addr().unwrap().as_socket().unwrap();
    let nobody = format!("http://{addr}");
    let gateway = hurried(Setup::at(nobody)).start().await;
    let mut client = gateway.client().await;
    let error = client.send_message(text_to(&["bob"])).await.unwrap_err();
    assert_eq!(told(&error), UNREACHABLE);
    assert!(!error_info(&error).metadata.contains_key("http_status"));
}

#[tokio::test]
async fn a_broken_connection_after_the_request_leaves_the_outcome_unknown() {
    for fault in [
        Fault::reset_after_read(),
        Fault::close_after_read(),
        Fault::truncated(),
    ] {
        let started = start().await;
        let error = started
            .send_answered(text_to(&["bob"]), fault.clone())
            .await;
        assert_eq!(told(&error.unwrap_err()), UNKNOWN, "{fault:?}");
        assert_eq!(started.sent(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn no_text_of_easemobs_makes_an_error_too_long_or_leaks_a_request() {
    let long = "名\r\n\0".repeat(5_000);
    for (status, error) in [
        (400, "json_parse"),
        (403, &*long),
        (429, &*long),
        (500, &*long),
    ] {
        let answer = Fault::json(status, error, &long);
        let started = start_hurried().await;
        let error = started.send_answered(text_to(&["bob"]), answer).await;
        let error = error.unwrap_err();
        assert_eq!(told(&error).maybe_sent, status == 500);
        assert!(!error.message().contains(char::is_control));
        let response: http::Response<()> = error.into_http();
        let bytes: usize = response
            .headers()
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        assert!(bytes < 4_096, "{bytes}");
    }
    // A parser quotes what it could not read.
    let started = start().await;
    let quoting = Fault::json(400, "json_parse", "at 17: CANARY");
    let error = started.send_answered(text_to(&["bob"]), quoting).await;
    assert!(!format!("{:?}", error.unwrap_err()).contains("CANARY"));
}
