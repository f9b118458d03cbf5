//! What the gateway makes of everything that can go wrong between it and Easemob: what the caller is
//! told, how often the message reached Easemob, and that the next send works.

mod answer;
mod connect;
mod deadline;
mod drain;
mod keep_alive;
mod moved;
mod on_demand;
mod outage;
mod overload;
mod parts;
mod retry;
pub mod secrets;
mod tls;
mod token;

use std::time::Duration;

use easemob_gateway::{app::Timeouts, proto};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{
    easemob::Easemob,
    gateway::Setup,
    request::{message, request, text, users, verdict},
};

/// A gateway with a single place for calls and nobody waiting: one that is not given back makes the
/// next send fail.
fn one_place(url: impl Into<String>) -> Setup {
    Setup::at(url)
        .server(|server| server.shards = std::num::NonZeroUsize::new(1))
        .delivery(|delivery| {
            delivery.calls_in_flight = 1;
            delivery.queue = 0;
        })
        .app(|app| {
            app.timeouts = Timeouts {
                connect: Duration::from_millis(600),
                attempt: Duration::from_millis(1_500),
                call: Duration::from_millis(3_000),
                token: Duration::from_millis(1_500),
            }
        })
}

/// A message to `bob`, told from all others by its text.
fn says(words: &str) -> proto::SendMessageRequest {
    request(message(users(&["bob"]), text(words)))
}

/// What a caller reads from an error.
#[derive(Debug, PartialEq)]
struct Told {
    code: Code,
    reason: String,
    state: String,
    /// From `RetryInfo`.
    wait: Option<Duration>,
    /// `grpc-retry-pushback-ms`.
    pushback: Option<i64>,
}

fn told(status: &Status) -> Told {
    let (reason, state) = verdict(status);
    let details = status.get_error_details();
    let pushback = status.metadata().get("grpc-retry-pushback-ms");
    Told {
        code: status.code(),
        reason,
        state,
        wait: details.retry_info().and_then(|info| info.retry_delay),
        pushback: pushback.map(|ms| ms.to_str().unwrap().parse().unwrap()),
    }
}

/// It may have been sent, and nobody shall repeat it unasked.
#[track_caller]
fn assert_in_doubt(status: &Status) {
    let expected = Told {
        code: Code::Unknown,
        reason: "OUTCOME_UNKNOWN".into(),
        state: "MAYBE_SENT".into(),
        wait: None,
        pushback: Some(-1),
    };
    assert_eq!(told(status), expected, "{status:?}");
}

/// Nothing was sent, and waiting does not help.
#[track_caller]
fn assert_not_sent(status: &Status, code: Code, reason: &str) {
    let expected = Told {
        code,
        reason: reason.into(),
        state: "NOT_SENT".into(),
        wait: None,
        pushback: None,
    };
    assert_eq!(told(status), expected, "{status:?}");
}

/// Nothing was sent, and it says how long to wait.
#[track_caller]
fn assert_worth_waiting(status: &Status, code: Code, reason: &str) -> Duration {
    let told = told(status);
    let wait = told.wait.expect("RetryInfo");
    let expected = Told {
        code,
        reason: reason.into(),
        state: "NOT_SENT".into(),
        wait: Some(wait),
        pushback: i64::try_from(wait.as_millis())
            .ok()
            .filter(|_| code == Code::Unavailable),
    };
    assert_eq!(told, expected, "{status:?}");
    wait
}

/// These texts arrived, and each of them once.
#[track_caller]
fn assert_arrived(easemob: &Easemob, texts: &[&str]) {
    assert_eq!(easemob.seen().texts(), texts);
}
