//! A span: a piece of work with a name, a beginning and an end.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderValue};
use opentelemetry_semantic_conventions::attribute::ERROR_TYPE;

use super::{
    Attributes, Ids, Propagate, Queue, Scope, Tracer, Value, current,
    otlp::{self, span},
    tracer::{BAGGAGE, TRACEPARENT, TRACESTATE},
};

/// Events that a span keeps; more are counted.
const MAX_EVENTS: u64 = 64;
/// Links that a span keeps; more are counted.
const MAX_LINKS: u64 = 16;
/// What most spans have to tell fits into so many bytes.
const USUAL_BYTES: usize = 320;

/// What a span is to its surroundings, with OTLP's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// A part of our own work.
    Internal = 1,
    /// Somebody else's request.
    Server = 2,
    /// A request to somebody else.
    Client = 3,
}

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
    data: Mutex<Data>,
}

/// What is known of a span so far.
#[derive(Debug)]
pub struct Data {
    ids: Ids,
    parent: Parent,
    /// The caller's `tracestate`, the same for the whole trace.
    state: Option<Arc<str>>,
    kind: SpanKind,
    name: &'static str,
    start: u64,
    attributes: Attributes,
    events: Kept,
    links: Kept,
    failed: bool,
    attempts: i64,
}

/// Events or links, as they travel, and how many there were in all.
#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    count: u64,
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
    pub fn child(&self, kind: SpanKind, name: &'static str) -> Self {
        let Some(parent) = &self.recording else {
            return self.clone();
        };
        let state = parent.data().state.clone();
        let child = Self {
            ids: self.ids.child(),
            ..self.clone()
        };
        let queue = &parent.queue;
        child.recorded(queue, Parent::Local(self.ids.span), state, kind, name)
    }

    /// A part of the current work.
    pub fn of_current(kind: SpanKind, name: &'static str) -> Self {
        current::look(|span| span.child(kind, name)).unwrap_or(Self::NONE)
    }

    /// An attempt at the current work, a call to another service; and how many were made before it.
    pub fn attempt(name: &'static str) -> (Self, i64) {
        current::look(|span| {
            let before = span.recording.as_ref().map_or(0, |recording| {
                let mut data = recording.data();
                data.attempts += 1;
                data.attempts - 1
            });
            (span.child(SpanKind::Client, name), before)
        })
        .unwrap_or((Self::NONE, 0))
    }

    pub(super) fn recorded(
        mut self,
        queue: &Arc<Queue>,
        parent: Parent,
        state: Option<Arc<str>>,
        kind: SpanKind,
        name: &'static str,
    ) -> Self {
        self.recording = Some(Arc::new(Recording {
            queue: Arc::clone(queue),
            data: Mutex::new(Data {
                ids: self.ids,
                parent,
                state,
                kind,
                name,
                start: now(),
                attributes: Attributes(Vec::with_capacity(USUAL_BYTES)),
                events: Kept::default(),
                links: Kept::default(),
                failed: false,
                attempts: 0,
            }),
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
            tell(&mut recording.data());
        }
    }

    /// Something that happens at an instant within the work. A span keeps the first 64.
    pub fn event(&self, name: &'static str, attributes: &[(&str, Value<'_>)]) {
        self.record(|data| {
            if data.events.makes_room(MAX_EVENTS) {
                otlp::write_event(&mut data.events.bytes, now(), name, attributes);
            }
        });
    }

    /// Work that this one has to do with, without being part of it. A span keeps the first 16.
    pub fn link(&self, other: Ids) {
        self.record(|data| {
            if data.links.makes_room(MAX_LINKS) {
                otlp::write_link(&mut data.links.bytes, other);
            }
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
    pub fn set<'a>(&mut self, key: &str, value: impl Into<Value<'a>>) {
        self.attributes.set(key, value);
    }

    /// The same for what was not told yet: nothing has to be looked for.
    pub fn add<'a>(&mut self, key: &str, value: impl Into<Value<'a>>) {
        self.attributes.add(key, value);
    }

    /// Tells what was prepared, and not told yet.
    pub fn add_all(&mut self, attributes: &Attributes) {
        self.attributes.0.extend_from_slice(&attributes.0);
    }

    /// The work failed; why, in a word that is the same for all failures of the kind.
    pub fn fail(&mut self, what: &str) {
        self.set(ERROR_TYPE, what);
        self.failed = true;
    }

    /// Writes the span as a field of this number.
    fn write(&self, end: u64, out: &mut Vec<u8>, number: u8) {
        let (parent, remote) = match self.parent {
            Parent::None => (None, false),
            Parent::Local(id) => (Some(id), false),
            Parent::Remote(id) => (Some(id), true),
        };
        let state = self.state.as_deref();
        let failed: &[u8] = if self.failed { &otlp::FAILED } else { &[] };
        let dropped_events = self.events.count.saturating_sub(MAX_EVENTS);
        let dropped_links = self.links.count.saturating_sub(MAX_LINKS);
        let length = otlp::TRACE_ID_LEN
            + otlp::SPAN_ID_LEN
            + state.map_or(0, |state| otlp::field_len(state.len()))
            + parent.map_or(0, |_| otlp::SPAN_ID_LEN)
            + otlp::field_len(self.name.len())
            + otlp::number_len(self.kind as u64)
            + 2 * otlp::TIME_LEN
            + self.attributes.0.len()
            + self.events.bytes.len()
            + otlp::number_len(dropped_events)
            + self.links.bytes.len()
            + otlp::number_len(dropped_links)
            + failed.len()
            + otlp::FLAGS_LEN;
        otlp::write_head(out, number, length);
        otlp::write_field(out, span::TRACE_ID, &self.ids.trace.to_be_bytes());
        otlp::write_field(out, span::SPAN_ID, &self.ids.span.to_be_bytes());
        if let Some(state) = state {
            otlp::write_field(out, span::TRACE_STATE, state.as_bytes());
        }
        if let Some(parent) = parent {
            otlp::write_field(out, span::PARENT_SPAN_ID, &parent.to_be_bytes());
        }
        otlp::write_field(out, span::NAME, self.name.as_bytes());
        otlp::write_number(out, span::KIND, self.kind as u64);
        otlp::write_time(out, span::START, self.start);
        otlp::write_time(out, span::END, end.max(self.start));
        out.extend_from_slice(&self.attributes.0);
        out.extend_from_slice(&self.events.bytes);
        otlp::write_number(out, span::DROPPED_EVENTS, dropped_events);
        out.extend_from_slice(&self.links.bytes);
        otlp::write_number(out, span::DROPPED_LINKS, dropped_links);
        out.extend_from_slice(failed);
        otlp::write_flags(out, span::FLAGS, self.ids.sampled, remote);
    }
}

impl Kept {
    /// Counts one more, and tells whether it may be kept.
    fn makes_room(&mut self, most: u64) -> bool {
        self.count += 1;
        self.count <= most
    }
}

impl Recording {
    fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let data = self.data.get_mut().unwrap_or_else(PoisonError::into_inner);
        let end = now();
        self.queue.push(|out, number| data.write(end, out, number));
    }
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        common::v1::{KeyValue, any_value},
        trace::v1::{span, status},
    };

    use super::{super::Fate, *};

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
        let spans = queue.spans();
        let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
        assert_eq!(names, ["attempt", "attempt", "root"]);
        assert_eq!(spans[0].parent_span_id, ids.span.to_be_bytes());
        assert_eq!(spans[1].parent_span_id, ids.span.to_be_bytes());
        assert!(spans[2].parent_span_id.is_empty());
    }

    fn number(pair: &KeyValue) -> Option<i64> {
        match pair.value.as_ref()?.value.as_ref()? {
            any_value::Value::IntValue(number) => Some(*number),
            _ => None,
        }
    }

    #[test]
    fn what_it_was_told_is_in_its_message() {
        let queue = Arc::new(Queue::new(10));
        let mut headers = HeaderMap::new();
        let parent = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
        headers.insert("traceparent", HeaderValue::from_static(parent));
        headers.insert("tracestate", HeaderValue::from_static("a=b"));
        let tracer = Arc::new(Tracer::new(Some(Arc::clone(&queue)), 1.0));
        let root = tracer.serve(&headers, "root");
        let child = root.child(SpanKind::Client, "child");
        let mut prepared = Attributes::default();
        prepared.set("size", 1);
        prepared.set("negative", -5);
        child.record(|span| {
            span.add_all(&prepared);
            span.set("size", i64::MAX);
            span.fail(&"long".repeat(100));
            span.fail("timeout");
        });
        child.event("half", &[("bytes", 300.into())]);
        child.link(Ids::parse(parent.as_bytes()).unwrap());
        let ids = child.ids().unwrap();
        drop((root, child));

        let spans = queue.spans();
        let [root, child] = &spans[..] else {
            panic!("{spans:?}")
        };
        assert_eq!(root.kind, span::SpanKind::Server as i32);
        assert_eq!(root.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
        assert_eq!((root.flags, &*root.trace_state), (0x301, "a=b"));
        assert_eq!(root.status, None);

        assert_eq!(child.trace_id, ids.trace.to_be_bytes());
        assert_eq!(child.span_id, ids.span.to_be_bytes());
        assert_eq!(child.parent_span_id, root.span_id);
        assert_eq!((child.flags, &*child.trace_state), (0x101, "a=b"));
        assert_eq!(child.kind, span::SpanKind::Client as i32);
        assert!(child.start_time_unix_nano >= root.start_time_unix_nano);
        assert!(child.end_time_unix_nano >= child.start_time_unix_nano);
        let keys: Vec<_> = child.attributes.iter().map(|pair| &*pair.key).collect();
        assert_eq!(keys, ["negative", "size", "error.type"]);
        let numbers: Vec<_> = child.attributes.iter().filter_map(number).collect();
        assert_eq!(numbers, [-5, i64::MAX]);
        let status = child.status.as_ref().unwrap();
        assert_eq!(status.code, status::StatusCode::Error as i32);
        let event = &child.events[0];
        assert_eq!(
            (&*event.name, number(&event.attributes[0])),
            ("half", Some(300))
        );
        assert!(event.time_unix_nano >= child.start_time_unix_nano);
        let link = &child.links[0];
        assert_eq!(link.trace_id, ids.trace.to_be_bytes());
        assert_eq!(link.flags, 0x301);
    }

    #[test]
    fn events_and_links_are_bounded() {
        let queue = Arc::new(Queue::new(10));
        let span = root(&queue);
        for _ in 0..100 {
            span.event("progress", &[]);
            span.link(Ids::random());
        }
        drop(span);
        let span = queue.spans().remove(0);
        assert_eq!((span.events.len(), span.dropped_events_count), (64, 36));
        assert_eq!((span.links.len(), span.dropped_links_count), (16, 84));
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let queue = Arc::new(Queue::new(2));
        for _ in 0..5 {
            drop(root(&queue));
        }
        assert_eq!(queue.spans().len(), 2);
        assert_eq!(queue.count(Fate::QueueFull), 3);
    }

    #[test]
    fn without_a_record_a_part_has_the_ids_of_the_whole() {
        let tracer = Arc::new(Tracer::new(None, 1.0));
        let span = tracer.serve(&HeaderMap::new(), "root");
        assert_eq!(span.child(SpanKind::Internal, "part").ids(), span.ids());
        assert!(!span.is_recording());
    }
}
