//! One part of a message, from its turn to its outcome: the procedure that everything else serves.

use std::{
    ops::Range,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Failure, Outcome,
    deadline::{in_time, look},
    ledger::Held,
    retry::{Retry, Stage, Step},
    turn::{quota_kind, tell_wait},
    upstream::Upstream,
};
use crate::{
    caller::Caller,
    easemob::{self, Client, FirstByte, Kind, Token},
    message::Message,
    metrics,
    quota::{self, Admission, Asker, Turn},
    trace,
};

/// How long before its caller is answered a part gives up waiting for its turn: so that what it waited for is told.
const BEFORE_ANSWER: Duration = Duration::from_millis(2);

/// The way to Easemob for one app, on one shard.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) client: Client,
    /// Leave to have a call under way on this shard.
    pub(super) places: Arc<Semaphore>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) downloaded: metrics::Bytes,
    pub(super) wait: metrics::Wait,
    pub(super) recipients: metrics::Recipients,
    pub(super) request_ids: metrics::RequestIds,
    pub(super) quota_refusals: metrics::QuotaRefusals,
    /// From then on nothing new is begun: what still waits would not end in time.
    pub(super) closing: CancellationToken,
}

impl Route {
    /// Admits a message to its turns, or tells why not: its caller, and the metrics.
    pub(super) async fn admit(
        &self,
        kind: quota::Kind,
        caller: &Caller,
        calls: &[u64],
        until: Instant,
    ) -> Result<Admission, Failure> {
        let asker = Asker {
            name: caller.shared_name(),
            weight: caller.weight().get(),
        };
        let admitted = self.upstream.quotas.admit(kind, &asker, calls, until);
        admitted.await.map_err(|refusal| {
            let (kind, cause) = (kind.name(), refusal.name());
            self.quota_refusals.refused(kind, caller.name(), cause);
            refusal.into()
        })
    }
}

/// What one call carries.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) route: Arc<Route>,
    pub(super) message: Arc<Message>,
    /// Which of the message's recipients.
    pub(super) recipients: Range<usize>,
    pub(super) first_byte: FirstByte,
    /// When the caller is answered: nothing is tried again that would begin after it.
    pub(super) answer_by: Instant,
    pub(super) resend_maybe_sent: bool,
    /// The message's turns, this part's among them.
    pub(super) admission: Arc<Admission>,
    /// What the request ID's record is told; none where the request has no ID.
    pub(super) held: Option<Held>,
}

/// What a part has behind it.
struct Course {
    retry: Retry,
    /// The token of the last attempt.
    token: Option<Arc<Token>>,
    /// When the time for all attempts is over. It begins with the part's turn, and anew where the part
    /// has to wait for the quota once more.
    until: Option<Instant>,
    /// The record says that an attempt is under way.
    dispatched: bool,
    /// An earlier attempt may have been a send: from then on no failure proves that nothing was sent.
    doubt: Option<Failure>,
}

impl Part {
    /// What its span says. Recipients are counted, and never named.
    pub(super) fn describe(&self, span: &mut trace::Data) {
        let target = &self.message.target;
        let recipients = i64::try_from(self.recipients.len()).unwrap_or(i64::MAX);
        span.add("easemob.target", target.kind.name());
        span.add("easemob.recipients", recipients);
    }

    /// Sends the part: once, or not at all, or says that it does not know.
    pub(super) async fn send(mut self) -> Outcome {
        let outcome = self.attempts().await;
        record(&outcome);
        if let Some(held) = self.held.take() {
            held.settle(&outcome).await;
        }
        outcome
    }

    async fn attempts(&self) -> Outcome {
        let budget = &self.route.upstream.budget;
        budget.deposit();
        let mut course = Course {
            retry: Retry::new(self.resend_maybe_sent),
            token: None,
            until: None,
            dispatched: false,
            doubt: None,
        };
        loop {
            let (stage, failure) = match self.once(&mut course).await {
                Ok(accepted) => return Ok(accepted),
                Err(failed) => failed,
            };
            let step = course.retry.after(stage, &failure, budget);
            if let Err(failure) = self.follow(step, failure, &mut course).await {
                return Err(course.doubt.unwrap_or(failure));
            }
        }
    }

    /// Token, turn, dispatch, attempt. The token comes first: no place is held while waiting for one.
    async fn once(&self, course: &mut Course) -> Result<easemob::Accepted, (Stage, Failure)> {
        let tokens = &self.route.upstream.tokens;
        let ready = async || tokens.ready().await.map_err(Failure::from);
        let no_token = |failure| (Stage::Token, failure);
        // Looking at the clock costs as much as a lock, so it is looked at only after something was waited for.
        let asked = Instant::now();
        let queued = match tokens.at_hand(asked) {
            Some(_token) => asked,
            None => {
                self.unless_closing(pin!(ready())).await.map_err(no_token)?;
                Instant::now()
            }
        };
        let turn = self.unless_closing(pin!(self.turn(queued))).await;
        let turn = turn.map_err(|failure| (Stage::Turn, failure))?;
        let granted = turn.began().unwrap_or(queued);
        tell_wait(granted - queued);
        self.route.wait.record(granted - asked);
        let (token, mut now) = match tokens.at_hand(granted) {
            Some(token) => (token, granted),
            None => (ready().await.map_err(no_token)?, Instant::now()),
        };
        let call_timeout = self.route.client.call_timeout();
        let until = *course.until.get_or_insert(now + call_timeout);
        if let Some(held) = &self.held {
            let dispatched = held.dispatch(now, call_timeout).await;
            now = dispatched.map_err(|failure| (Stage::Turn, failure))?;
            course.dispatched = true;
        }
        let outcome = self.attempt(turn, &token, now, until).await;
        course.token = Some(token);
        outcome.map_err(|failure| (Stage::Attempt, failure))
    }

    /// Waits until the part may go: the quota has room, there is a place, and Easemob can be reached as
    /// far as is known. Where that comes too late, the cause is told and not the deadline.
    async fn turn(&self, now: Instant) -> Result<Turn, Failure> {
        let Upstream {
            pauses,
            breaker,
            quotas,
            ..
        } = &*self.route.upstream;
        let kind = self.message.target.kind;
        let paused = || {
            pauses
                .of(kind)
                .filter(|pause| pause.until >= self.answer_by)
        };
        if let Some(pause) = paused() {
            return Err(pause.refusal().into());
        }
        let messages = self.recipients.len() as u64;
        let turn = self
            .admission
            .turn_from(now, messages, Some(&self.route.places));
        let turn = pin!(turn);
        let left = self.answer_by.saturating_duration_since(now);
        let before_answer = BEFORE_ANSWER + quotas.time_to_miss().min(left / 4);
        match in_time(self.answer_by - before_answer, turn).await {
            Ok(turn) => {
                if let Err(wait) = breaker.admit() {
                    turn.not_sent();
                    return Err(unreachable(wait));
                }
                Ok(turn)
            }
            Err(_elapsed) => Err(match paused() {
                Some(pause) => pause.refusal().into(),
                None if quotas.has_room(quota_kind(kind), messages) => Failure::DeadlineExceeded,
                None => {
                    let kind = quota_kind(kind).name();
                    let refusals = &self.route.quota_refusals;
                    refusals.refused(kind, self.admission.caller(), "no_turn");
                    self.admission.missed(messages).await.into()
                }
            }),
        }
    }

    async fn attempt(&self, turn: Turn, token: &Token, now: Instant, until: Instant) -> Outcome {
        let breaker = &self.route.upstream.breaker;
        let recipients = &self.message.target.recipients[self.recipients.clone()];
        let first_byte = &self.first_byte;
        let client = &self.route.client;
        let call = client.send(&self.message, recipients, token, first_byte, now, until);
        let outcome = call.await;
        match &outcome {
            Err(error) if error.kind == Kind::Unreachable => breaker.failed(),
            _ => breaker.connected(),
        }
        match &outcome {
            Err(error) if error.kind.may_have_taken_effect() => drop(turn),
            Err(error) if error.answer.is_some() => turn.refused(),
            Err(_never_arrived) => turn.not_sent(),
            Ok(_) => drop(turn),
        }
        Ok(outcome?)
    }

    /// Does what comes before the next attempt. An error: there is none, and this is the outcome.
    async fn follow(
        &self,
        step: Step,
        failure: Failure,
        course: &mut Course,
    ) -> Result<(), Failure> {
        if step == Step::WhenQuotaAllows && self.pause(&failure) >= self.answer_by {
            return Err(failure);
        }
        if step == Step::End || !self.may_go_on(&failure, course) {
            return Err(failure);
        }
        if let Step::After(pause) = step
            && !self.has_time_for(pause, course)
        {
            return Err(failure);
        }
        if let Some(held) = &self.held
            && std::mem::take(&mut course.dispatched)
        {
            held.release(&failure).await?;
        }
        match step {
            Step::End => Err(failure),
            Step::After(pause) => self.wait(pause).await,
            Step::WithNewToken => self.replace(failure, course).await,
            Step::WhenQuotaAllows => {
                course.until = None;
                Ok(())
            }
        }
    }

    /// Has everything of this kind wait for the quota, also where this caller has left. Until when.
    fn pause(&self, failure: &Failure) -> Instant {
        let kind = self.message.target.kind;
        match failure {
            Failure::Easemob(refusal) => {
                let until = self.route.upstream.pauses.begin(kind, refusal);
                let wait = until.saturating_duration_since(Instant::now());
                let quotas = &self.route.upstream.quotas;
                quotas.pause(quota_kind(kind), wait);
                until
            }
            _ => Instant::now(),
        }
    }

    /// Whether there may be another attempt: a caller that has left, or has its answer, would not hear
    /// of it.
    fn may_go_on(&self, failure: &Failure, course: &mut Course) -> bool {
        if failure.may_have_been_sent() {
            course.doubt = Some(failure.clone());
        }
        match course.doubt {
            // It stays on the far side of the line, whatever comes.
            Some(_) => self.first_byte.may_go_on(),
            None => self.first_byte.reset(),
        }
    }

    /// Whether there is time for an attempt after a pause.
    fn has_time_for(&self, pause: Duration, course: &Course) -> bool {
        let latest = course
            .until
            .map_or(self.answer_by, |until| until.min(self.answer_by));
        Instant::now() + pause < latest
    }

    /// Lets a pause pass.
    async fn wait(&self, pause: Duration) -> Result<(), Failure> {
        let next = Instant::now() + pause;
        let wait_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        trace::event("retry.backoff", &[("easemob.wait_ms", wait_ms.into())]);
        let pause = async {
            sleep_until(next).await;
            Ok(())
        };
        self.unless_closing(pin!(pause)).await
    }

    /// Has another token made, in place of the one that was refused.
    async fn replace(&self, refusal: Failure, course: &Course) -> Result<(), Failure> {
        let Some(refused) = &course.token else {
            return Err(refusal);
        };
        match self.route.upstream.tokens.replace(refused).await {
            Err(mut error) if error.kind == Kind::CredentialsRejected => {
                // Where no other token is asked for so soon, the refusal is Easemob's last word.
                if let Failure::Easemob(refusal) = refusal {
                    error.answer = error.answer.or(refusal.answer);
                }
                Err(error.into())
            }
            // What else kept it from being made is told by the next pass, and perhaps tried again.
            _ => Ok(()),
        }
    }

    /// What begins after this could be cut short by the end of the drain.
    async fn unless_closing<T>(
        &self,
        mut wait: Pin<&mut impl Future<Output = Result<T, Failure>>>,
    ) -> Result<T, Failure> {
        let closing = &self.route.closing;
        if closing.is_cancelled() {
            return Err(Failure::ShuttingDown);
        }
        // Mostly there is nothing to wait for, and no need to be told of the end.
        if let Poll::Ready(outcome) = look(wait.as_mut()).await {
            return outcome;
        }
        tokio::select! {
            biased;
            () = closing.cancelled() => Err(Failure::ShuttingDown),
            outcome = wait => outcome,
        }
    }
}

/// Tells the current span what became of its part.
fn record(outcome: &Outcome) {
    trace::record(|span| match outcome {
        Ok(_) => span.add("easemob.send_state", "accepted"),
        Err(failure) => {
            let (state, what) = match failure.may_have_been_sent() {
                true => ("maybe_sent", "maybe sent"),
                false => ("not_sent", "not sent"),
            };
            span.add("easemob.send_state", state);
            span.fail(what);
        }
    });
}

/// The breaker's refusal.
fn unreachable(wait: Duration) -> Failure {
    easemob::Error::new(
        Kind::Unreachable,
        "no connection to Easemob could be made several times in a row",
    )
    .with_retry_after(wait)
    .into()
}
