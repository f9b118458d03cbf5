//! FLOOR 3: what the gateway adds. One message, however many calls it takes: sent, and told of truly
//! and on time.

mod breaker;
mod deadline;
mod ledger;
mod media;
mod merge;
mod part;
mod pause;
mod reason;
mod retry;
mod share;
pub mod split;
mod tally;
mod turn;
mod under_way;
mod upstream;

use std::{collections::HashMap, pin::pin, sync::Arc};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::reason::reason_of;
pub use self::{
    deadline::Deadline,
    media::{Download, MediaOrder, MediaSent, StoredFile, Transfers, UploadOrder},
    share::Shares,
    turn::Config,
    upstream::Upstream,
};
use self::{
    ledger::{Records, Request, Run, Start},
    part::{Part, Route},
    tally::{Asked, Settled, Tally},
};
use crate::{
    app::App,
    caller::Caller,
    easemob::{self, Client, FirstByte},
    id::{RecipientId, RequestId},
    message::{self, Message, Places},
    metrics::Metrics,
    proto::ErrorReason,
    quota::Refusal,
    store::{self, Key, Store},
    trace::{Span, SpanKind},
};

/// Sends messages through the apps of the gateway. One for each shard.
#[derive(Debug)]
pub struct Delivery {
    routes: HashMap<Arc<str>, Arc<Route>>,
    parts_in_flight: usize,
    // What is dispatched outlives its caller; draining waits for it.
    tasks: TaskTracker,
    /// Requests under way, by app.
    requests: Shares,
    transfers: Transfers,
    records: Records,
}

/// What a caller wants to be sent.
#[derive(Debug)]
pub struct Order {
    /// The app that sends it.
    pub app: Arc<App>,
    /// Who asks.
    pub caller: Caller,
    /// The message, checked. Shared with its parts, which may outlive the order.
    pub message: Arc<Message>,
    /// Of what the caller names it by, so that a repeat can be told from a new one.
    pub key: Option<Key>,
    /// At least once in place of at most once: what may have been sent is sent again.
    pub resend_maybe_sent: bool,
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
    /// Some of it is remembered from an earlier request.
    pub replayed: bool,
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
    /// The request ID was used for another message.
    #[error("this request ID was used for another message")]
    RequestIdReused,
    /// The request ID cannot be remembered, and so nothing is sent under it.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The app's quota at Easemob has no room for it in time.
    #[error("the app's quota has no room for it before the deadline")]
    Quota {
        /// When to ask again; none where waiting does not help.
        retry_after: Option<std::time::Duration>,
        /// The time that it needs.
        needs: Option<std::time::Duration>,
    },
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
    /// A delivery over its own connections to Easemob. The rest of the way is what all shards share.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts that it uses, each once: no bag of shared state"
    )]
    pub fn new(
        upstreams: impl IntoIterator<Item = Arc<Upstream>>,
        config: &Config,
        tasks: TaskTracker,
        closing: &CancellationToken,
        requests: Shares,
        transfers: Transfers,
        records: Arc<Store>,
        metrics: &Metrics,
    ) -> Result<Self, easemob::SetupError> {
        let routes = upstreams.into_iter().map(|upstream| {
            let route = Route {
                client: Client::new(&upstream.app, &metrics.calls)?,
                places: config.places(&metrics.gauges, &upstream.app.name),
                downloaded: metrics.calls.bytes(&upstream.app.name, "download"),
                wait: metrics.calls.wait(&upstream.app.name),
                recipients: metrics.recipients(&upstream.app.name).with_kinds(
                    message::Kind::ALL.map(message::Kind::name),
                    ErrorReason::OutcomeUnknown.name(),
                ),
                request_ids: metrics.request_ids(&upstream.app.name),
                quota_refusals: metrics.quota_refusals(&upstream.app.name),
                closing: closing.clone(),
                upstream: Arc::clone(&upstream),
            };
            Ok((Arc::clone(&upstream.app.name), Arc::new(route)))
        });
        Ok(Self {
            routes: routes.collect::<Result<_, _>>()?,
            parts_in_flight: config.parts_in_flight,
            tasks,
            requests,
            transfers,
            records: Records::new(records),
        })
    }

    /// The key of a request that is about to be sent. What may be remembered of it is brought nearer while the rest of the
    /// request is looked at.
    pub fn expect(&self, caller: &Caller, app: &App, request_id: &RequestId) -> Key {
        let key = self.records.key(caller.name(), &app.name, request_id);
        self.records.expect(&key);
        key
    }

    /// Sends one message in as many parts as it takes, and answers before its deadline with what is then
    /// known of every recipient. Under a request ID, only what is left of it is sent.
    pub async fn send(&self, order: Order) -> Sent {
        // Held as long as the request holds a place of the process.
        let _place = match self.requests.take(&order.app.name) {
            Ok(place) => place,
            Err(full) => return Sent::none(&order.message, full),
        };
        self.send_admitted(order).await
    }

    async fn send_admitted(&self, order: Order) -> Sent {
        let route = self.route(&order.app);
        let mut run = None;
        if let Some(key) = order.key {
            let Order { message, app, .. } = &order;
            let request = Request::of_message(message, app, key, &self.records)
                .resend_maybe_sent(order.resend_maybe_sent);
            let answer_by = order.deadline.answer_by();
            let begun = request
                .begin(&self.records, answer_by, &route.closing, &route.request_ids)
                .await;
            match begun {
                // All of it is to be sent, and nobody has to be shown that its run lives.
                Ok(Start::Run(first, None)) if !first.renews() => run = Some(first),
                Ok(start) => {
                    let fits = |record| request.fits(message, app, record);
                    if !start.record().is_none_or(fits) {
                        return Sent::none(message, Failure::RequestIdReused);
                    }
                    // Boxed: every send would have the room for it.
                    return Box::pin(self.send_rest(route, order, start)).await;
                }
                Err(failure) => return Sent::none(message, failure),
            }
        }
        let places = || order.message.target.places();
        let run = run.as_ref().map(|run| (run, places()));
        self.send_parts(route, order, run).await
    }

    /// Sends what is left of a message that has begun.
    async fn send_rest(&self, route: &Arc<Route>, mut order: Order, start: Start) -> Sent {
        let message = Arc::make_mut(&mut order.message);
        let mut remaining = start.remaining(&mut message.target);
        let Some(run) = remaining.run.take() else {
            return remaining.known;
        };
        message.target.recipients = std::mem::take(&mut remaining.recipients);
        let places = std::mem::take(&mut remaining.places);
        let parts = pin!(self.send_parts(route, order, Some((&run, places))));
        let sent = run.keep(parts).await;
        remaining.with(sent)
    }

    /// `run`: the request's, and the places of the recipients.
    async fn send_parts(
        &self,
        route: &Arc<Route>,
        order: Order,
        run: Option<(&Run, Places)>,
    ) -> Sent {
        let Order {
            app,
            caller,
            message,
            resend_maybe_sent,
            deadline,
            ..
        } = order;
        let kind = turn::quota_kind(message.target.kind);
        let most = route.upstream.quotas.largest_call(kind);
        let recipients = split::split(&message, &app.limits, most);
        // As a whole, before its first call: what waits for a token is in the queue as well.
        let calls: Vec<u64> = recipients.iter().map(|part| part.len() as u64).collect();
        let admission = match route
            .admit(kind, &caller, &calls, deadline.answer_by())
            .await
        {
            Ok(admission) => Arc::new(admission),
            Err(refusal) => return Sent::none(&message, refusal),
        };
        let first_bytes: Vec<_> = recipients.iter().map(|_| FirstByte::default()).collect();
        let tally = |i: usize| Tally::new(route, &message, &recipients[i], &first_bytes[i]);
        let parts = (0..recipients.len()).map(|i| {
            let hold = |(run, places): &(&Run, Places)| {
                let places = Places::from(&places[recipients[i].clone()]);
                run.hold(places, first_bytes[i].clone())
            };
            let part = Part {
                route: Arc::clone(route),
                message: Arc::clone(&message),
                recipients: recipients[i].clone(),
                held: run.as_ref().map(hold),
                first_byte: first_bytes[i].clone(),
                answer_by: deadline.answer_by(),
                resend_maybe_sent,
                admission: Arc::clone(&admission),
            };
            let span = Span::of_current(SpanKind::Internal, "send part");
            span.record(|span| part.describe(span));
            under_way::Start {
                first_byte: first_bytes[i].clone(),
                // Boxed at once: it is large, and would be moved on its way into its task.
                part: span.scope(Settled::of(Box::pin(part.send()), tally(i))),
            }
        });
        let asked = Asked((0..recipients.len()).map(tally).collect());
        let outcomes = under_way::run(parts, self.parts_in_flight, deadline, &self.tasks).await;
        asked.answer(&outcomes);
        merge::merge(message, &recipients, outcomes)
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
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooLate { retry_after, needs } => Self::Quota {
                retry_after,
                needs: Some(needs),
            },
            Refusal::NeverFits => Self::Quota {
                retry_after: None,
                needs: None,
            },
            Refusal::QueueFull => Self::Overloaded,
        }
    }
}

impl Sent {
    /// Accepted for nobody, all for this cause.
    fn none(message: &Message, failure: Failure) -> Self {
        Self {
            accepted: Vec::new(),
            failures: vec![Failed {
                recipients: message.target.recipients.clone(),
                failure,
            }],
            replayed: false,
        }
    }
}
