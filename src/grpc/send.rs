//! SendMessage.

use std::sync::Arc;

use prost_types::Timestamp;
use tonic::Request;

use super::{Messaging, reason, status::Problem};
use crate::{
    app::App,
    caller::Caller,
    delivery::{Deadline, Failed, Failure, Order, Sent},
    id::RequestId,
    invalid::{Field, Violations},
    message::Message,
    proto::{self, ErrorReason},
    store::Key,
    trace,
};

/// What a request asks for. Apart from the sending, so that what is sent does not keep all that came for it.
pub(super) fn order(
    messaging: &Messaging,
    request: Request<proto::SendMessageRequest>,
) -> Result<Order, Problem> {
    let (deadline, caller) = (noted(&request)?, noted(&request)?);
    checked(messaging, caller, request.into_inner(), deadline)
}

/// The same, however the request came.
pub(super) fn checked(
    messaging: &Messaging,
    caller: Caller,
    request: proto::SendMessageRequest,
    deadline: Deadline,
) -> Result<Order, Problem> {
    let app = app(messaging, &caller, &request.app)?;
    let resend_maybe_sent = request.resend_maybe_sent;
    let (message, key) = check(messaging, &caller, request, &app)?;
    Ok(Order {
        message: Arc::new(message),
        key,
        resend_maybe_sent,
        app,
        caller,
        deadline,
    })
}

/// Sends one message.
pub(super) async fn send(
    messaging: &Messaging,
    order: Order,
) -> Result<proto::SendMessageResponse, Problem> {
    let name = Arc::clone(&order.app.name);
    let sent = messaging.delivery.send(order).await;
    for failed in &sent.failures {
        log(&name, failed);
    }
    answer(sent)
}

/// Logged once, here, where it becomes a status. Without names, texts and secrets.
pub(super) fn log(app: &str, failed: &Failed) {
    let Failed {
        recipients,
        failure,
    } = failed;
    let problem = Problem::from(failure);
    let (reason, recipients) = (reason::name(problem.reason()), recipients.len());
    match problem.reason() {
        ErrorReason::OutcomeUnknown | ErrorReason::Internal => {
            tracing::warn!(app, reason, recipients, cause = %failure, "a send is in doubt or broken");
        }
        _ => tracing::debug!(app, reason, recipients, cause = %failure, "a send was refused"),
    }
}

/// What a layer noted about a request.
pub(super) fn noted<T: Clone + Send + Sync + 'static, R>(
    request: &Request<R>,
) -> Result<T, Problem> {
    request
        .extensions()
        .get::<T>()
        .cloned()
        .ok_or_else(left_out)
}

/// A request came without what a layer further out is there to note.
pub(super) fn left_out() -> Problem {
    Problem::new(ErrorReason::Internal, "a layer has left out its note")
}

/// The app that a request names, if its caller may use it. Who has proved who it is hears the same whether
/// an app is forbidden or there is none of its name; and whether it may use one is looked up first, so that
/// the time tells no more.
pub(super) fn app(messaging: &Messaging, caller: &Caller, name: &str) -> Result<Arc<App>, Problem> {
    let apps = &messaging.apps;
    let meant = match name {
        "" => apps.default_name().unwrap_or_default(),
        name => name,
    };
    if !caller.is_anonymous() {
        let allowed = caller.may_use(meant).then(|| apps.get(meant)).flatten();
        return allowed
            .map(noted_in_trace)
            .ok_or_else(|| forbidden(messaging, caller, name));
    }
    match apps.get(meant) {
        Some(app) => Ok(noted_in_trace(app)),
        None if name.is_empty() => {
            let violations = Violations::default();
            violations.root().child("app").refuse::<()>(
                "is required: the gateway has several apps, and none of them is the default",
            );
            Err(Problem::invalid(violations.into_vec()))
        }
        None => Err(Problem::new(
            ErrorReason::AppNotConfigured,
            "the gateway has no app of this name",
        )),
    }
}

fn noted_in_trace(app: &Arc<App>) -> Arc<App> {
    trace::record(|span| span.set("easemob.app", &*app.name));
    Arc::clone(app)
}

fn forbidden(messaging: &Messaging, caller: &Caller, name: &str) -> Problem {
    messaging.auth.refused_app(caller, name);
    let what = match name {
        "" => "the request names no app, and there is no default that the caller may use",
        _ => "the caller may not use this app, or there is none of this name",
    };
    Problem::new(ErrorReason::AppForbidden, what)
}

/// The same checks for every RPC that sends: all that is wrong, at once.
fn check(
    messaging: &Messaging,
    caller: &Caller,
    request: proto::SendMessageRequest,
    app: &App,
) -> Result<(Message, Option<Key>), Problem> {
    let violations = Violations::default();
    let root = violations.root();
    let request_id = RequestId::check(request.request_id, root.child("request_id"));
    // First, so that it is at hand when the message is checked.
    let key = request_id.map(|id| id.map(|id| messaging.delivery.expect(caller, app, &id)));
    let message = check_message(request.message, app, root.child("message"));
    let (Some(message), Some(key)) = (message, key) else {
        return Err(Problem::invalid(violations.into_vec()));
    };
    check_size(&message, app)?;
    Ok((message, key))
}

fn check_message(message: Option<proto::Message>, app: &App, field: Field<'_>) -> Option<Message> {
    Message::check(field.required(message)?, app, field)
}

pub(super) fn check_size(message: &Message, app: &App) -> Result<(), Problem> {
    let too_large = |what: &str, size: usize, limit: usize| {
        Problem::new(
            ErrorReason::MessageTooLarge,
            format!("{what} has {size} bytes of JSON, and the app's limit is {limit}"),
        )
        .with_metadata("size_bytes", size.to_string())
        .with_metadata("limit_bytes", limit.to_string())
    };
    let limits = &app.limits;
    let size = message.content_bytes();
    if limits.content_bytes != 0 && size > limits.content_bytes {
        let what = "the message's content with its extension";
        return Err(too_large(what, size, limits.content_bytes));
    }
    // A request has at least one recipient: where each fits alone, there are parts that fit.
    let longest = message
        .target
        .recipients
        .iter()
        .map(Message::recipient_bytes)
        .max();
    let size = message.envelope_bytes() + longest.unwrap_or_default() - 1;
    if limits.request_bytes != 0 && size > limits.request_bytes {
        let what = "the request to Easemob, with a single recipient,";
        return Err(too_large(what, size, limits.request_bytes));
    }
    Ok(())
}

/// OK where anything was accepted, or where recipients differ in their fate; an error where all share
/// the same reason, and so the same state.
pub(super) fn answer(sent: Sent) -> Result<proto::SendMessageResponse, Problem> {
    if sent.accepted.is_empty()
        && let Some(problem) = shared(&sent.failures)
    {
        return Err(problem);
    }
    let accepted = sent.accepted.into_iter().map(|accepted| proto::Accepted {
        recipient: accepted.recipient.into_string(),
        message_id: accepted.message_id,
        accept_time: accepted.timestamp_ms.map(timestamp),
    });
    let failures = sent.failures.into_iter().map(|failed| {
        let recipients = failed.recipients.into_iter();
        failure(
            recipients.map(|id| id.into_string()).collect(),
            &failed.failure,
        )
    });
    Ok(proto::SendMessageResponse {
        accepted: accepted.collect(),
        failures: failures.collect(),
        replayed: sent.replayed,
    })
}

/// The error that all of these are. With several causes of one reason it tells the first, and of their
/// waits the longest.
fn shared(failures: &[Failed]) -> Option<Problem> {
    let mut problems = failures.iter().map(|failed| Problem::from(&failed.failure));
    let mut first = problems.next()?;
    for problem in problems {
        if problem.reason() != first.reason() {
            return None;
        }
        if let Some(wait) = problem.retry_after().max(first.retry_after()) {
            first = first.with_retry_after(wait);
        }
    }
    Some(first)
}

fn failure(recipients: Vec<String>, failure: &Failure) -> proto::SendFailure {
    let problem = Problem::from(failure);
    send_failure(recipients, &problem)
}

pub(super) fn send_failure(recipients: Vec<String>, problem: &Problem) -> proto::SendFailure {
    proto::SendFailure {
        recipients,
        state: problem.state().into(),
        reason: problem.reason().into(),
        retry_after: problem
            .retry_after()
            .and_then(|wait| prost_types::Duration::try_from(wait).ok()),
        status: Some(problem.to_pb()),
    }
}

fn timestamp(ms: i64) -> Timestamp {
    Timestamp {
        seconds: ms.div_euclid(1_000),
        nanos: i32::try_from(ms.rem_euclid(1_000) * 1_000_000)
            .expect("less than a second in nanoseconds"),
    }
}
