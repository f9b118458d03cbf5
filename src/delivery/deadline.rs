//! When a caller's answer is due, and when it has to be ready to arrive in time.

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use tokio::time::{Instant, error::Elapsed, timeout_at};

/// Largest part of the time that is kept for the way back.
const MARGIN: Duration = Duration::from_millis(25);

/// The instant by which a caller wants its answer.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    due: Instant,
    margin: Duration,
}

impl Deadline {
    /// A deadline this long after now.
    pub fn after(time: Duration) -> Self {
        Self::since(Instant::now(), time)
    }

    /// A deadline this long after then.
    pub fn since(then: Instant, time: Duration) -> Self {
        Self {
            due: then + time,
            margin: MARGIN.min(time / 4),
        }
    }

    /// When the answer must be ready, so that the caller reads our verdict and not its own timer's.
    pub fn answer_by(&self) -> Instant {
        self.due - self.margin
    }

    /// The earlier of two.
    pub fn min(self, other: Self) -> Self {
        match self.answer_by() <= other.answer_by() {
            true => self,
            false => other,
        }
    }

    /// Whether it is too late to begin.
    pub fn has_passed(&self) -> bool {
        Instant::now() >= self.answer_by()
    }
}

/// Waits for this, at most until then. Makes no timer where there is nothing to wait for: mostly there is not, and the timer
/// would be what costs.
pub(super) async fn in_time<T>(
    until: Instant,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Elapsed> {
    match look(work.as_mut()).await {
        Poll::Ready(done) => Ok(done),
        Poll::Pending => timeout_at(until, work).await,
    }
}

/// Whether there is anything to wait for.
pub(super) async fn look<T>(mut work: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await
}
