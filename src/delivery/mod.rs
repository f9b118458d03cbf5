//! FLOOR 3: what the gateway adds. One message, however many calls it takes: sent, and told of truly
//! and on time.

mod deadline;
mod media;
mod part;
mod reason;
mod share;
mod tally;
mod turn;

use std::{collections::HashMap, sync::Arc};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::reason::reason_of;
pub use self::{
    deadline::Deadline,
    media::{Download, MediaOrder, MediaSent, StoredFile, Transfers, UploadOrder},
    share::Shares,
    turn::Config,
};
use self::{
    part::{Part, Route},
    tally::{Asked, Settled, Tally},
    turn::Turns,
};
use crate::{
    app::App,
    caller::Caller,
    easemob::{self, Client, FirstByte, Tokens},
    id::RecipientId,
    message::{self, Message},
    metrics::Metrics,
    proto::ErrorReason,
    trace::{self, Span, SpanKind},
};

/// Sends messages through the apps of the gateway. One for each shard.
#[derive(Debug)]
pub struct Delivery {
    routes: HashMap<Arc<str>, Arc<Route>>,
    // What is dispatched outlives its caller; draining waits for it.
    tasks: TaskTracker,
    // From then on nothing new is begun: what still waits would not end in time.
    closing: CancellationToken,
    /// Requests under way, by app.
    requests: Shares,
    transfers: Transfers,
}

/// What a caller wants to be sent.
#[derive(Debug)]
pub struct Order {
    /// The app that sends it.
    pub app: Arc<App>,
    /// Who asks.
    pub caller: Caller,
    /// The message, checked.
    pub message: Message,
    /// When the answer is due.
    pub deadline: Deadline,
}

/// What became of a message: every recipient is in one of the two lists.
#[derive(Debug, Default)]
pub struct Sent {
    /// Recipients that Easemob accepted the message for.
    pub accepted: Vec<Accepted>,
    /// The others, by cause.
    pub failures: Vec<Failed>,
}

/// A recipient that Easemob accepted the message for.
#[derive(Debug)]
pub struct Accepted {
    /// As the caller spelled it.
    pub recipient: RecipientId,
    /// ID that Easemob gave the message.
    pub message_id: String,
    /// Easemob's clock when it answered, in milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
}

/// Recipients that a message was not accepted for, for the same cause.
#[derive(Debug)]
pub struct Failed {
    /// As the caller spelled them.
    pub recipients: Vec<RecipientId>,
    /// The cause.
    pub failure: Failure,
}

/// Why a message was not accepted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// Easemob refused it, could not be reached, or left it in doubt.
    #[error(transparent)]
    Easemob(#[from] easemob::Error),
    /// The caller's upload is no file.
    #[error(transparent)]
    Upload(#[from] crate::media::Error),
    /// The deadline passed, and nothing was sent.
    #[error("the deadline passed before anything was sent")]
    DeadlineExceeded,
    /// The gateway has no place for it.
    #[error("the gateway has too many sends to this app under way")]
    Overloaded,
    /// The gateway is shutting down.
    #[error("the gateway is shutting down")]
    ShuttingDown,
    /// A fault of the gateway itself, before anything was sent.
    #[error("a fault of the gateway")]
    Internal,
}

/// What became of a part.
type Outcome = Result<easemob::Accepted, Failure>;

impl Failure {
    /// Whether the message may have been sent all the same.
    pub fn may_have_been_sent(&self) -> bool {
        match self {
            Self::Easemob(error) => error.kind.may_have_taken_effect(),
            _ => false,
        }
    }

    fn in_doubt(what: &'static str) -> Self {
        Self::Easemob(easemob::Error::in_doubt(what, None))
    }
}

impl Delivery {
    /// A delivery over its own connections to Easemob, with tokens that all shards share.
    pub fn new(
        apps: impl IntoIterator<Item = (Arc<App>, Arc<Tokens>)>,
        config: &Config,
        tasks: TaskTracker,
        closing: CancellationToken,
        requests: Shares,
        transfers: Transfers,
        metrics: &Metrics,
    ) -> Result<Self, easemob::SetupError> {
        let routes = apps.into_iter().map(|(app, tokens)| {
            let route = Route {
                client: Client::new(&app, &metrics.calls)?,
                tokens,
                turns: Turns::new(config),
                downloaded: metrics.calls.bytes(&app.name, "download"),
                wait: metrics.calls.wait(&app.name),
                recipients: metrics.recipients(&app.name).with_kinds(
                    message::Kind::ALL.map(message::Kind::name),
                    ErrorReason::OutcomeUnknown.name(),
                ),
            };
            route.turns.observe(&metrics.gauges, &app.name);
            Ok((Arc::clone(&app.name), Arc::new(route)))
        });
        Ok(Self {
            routes: routes.collect::<Result<_, _>>()?,
            tasks,
            closing,
            requests,
            transfers,
        })
    }

    /// Sends one message, and answers before its deadline with what is then known.
    pub async fn send(&self, order: Order) -> Sent {
        // Held as long as the request holds a place of the process.
        match self.requests.take(&order.app.name) {
            Ok(_place) => self.send_admitted(order).await,
            Err(full) => merge(&order.message, Err(full)),
        }
    }

    async fn send_admitted(&self, order: Order) -> Sent {
        let Order {
            app,
            caller: _,
            message,
            deadline,
        } = order;
        let route = self.route(&app);
        let message = Arc::new(message);
        let part = Part {
            route: Arc::clone(route),
            message: Arc::clone(&message),
            first_byte: FirstByte::default(),
            closing: self.closing.clone(),
        };
        let first_byte = part.first_byte.clone();
        let span = Span::of_current(SpanKind::Internal, "send part");
        span.record(|span| part.describe(span));
        let tally = Tally::new(route, &message, &first_byte);
        let traced = async {
            let outcome = part.send().await;
            record(&outcome);
            outcome
        };
        let work = span.scope(Settled::of(traced, tally.clone()));
        let asked = Asked(tally);
        let outcome = self.run(work, first_byte, deadline).await;
        let sent = merge(&message, outcome);
        asked.answer(&sent);
        sent
    }

    /// Bounds of uploads and downloads.
    pub fn transfers(&self) -> &Transfers {
        &self.transfers
    }

    fn route(&self, app: &App) -> &Arc<Route> {
        self.routes
            .get(&app.name)
            .expect("there is a route for every app of the gateway")
    }

    /// Runs a part in a task of its own: a caller that goes away ends it while nothing is dispatched,
    /// and from then on it runs to its own time limit.
    async fn run(
        &self,
        part: impl Future<Output = Settled> + Send + 'static,
        first_byte: FirstByte,
        deadline: Deadline,
    ) -> Outcome {
        if deadline.has_passed() {
            return Err(Failure::DeadlineExceeded);
        }
        let task = self.tasks.spawn(part);
        let _caller = Waiting {
            first_byte: first_byte.clone(),
            task: task.abort_handle(),
        };
        match tokio::time::timeout_at(deadline.answer_by(), task).await {
            Ok(Ok(settled)) => settled.take(),
            Ok(Err(_panicked)) if first_byte.crossed() => Err(Failure::in_doubt(
                "a fault of the gateway after the request went out",
            )),
            Ok(Err(_panicked)) => Err(Failure::Internal),
            Err(_elapsed) if first_byte.forbid() => Err(Failure::DeadlineExceeded),
            Err(_elapsed) => Err(Failure::in_doubt(
                "the deadline passed while Easemob had not answered",
            )),
        }
    }
}

/// Tells the current span what became of its part.
fn record(outcome: &Outcome) {
    trace::current().record(|span| match outcome {
        Ok(_) => span.set("easemob.send_state", "accepted"),
        Err(failure) => {
            let (state, what) = match failure.may_have_been_sent() {
                true => ("maybe_sent", "maybe sent"),
                false => ("not_sent", "not sent"),
            };
            span.set("easemob.send_state", state);
            span.fail(what);
        }
    });
}

/// A caller that waits for a part. When it goes away, nothing more is begun.
struct Waiting {
    first_byte: FirstByte,
    task: tokio::task::AbortHandle,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.first_byte.forbid() {
            self.task.abort();
        }
    }
}

fn merge(message: &Message, outcome: Outcome) -> Sent {
    let recipients = &message.target.recipients;
    let accepted = match outcome {
        Ok(accepted) => accepted,
        Err(failure) => {
            return Sent {
                accepted: Vec::new(),
                failures: vec![Failed {
                    recipients: recipients.clone(),
                    failure,
                }],
            };
        }
    };
    let mut sent = Sent::default();
    let mut without_id = Vec::new();
    for (recipient, message_id) in recipients.iter().zip(accepted.message_ids) {
        match message_id {
            Some(message_id) => sent.accepted.push(Accepted {
                recipient: recipient.clone(),
                message_id,
                timestamp_ms: accepted.timestamp_ms,
            }),
            None => without_id.push(recipient.clone()),
        }
    }
    if !without_id.is_empty() {
        sent.failures.push(Failed {
            recipients: without_id,
            failure: Failure::Easemob(easemob::Error::in_doubt(
                "Easemob answered 200 without a message ID for this recipient",
                Some(200),
            )),
        });
    }
    sent
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn run_and_panic(first_byte: FirstByte) -> Failure {
        let delivery = Delivery {
            routes: HashMap::new(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            requests: Shares::new(1, []),
            transfers: Transfers::new(crate::media::Config::default(), []),
        };
        let part = async { panic!("as scripted") };
        let deadline = Deadline::after(Duration::from_secs(1));
        let failure = delivery.run(part, first_byte, deadline).await.unwrap_err();
        assert!(delivery.tasks.is_empty());
        failure
    }

    #[tokio::test]
    async fn a_panic_before_the_first_byte_is_a_fault_of_ours_and_sent_nothing() {
        let failure = run_and_panic(FirstByte::default()).await;
        assert!(matches!(failure, Failure::Internal));
        assert!(!failure.may_have_been_sent());
    }

    #[tokio::test]
    async fn a_panic_after_the_first_byte_leaves_the_outcome_in_doubt() {
        let failure = run_and_panic(FirstByte::of_a_request_under_way()).await;
        assert!(failure.may_have_been_sent());
    }
}
