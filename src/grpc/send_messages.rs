//! SendMessages: many messages over one stream, each answered when it is done.
//!
//! The answers are what drives it: it reads requests only while somebody takes them, so a caller that
//! does not read is held back by its own flow control.

use std::{collections::HashMap, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    sync::OwnedSemaphorePermit,
    task::{Id, JoinError, JoinSet},
};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    Messaging, Peer, Timeouts, layer,
    send::{self, noted, send_failure},
    status::Problem,
};
use crate::{
    caller::Caller,
    delivery::Deadline,
    invalid::Violations,
    proto::{
        self, ErrorReason, SendMessageRequest, SendMessagesRequest, SendMessagesResponse,
        message::Target, send_messages_response,
    },
};

/// Longest correlation ID in bytes.
const MAX_CORRELATION_ID_BYTES: usize = 128;
/// Recipients of all requests under way on a stream, from which on no more are read: their answers wait
/// in memory for a caller that may be slow.
const MAX_RECIPIENTS: usize = 10_000;
/// How long a caller is asked to wait for a place.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The answers, as tonic sends them.
pub(super) type Answers = Pin<Box<dyn Stream<Item = Result<SendMessagesResponse, Status>> + Send>>;

pub(super) fn send_messages(
    messaging: &Messaging,
    request: Request<Streaming<SendMessagesRequest>>,
) -> Result<Response<Answers>, Status> {
    let place = Arc::clone(&messaging.streams).try_acquire_owned();
    let place = place.map_err(|_full| overloaded("the gateway has too many streams of sends"))?;
    let peer: Arc<Peer> = noted(&request)?;
    let many = Many {
        messaging: messaging.clone(),
        caller: noted(&request)?,
        due: Timeouts::deadline_of_transfer(request.metadata().as_ref()),
        peer,
        tasks: JoinSet::new(),
        under_way: HashMap::new(),
        recipients: 0,
        _place: place,
    };
    Ok(Response::new(Box::pin(answers(many, request.into_inner()))))
}

/// The requests of one stream. Dropped when the caller goes away: that ends the tasks, and with each
/// whatever of its message is not dispatched.
struct Many {
    messaging: Messaging,
    caller: Caller,
    /// When the caller gives the stream up, where it says.
    due: Option<Deadline>,
    peer: Arc<Peer>,
    tasks: JoinSet<Result<proto::SendMessageResponse, Problem>>,
    under_way: HashMap<Id, UnderWay>,
    /// Of all that is under way.
    recipients: usize,
    _place: OwnedSemaphorePermit,
}

struct UnderWay {
    correlation_id: String,
    recipients: usize,
}

fn answers(
    mut many: Many,
    mut requests: Streaming<SendMessagesRequest>,
) -> impl Stream<Item = Result<SendMessagesResponse, Status>> {
    async_stream::stream! {
        let peer = Arc::clone(&many.peer);
        let (mut reads, mut ends) = (true, false);
        let mut broken = None;
        // A stream that ends answers what it has read, and tells what arrives meanwhile that it is too late.
        while !many.tasks.is_empty() || (reads && !ends) {
            let has_room = many.has_room();
            tokio::select! {
                biased;
                Some(answer) = many.next() => yield Ok(answer),
                () = peer.ending.cancelled(), if !ends => ends = true,
                request = requests.message(), if reads && has_room => match request {
                    Ok(Some(request)) if ends => yield Ok(refused(request)),
                    Ok(Some(request)) => many.begin(request),
                    Ok(None) => reads = false,
                    Err(status) => {
                        reads = false;
                        broken = Some(layer::of_framework(&status));
                    }
                },
            }
        }
        if let Some(problem) = broken {
            yield Err(problem.into());
        }
    }
}

impl Many {
    fn has_room(&self) -> bool {
        self.tasks.len() < self.messaging.requests_per_stream.max(1)
            && self.recipients < MAX_RECIPIENTS
    }

    /// Begins a request, in a task of its own: it goes on while nobody takes the answers.
    fn begin(&mut self, request: SendMessagesRequest) {
        let SendMessagesRequest {
            correlation_id,
            request,
            timeout,
        } = request;
        let recipients = recipients(request.as_ref());
        let checked = check(&correlation_id, request, timeout, self.messaging.timeouts);
        let (messaging, caller, due) = (self.messaging.clone(), self.caller.clone(), self.due);
        let task = self.tasks.spawn(async move {
            let (request, deadline) = checked?;
            let deadline = due.map_or(deadline, |due| due.min(deadline));
            let place = messaging.in_flight.try_acquire();
            let _place =
                place.map_err(|_full| overloaded("the gateway has too many requests under way"))?;
            let order = send::checked(&messaging, caller, request, deadline)?;
            send::send(&messaging, order).await
        });
        self.recipients += recipients;
        let under_way = UnderWay {
            correlation_id,
            recipients,
        };
        self.under_way.insert(task.id(), under_way);
    }

    /// The next request that is done; none where none is under way.
    async fn next(&mut self) -> Option<SendMessagesResponse> {
        let ended = self.tasks.join_next_with_id().await?;
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let UnderWay {
            correlation_id,
            recipients,
        } = self.under_way.remove(&id)?;
        self.recipients -= recipients;
        let result = match ended {
            Ok((_, result)) => result,
            // Parts tell of their own faults: this one came before or after them.
            Err(_panicked) => Err(Problem::new(
                ErrorReason::OutcomeUnknown,
                "a fault of the gateway while it sent the message",
            )),
        };
        Some(answer(correlation_id, result))
    }
}

/// What is wrong with a request apart from its message, or else the request and its deadline.
fn check(
    correlation_id: &str,
    request: Option<SendMessageRequest>,
    timeout: Option<prost_types::Duration>,
    timeouts: Timeouts,
) -> Result<(SendMessageRequest, Deadline), Problem> {
    let violations = Violations::default();
    let root = violations.root();
    if correlation_id.len() > MAX_CORRELATION_ID_BYTES {
        let field = root.child("correlation_id");
        let _refused: Option<()> = field.refuse("is longer than 128 bytes");
    }
    let request = root.child("request").required(request);
    let timeout = match timeout.map(Duration::try_from) {
        None => Some(None),
        Some(Ok(timeout)) => Some(Some(timeout)),
        Some(Err(_)) => root
            .child("timeout")
            .refuse("is no time, or a negative one"),
    };
    match (request, timeout) {
        (Some(request), Some(timeout)) if violations.is_empty() => {
            Ok((request, timeouts.after(timeout)))
        }
        _ => Err(Problem::invalid(violations.into_vec())),
    }
}

fn recipients(request: Option<&SendMessageRequest>) -> usize {
    let target = request.and_then(|request| request.message.as_ref()?.target.as_ref());
    match target {
        Some(Target::Users(users)) => users.user_ids.len(),
        Some(Target::Groups(groups)) => groups.group_ids.len(),
        Some(Target::Chatrooms(rooms)) => rooms.chatroom_ids.len(),
        None => 0,
    }
}

fn answer(
    correlation_id: String,
    result: Result<proto::SendMessageResponse, Problem>,
) -> SendMessagesResponse {
    SendMessagesResponse {
        correlation_id,
        result: Some(match result {
            Ok(response) => send_messages_response::Result::Response(response),
            Err(problem) => {
                let failure = send_failure(Vec::new(), &problem);
                send_messages_response::Result::Failure(failure)
            }
        }),
    }
}

/// For a request that comes when its stream is about to end.
fn refused(request: SendMessagesRequest) -> SendMessagesResponse {
    let what = "the gateway is shutting down, or renews this connection";
    let problem = Problem::new(ErrorReason::ShuttingDown, what);
    answer(request.correlation_id, Err(problem))
}

fn overloaded(what: &str) -> Problem {
    Problem::new(ErrorReason::Overloaded, what).with_retry_after(RETRY_AFTER)
}
