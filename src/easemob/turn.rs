//! A body that leaves its thread to the others now and then.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use tokio::task::yield_now;

/// How much goes on before the others have their turn, in bytes: half of a stream's default window. Else the caller would
/// hear of room in its window when all of it has been worked on, and stand still until then.
const BYTES: usize = 64 * 1024;

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turn {
    bytes: usize,
    others: Option<Arc<Others>>,
}

/// The turn of the others. It ends when the runtime says so, and not when the body is asked again: the HTTP library asks
/// twice.
#[derive(Debug)]
struct Others {
    over: AtomicBool,
    body: Waker,
}

impl Wake for Others {
    fn wake(self: Arc<Self>) {
        self.over.store(true, Ordering::Relaxed);
        self.body.wake_by_ref();
    }
}

impl Turn {
    /// So many bytes go on.
    pub(super) fn took(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Ready while it is the body's turn.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(others) = &self.others {
            if !others.over.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
            self.others = None;
        }
        if self.bytes < BYTES {
            return Poll::Ready(());
        }
        self.bytes = 0;
        let others = Arc::new(Others {
            over: AtomicBool::new(false),
            body: cx.waker().clone(),
        });
        let waker = Waker::from(Arc::clone(&others));
        let poll = pin!(yield_now()).poll(&mut Context::from_waker(&waker));
        self.others = poll.is_pending().then_some(others);
        poll
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn the_others_have_their_turn_however_often_it_asks() {
        let mut turn = Turn::default();
        turn.took(BYTES - 1);
        assert!(poll_fn(|cx| Poll::Ready(turn.poll(cx))).await.is_ready());
        turn.took(1);
        let other = tokio::spawn(async {});
        let asked_thrice = |cx: &mut Context<'_>| Poll::Ready([(); 3].map(|()| turn.poll(cx)));
        assert_eq!(poll_fn(asked_thrice).await, [Poll::Pending; 3]);
        poll_fn(|cx| turn.poll(cx)).await;
        assert!(other.is_finished());
        assert!(poll_fn(|cx| Poll::Ready(turn.poll(cx))).await.is_ready());
    }
}
