//! The line between *not sent* and *maybe sent*: the first byte of a request given to the socket.
//!
//! reqwest's errors do not always tell on which side of the line a call failed, so the request's body
//! notes its first poll here. The other way round works too: a caller that gives up first forbids the
//! body to start, and then knows that nothing was and nothing will be sent.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Whether a request may have reached Easemob. Shared by the body that is sent, the task that sends it
/// and the caller that waits for it.
#[derive(Debug, Clone, Default)]
pub struct FirstByte(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The socket has asked for the request.
    crossed: bool,
    /// Nothing is begun any more.
    forbidden: bool,
    /// What became of it has been told or counted.
    told: bool,
    /// Attempts that have ended without an answer. A request of one of those is not begun any more, even if a library
    /// should still hold it.
    ended: u32,
}

impl FirstByte {
    /// Whether the socket has asked for the request.
    pub fn crossed(&self) -> bool {
        self.state().crossed
    }

    /// Ends an attempt that got no answer. Whether the socket had asked for its request: if not, it never will.
    pub fn end_attempt(&self) -> bool {
        let mut state = self.state();
        state.ended += 1;
        state.crossed
    }

    /// Keeps requests from starting, from now on. `true`: nothing was sent, and nothing will be.
    pub fn forbid(&self) -> bool {
        let mut state = self.state();
        state.forbidden = true;
        !state.crossed
    }

    /// Whether it is for the one who asks to tell and count what became of it: true once. A caller that
    /// waits, one that has left and the task that sends may all come to know it.
    pub fn tell(&self) -> bool {
        !std::mem::replace(&mut self.state().told, true)
    }

    /// Steps back over the line: the attempt was answered, and the answer proves that it had no effect.
    /// Whether there may be another one.
    pub fn reset(&self) -> bool {
        let mut state = self.state();
        state.crossed = false;
        !state.forbidden
    }

    /// Whether another attempt may begin: nobody has given up.
    pub fn may_go_on(&self) -> bool {
        !self.state().forbidden
    }

    /// As it is once the socket has asked.
    #[cfg(test)]
    pub(crate) fn of_a_request_under_way() -> Self {
        let first_byte = Self::default();
        assert!(first_byte.cross(0));
        first_byte
    }

    /// `attempt`: how many had ended when it began.
    fn cross(&self, attempt: u32) -> bool {
        let mut state = self.state();
        let may_start = !state.forbidden && state.ended == attempt;
        state.crossed |= may_start;
        may_start
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Two flags cannot be left half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body that notes when the socket asks for it.
pub(super) struct NotedBody {
    data: Option<Bytes>,
    first_byte: FirstByte,
    attempt: u32,
}

impl NotedBody {
    pub(super) fn new(data: Bytes, first_byte: FirstByte) -> Self {
        let attempt = first_byte.state().ended;
        Self {
            data: Some(data),
            attempt,
            first_byte,
        }
    }
}

/// The caller went away before the first byte.
#[derive(Debug, thiserror::Error)]
#[error("the caller gave up before the first byte")]
pub(super) struct GivenUp;

impl Body for NotedBody {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        let Some(data) = self.data.take() else {
            return Poll::Ready(None);
        };
        if !self.first_byte.cross(self.attempt) {
            return Poll::Ready(Some(Err(GivenUp)));
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none()
    }

    // Exact, so that the request carries a Content-Length.
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gives_up_first_knows_that_nothing_was_sent() {
        let first_byte = FirstByte::default();
        assert!(first_byte.forbid());
        assert!(!first_byte.cross(0));
        assert!(!first_byte.crossed());
    }

    #[test]
    fn a_request_of_an_attempt_that_has_ended_never_starts() {
        let first_byte = FirstByte::default();
        assert!(!first_byte.end_attempt());
        assert!(!first_byte.cross(0));
        assert!(first_byte.cross(1));
        assert!(first_byte.end_attempt());
    }

    #[test]
    fn after_the_first_byte_nobody_can_say_that_nothing_was_sent() {
        let first_byte = FirstByte::default();
        assert!(first_byte.cross(0));
        assert!(first_byte.reset());
        assert!(first_byte.cross(0));
        assert!(!first_byte.forbid());
        assert!(first_byte.crossed());
        assert!(!first_byte.reset());
        assert!(!first_byte.cross(0));
        assert!(first_byte.forbid());
    }
}
