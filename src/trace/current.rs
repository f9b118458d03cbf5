//! The span that runs right now on this thread.

use std::{
    cell::RefCell,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::{Data, Ids, Span, Value};

thread_local! {
    static CURRENT: RefCell<Span> = const { RefCell::new(Span::NONE) };
}

/// The current span; [`Span::NONE`] outside of any.
pub fn current() -> Span {
    look(Span::clone).unwrap_or(Span::NONE)
}

/// Whether the current span is recorded: for what costs something to say.
pub fn is_recording() -> bool {
    look(Span::is_recording).unwrap_or_default()
}

/// Where the current span is in its trace; none outside of any.
pub fn ids() -> Option<Ids> {
    look(Span::ids).flatten()
}

/// Something that happens at an instant within the current span's work; see [`Span::event`].
pub fn event(name: &'static str, attributes: &[(&str, Value<'_>)]) {
    look(|span| span.event(name, attributes));
}

/// Work that the current span has to do with; see [`Span::link`].
pub fn link(other: Ids) {
    look(|span| span.link(other));
}

/// Tells the current span what is known of it, where it is recorded.
pub fn record(tell: impl FnOnce(&mut Data)) {
    look(|span| span.record(tell));
}

/// Looks at the current span. Not while it is being exchanged, nor when the thread is about to end.
pub(super) fn look<T>(look: impl FnOnce(&Span) -> T) -> Option<T> {
    CURRENT
        .try_with(|current| current.try_borrow().ok().map(|span| look(&span)))
        .ok()
        .flatten()
}

/// Runs this with another current span.
pub fn in_scope<T>(span: &mut Span, work: impl FnOnce() -> T) -> T {
    let _entered = Entered::new(span);
    work()
}

pin_project! {
    /// A future that runs in its span; see [`Span::scope`].
    #[derive(Debug)]
    pub struct Scope<F> {
        // Before the span, so that what it drops is still within.
        #[pin]
        future: F,
        span: Span,
    }
}

impl<F> Scope<F> {
    pub(super) fn new(future: F, span: Span) -> Self {
        Self { future, span }
    }

    /// The span.
    pub fn span(&self) -> &Span {
        &self.span
    }
}

impl<F: Future> Future for Scope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = Entered::new(this.span);
        this.future.poll(cx)
    }
}

/// Has exchanged the current span, and changes it back: after a panic, too.
struct Entered<'a>(&'a mut Span);

impl<'a> Entered<'a> {
    fn new(span: &'a mut Span) -> Self {
        exchange(span);
        Self(span)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        exchange(self.0);
    }
}

fn exchange(span: &mut Span) {
    // On a thread that is about to end nothing is current.
    let _gone = CURRENT.try_with(|current| mem::swap(&mut *current.borrow_mut(), span));
}
