//! One part of a message, from its turn to its outcome: the procedure that everything else serves.

use std::{sync::Arc, time::Instant};

use tokio_util::sync::CancellationToken;

use super::{
    Failure, Outcome,
    turn::{QueueFull, Turn, Turns},
};
use crate::{
    easemob::{self, Client, FirstByte, Kind, Tokens},
    message::Message,
    metrics, trace,
};

/// The way to Easemob for one app, on one shard.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) client: Client,
    pub(super) tokens: Arc<Tokens>,
    pub(super) turns: Turns,
    pub(super) downloaded: metrics::Bytes,
    pub(super) wait: metrics::Wait,
    pub(super) recipients: metrics::Recipients,
}

/// What one call carries.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) route: Arc<Route>,
    pub(super) message: Arc<Message>,
    pub(super) first_byte: FirstByte,
    pub(super) closing: CancellationToken,
}

impl Part {
    /// What its span says. Recipients are counted, and never named.
    pub(super) fn describe(&self, span: &mut trace::Data) {
        let target = &self.message.target;
        let recipients = i64::try_from(target.recipients.len()).unwrap_or(i64::MAX);
        span.set("easemob.target", target.kind.name());
        span.set("easemob.recipients", recipients);
    }

    /// Sends the part: once, or not at all, or says that it does not know.
    pub(super) async fn send(self) -> Outcome {
        let turns = &self.route.turns;
        // In the queue from the start: what waits for a token takes room as well.
        let _admission = turns.admit().map_err(|QueueFull| Failure::Overloaded)?;
        let asked = Instant::now();
        let _turn = tokio::select! {
            biased;
            // First: what begins after this could be cut short by the end of the drain.
            () = self.closing.cancelled() => return Err(Failure::ShuttingDown),
            turn = self.turn() => turn?,
        };
        self.route.wait.record(asked.elapsed());
        match tokio::time::timeout(self.route.client.call_timeout(), self.attempts()).await {
            Ok(outcome) => outcome,
            Err(_elapsed) if self.first_byte.forbid() => Err(easemob::Error::new(
                Kind::Unreachable,
                "nothing was sent within the time for one call",
            )
            .into()),
            Err(_elapsed) => Err(Failure::in_doubt("no answer within the time for one call")),
        }
    }

    /// Waits until the part may go. The token comes first: no place is held while waiting for one.
    async fn turn(&self) -> Result<Turn, Failure> {
        self.route.tokens.ready().await?;
        Ok(self.route.turns.turn().await)
    }

    /// One attempt, and a second where Easemob asks for a new token.
    async fn attempts(&self) -> Outcome {
        let token = self.route.tokens.ready().await?;
        let refusal = match self.attempt(&token).await {
            Err(error) if error.kind == Kind::TokenRefused => error,
            outcome => return Ok(outcome?),
        };
        // The refusal proves that nothing was sent. A caller that has left meanwhile, or was told that
        // the outcome is unknown, would not hear of a second attempt.
        if !self.first_byte.reset() {
            return Err(Failure::DeadlineExceeded);
        }
        let token = match self.route.tokens.replace(&token).await {
            Ok(token) => token,
            // Where no other token is asked for so soon, the refusal is Easemob's last word.
            Err(mut error) => {
                if error.kind == Kind::CredentialsRejected {
                    error.answer = error.answer.or(refusal.answer);
                }
                return Err(error.into());
            }
        };
        match self.attempt(&token).await {
            Err(error) if error.kind == Kind::TokenRefused => {
                Err(error.with_kind(Kind::CredentialsRejected).into())
            }
            outcome => Ok(outcome?),
        }
    }

    async fn attempt(&self, token: &easemob::Token) -> Result<easemob::Accepted, easemob::Error> {
        let recipients = &self.message.target.recipients;
        self.route
            .client
            .send(&self.message, recipients, token, &self.first_byte)
            .await
    }
}
