//! Where traces begin: the caller's, or our own, recorded or not.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use opentelemetry::trace::TraceState;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Ids, Queue, Span, SpanKind, baggage,
    span::{Carried, Parent},
};

// Made once: a name given as text is read anew for each request.
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(super) const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// How much of a trace's context Easemob is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Propagate {
    /// Nothing.
    #[default]
    None,
    /// `traceparent` and `tracestate`: IDs.
    Trace,
    /// `baggage`, too: whatever callers put into it.
    TraceAndBaggage,
}

/// Begins traces. One for the process.
#[derive(Debug, Default)]
pub struct Tracer {
    queue: Option<Arc<Queue>>,
    /// Of 2^63: trace IDs below it are recorded.
    threshold: u64,
    pub(super) propagate: Propagate,
    baggage_keys: Vec<String>,
}

impl Tracer {
    /// A tracer that records this share of the traces that begin here, from 0 to 1. Without a queue
    /// none is recorded, and requests have IDs all the same.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within 0 and 2^63"
    )]
    pub fn new(queue: Option<Arc<Queue>>, ratio: f64) -> Self {
        Self {
            queue,
            threshold: (ratio.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64,
            ..Self::default()
        }
    }

    /// The same, telling Easemob so much.
    pub fn propagating(self, propagate: Propagate) -> Self {
        Self { propagate, ..self }
    }

    /// The same, recording the values of these keys of a caller's baggage.
    pub fn with_baggage_keys(self, keys: impl IntoIterator<Item = String>) -> Self {
        Self {
            baggage_keys: keys.into_iter().collect(),
            ..self
        }
    }

    /// Where spans end, if any is recorded.
    pub fn queue(&self) -> Option<&Arc<Queue>> {
        self.queue.as_ref()
    }

    /// The span of a request that came with these headers. Whether it is recorded is decided here,
    /// for all that follows from it: as the caller has decided, else by the ratio.
    pub fn serve(self: &Arc<Self>, headers: &HeaderMap, name: &'static str) -> Span {
        let (span, parent) = self.receive(headers);
        let Some(queue) = self.queue.as_ref().filter(|_| span.ids.sampled) else {
            return span;
        };
        let state = headers
            .get(TRACESTATE)
            .filter(|_| !matches!(parent, Parent::None));
        let state = state.and_then(|state| state.to_str().ok());
        // What is none is not spread.
        let state = state.filter(|state| state.parse::<TraceState>().is_ok());
        let state = state.map(Arc::from);
        let span = span.recorded(queue, parent, state, SpanKind::Server, name);
        baggage::record(&span, &self.baggage_keys, headers);
        span
    }

    /// The same for a request that is never recorded.
    pub fn identify(self: &Arc<Self>, headers: &HeaderMap) -> Span {
        self.receive(headers).0
    }

    fn receive(self: &Arc<Self>, headers: &HeaderMap) -> (Span, Parent) {
        let received = headers
            .get(TRACEPARENT)
            .and_then(|header| Ids::parse(header.as_bytes()));
        let (ids, parent) = match received {
            Some(caller) => (caller.child(), Parent::Remote(caller.span)),
            None => {
                let ids = Ids::random();
                let sampled = self.queue.is_some() && self.samples(ids.trace);
                (Ids { sampled, ..ids }, Parent::None)
            }
        };
        let span = Span {
            ids,
            tracer: Some(Arc::clone(self)),
            carried: self.carried(headers, received.is_some()),
            recording: None,
        };
        (span, parent)
    }

    /// The decision of OpenTelemetry's own ratio sampler, so that all services that have the same ratio
    /// decide alike.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half of the ID")]
    fn samples(&self, trace: u128) -> bool {
        (trace as u64) >> 1 < self.threshold
    }

    /// What is passed on as it came.
    fn carried(&self, headers: &HeaderMap, has_parent: bool) -> Option<Arc<Carried>> {
        let header = |name: HeaderName| headers.get(name).cloned();
        let state = match self.propagate {
            Propagate::None => return None,
            // It belongs to the trace that its `traceparent` names.
            _ => header(TRACESTATE).filter(|_| has_parent),
        };
        let baggage = match self.propagate {
            Propagate::TraceAndBaggage => header(BAGGAGE),
            _ => None,
        };
        (state.is_some() || baggage.is_some()).then(|| Arc::new(Carried { state, baggage }))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use opentelemetry_proto::tonic::common::v1::any_value;

    use super::*;

    fn headers(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let headers = headers.iter();
        headers
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    fn tracer(ratio: f64) -> Arc<Tracer> {
        Arc::new(Tracer::new(Some(Arc::new(Queue::new(10))), ratio))
    }

    const SAMPLED: (&str, &str) = (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
    );
    const UNSAMPLED: (&str, &str) = (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00",
    );

    #[test]
    fn the_callers_decision_goes_before_the_ratio() {
        assert!(tracer(0.0).serve(&headers(&[SAMPLED]), "x").is_recording());
        assert!(
            !tracer(1.0)
                .serve(&headers(&[UNSAMPLED]), "x")
                .is_recording()
        );
        assert!(tracer(1.0).serve(&headers(&[]), "x").is_recording());
        assert!(!tracer(0.0).serve(&headers(&[]), "x").is_recording());
    }

    #[test]
    fn the_ratio_is_the_share_of_the_traces_that_begin_here() {
        let tracer = tracer(0.25);
        let sampled = (0..10_000).filter(|_| tracer.samples(Ids::random().trace));
        let sampled = sampled.count();
        // Far beyond what chance does.
        assert!((2_000..3_000).contains(&sampled), "{sampled}");
    }

    #[test]
    fn only_what_is_set_is_passed_on() {
        let headers = headers(&[SAMPLED, ("tracestate", "a=b"), ("baggage", "user=amy")]);
        for (propagate, expected) in [
            (Propagate::None, vec![]),
            (Propagate::Trace, vec!["traceparent", "tracestate"]),
            (
                Propagate::TraceAndBaggage,
                vec!["baggage", "traceparent", "tracestate"],
            ),
        ] {
            for ratio in [0.0, 1.0] {
                let tracer = Tracer::new(None, ratio).propagating(propagate);
                let span = Arc::new(tracer).serve(&headers, "x");
                let mut out = HeaderMap::new();
                span.inject(&mut out);
                let mut names: Vec<_> = out.keys().map(|name| name.as_str()).collect();
                names.sort_unstable();
                assert_eq!(names, expected);
            }
        }
    }

    #[test]
    fn baggage_is_recorded_by_key_alone() {
        let queue = Arc::new(Queue::new(10));
        let tracer = Tracer::new(Some(Arc::clone(&queue)), 1.0)
            .with_baggage_keys(["tenant".to_owned(), "absent".to_owned()]);
        let headers = headers(&[("baggage", "user=amy,tenant=blue%20one;ttl=1")]);
        drop(Arc::new(tracer).serve(&headers, "x"));
        let spans = queue.spans();
        let [tenant] = &spans[0].attributes[..] else {
            panic!("{spans:?}")
        };
        let value = tenant.value.clone().and_then(|value| value.value);
        assert_eq!(tenant.key, "baggage.tenant");
        assert_eq!(
            value,
            Some(any_value::Value::StringValue("blue one".to_owned()))
        );
    }
}
