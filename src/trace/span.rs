//! A span: a piece of work with a name, a beginning and an end.

use std::{
    borrow::Cow,
    future::Future,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::SystemTime,
};

use http::{HeaderMap, HeaderValue};
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId, Value,
    trace::{Event, Link, SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::{
    Ids, Propagate, Queue, Scope, Tracer, current,
    tracer::{BAGGAGE, TRACEPARENT, TRACESTATE},
};

/// Events that a span keeps; more are counted.
const MAX_EVENTS: usize = 64;
/// Links that a span keeps; more are counted.
const MAX_LINKS: usize = 16;

static SCOPE: LazyLock<InstrumentationScope> = LazyLock::new(|| {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
});

/// A piece of work. It ends when its last clone is dropped.
///
/// Where it is not recorded, all it can be told costs a look at a flag.
#[derive(Debug, Clone)]
pub struct Span {
    pub(super) ids: Ids,
    pub(super) tracer: Option<Arc<Tracer>>,
    pub(super) carried: Option<Arc<Carried>>,
    pub(super) recording: Option<Arc<Recording>>,
}

/// Headers of the caller that are passed on as they came.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) state: Option<HeaderValue>,
    pub(super) baggage: Option<HeaderValue>,
}

/// What a span is part of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Parent {
    None,
    Local(u64),
    Remote(u64),
}

/// A span that is being recorded. When it is dropped, the span is over.
#[derive(Debug)]
pub(super) struct Recording {
    queue: Arc<Queue>,
    data: Mutex<Option<Data>>,
}

/// What is known of a span so far.
#[derive(Debug)]
pub struct Data {
    span: SpanData,
    attempts: i64,
}

impl Span {
    /// No span, in no trace.
    pub const NONE: Self = Self {
        ids: Ids {
            trace: 0,
            span: 0,
            sampled: false,
        },
        tracer: None,
        carried: None,
        recording: None,
    };

    /// A part of this work. Without a record it is the same span again.
    pub fn child(&self, kind: SpanKind, name: impl Into<Cow<'static, str>>) -> Self {
        let Some(parent) = &self.recording else {
            return self.clone();
        };
        let state = parent.with(|data| data.span.span_context.trace_state().clone());
        let child = Self {
            ids: self.ids.child(),
            ..self.clone()
        };
        let queue = &parent.queue;
        child.recorded(
            queue,
            Parent::Local(self.ids.span),
            state.unwrap_or_default(),
            kind,
            name,
        )
    }

    /// A part of the current work.
    pub fn of_current(kind: SpanKind, name: impl Into<Cow<'static, str>>) -> Self {
        current::look(|span| span.child(kind, name)).unwrap_or(Self::NONE)
    }

    /// An attempt at the current work, a call to another service; and how many were made before it.
    pub fn attempt(name: impl Into<Cow<'static, str>>) -> (Self, i64) {
        current::look(|span| {
            let before = span.recording.as_ref().and_then(|recording| {
                recording.with(|data| {
                    data.attempts += 1;
                    data.attempts - 1
                })
            });
            (span.child(SpanKind::Client, name), before.unwrap_or(0))
        })
        .unwrap_or((Self::NONE, 0))
    }

    pub(super) fn recorded(
        mut self,
        queue: &Arc<Queue>,
        parent: Parent,
        state: TraceState,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
    ) -> Self {
        let now = SystemTime::now();
        let (parent_span_id, parent_span_is_remote) = match parent {
            Parent::None => (0, false),
            Parent::Local(id) => (id, false),
            Parent::Remote(id) => (id, true),
        };
        let span = SpanData {
            span_context: context(self.ids, false, state),
            parent_span_id: SpanId::from(parent_span_id),
            parent_span_is_remote,
            span_kind: kind,
            name: name.into(),
            start_time: now,
            end_time: now,
            attributes: Vec::with_capacity(8),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: SCOPE.clone(),
        };
        self.recording = Some(Arc::new(Recording {
            queue: Arc::clone(queue),
            data: Mutex::new(Some(Data { span, attempts: 0 })),
        }));
        self
    }

    /// Whether anybody will read what it is told.
    pub fn is_recording(&self) -> bool {
        self.recording.is_some()
    }

    /// Where it is, outside of [`Span::NONE`].
    pub fn ids(&self) -> Option<Ids> {
        (self.ids.trace != 0).then_some(self.ids)
    }

    /// Tells what is known of it, where it is recorded.
    pub fn record(&self, tell: impl FnOnce(&mut Data)) {
        if let Some(recording) = &self.recording {
            recording.with(tell);
        }
    }

    /// Tells one thing.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        self.record(|data| data.set(key, value));
    }

    /// Something that happens at an instant within the work. A span keeps the first 64.
    pub fn event(&self, name: &'static str, attributes: impl IntoIterator<Item = KeyValue>) {
        self.record(|data| {
            let events = &mut data.span.events;
            if events.events.len() >= MAX_EVENTS {
                events.dropped_count += 1;
                return;
            }
            let attributes = attributes.into_iter().collect();
            events
                .events
                .push(Event::new(name, SystemTime::now(), attributes, 0));
        });
    }

    /// Work that this one has to do with, without being part of it. A span keeps the first 16.
    pub fn link(&self, other: Ids) {
        self.record(|data| {
            let links = &mut data.span.links;
            if links.links.len() >= MAX_LINKS {
                links.dropped_count += 1;
                return;
            }
            let other = context(other, true, TraceState::default());
            links.links.push(Link::with_context(other));
        });
    }

    /// Makes it the current span while this future runs. It goes on until the future is dropped.
    pub fn scope<F: Future>(self, future: F) -> Scope<F> {
        Scope::new(future, self)
    }

    /// Writes where we are into the headers of a request to Easemob, as far as the settings say.
    pub fn inject(&self, headers: &mut HeaderMap) {
        let Some(tracer) = &self.tracer else { return };
        if tracer.propagate == Propagate::None {
            return;
        }
        headers.insert(TRACEPARENT, self.ids.traceparent());
        let Some(carried) = &self.carried else { return };
        for (name, value) in [(TRACESTATE, &carried.state), (BAGGAGE, &carried.baggage)] {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
    }
}

impl Data {
    /// Tells one thing. What was told before under this key is replaced.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.add(KeyValue::new(key, value));
    }

    /// Tells what was prepared.
    pub fn add_all(&mut self, attributes: &[KeyValue]) {
        self.span.attributes.extend_from_slice(attributes);
    }

    /// The work failed; why, in a word that is the same for all failures of the kind.
    pub fn fail(&mut self, what: impl Into<Value>) {
        self.set(
            opentelemetry_semantic_conventions::attribute::ERROR_TYPE,
            what,
        );
        self.span.status = Status::error("");
    }

    pub(super) fn add(&mut self, attribute: KeyValue) {
        let attributes = &mut self.span.attributes;
        match attributes.iter_mut().find(|old| old.key == attribute.key) {
            Some(old) => *old = attribute,
            None => attributes.push(attribute),
        }
    }
}

impl Recording {
    fn with<T>(&self, look: impl FnOnce(&mut Data) -> T) -> Option<T> {
        let mut data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        data.as_mut().map(look)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let data = self.data.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(Data { mut span, .. }) = data.take() {
            span.end_time = SystemTime::now();
            self.queue.push(span);
        }
    }
}

fn context(ids: Ids, is_remote: bool, state: TraceState) -> SpanContext {
    let flags = match ids.sampled {
        true => TraceFlags::SAMPLED,
        false => TraceFlags::NOT_SAMPLED,
    };
    SpanContext::new(
        TraceId::from(ids.trace),
        SpanId::from(ids.span),
        flags,
        is_remote,
        state,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(queue: &Arc<Queue>) -> Span {
        Arc::new(Tracer::new(Some(Arc::clone(queue)), 1.0)).serve(&HeaderMap::new(), "root")
    }

    #[tokio::test]
    async fn a_span_is_over_with_its_work_and_its_parts_know_it() {
        let queue = Arc::new(Queue::new(10));
        let root = root(&queue);
        let ids = root.ids().unwrap();
        root.scope(async {
            assert_eq!(super::super::current().ids(), Some(ids));
            let (first, before) = Span::attempt("attempt");
            assert_eq!(before, 0);
            drop(first);
            let (second, before) = Span::attempt("attempt");
            assert_eq!(before, 1);
            second.scope(tokio::task::yield_now()).await;
        })
        .await;
        assert_eq!(super::super::current().ids(), None);
        let spans = queue.take();
        let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
        assert_eq!(names, ["attempt", "attempt", "root"]);
        assert_eq!(spans[0].parent_span_id, SpanId::from(ids.span));
        assert_eq!(spans[1].parent_span_id, SpanId::from(ids.span));
        assert_eq!(spans[2].parent_span_id, SpanId::INVALID);
    }

    #[test]
    fn events_and_links_are_bounded() {
        let queue = Arc::new(Queue::new(10));
        let span = root(&queue);
        for _ in 0..100 {
            span.event("progress", []);
            span.link(Ids::random());
        }
        drop(span);
        let span = queue.take().remove(0);
        assert_eq!((span.events.len(), span.events.dropped_count), (64, 36));
        assert_eq!((span.links.len(), span.links.dropped_count), (16, 84));
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let queue = Arc::new(Queue::new(2));
        for _ in 0..5 {
            drop(root(&queue));
        }
        assert_eq!(queue.take().len(), 2);
        assert_eq!(queue.dropped(), 3);
    }

    #[test]
    fn without_a_record_a_part_has_the_ids_of_the_whole() {
        let tracer = Arc::new(Tracer::new(None, 1.0));
        let span = tracer.serve(&HeaderMap::new(), "root");
        assert_eq!(span.child(SpanKind::Internal, "part").ids(), span.ids());
        assert!(!span.is_recording());
    }
}
