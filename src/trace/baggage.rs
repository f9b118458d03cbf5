//! What callers say beside their trace. Only keys that the settings name are read: baggage may hold
//! anything.

use http::HeaderMap;
use opentelemetry::{baggage::BaggageExt, propagation::TextMapPropagator};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::BaggagePropagator;

use super::{Span, tracer::BAGGAGE};

/// Longest value that is recorded, in bytes.
const MAX_VALUE: usize = 128;

/// Records the values of these keys.
pub(super) fn record(span: &Span, keys: &[String], headers: &HeaderMap) {
    if keys.is_empty() || !headers.contains_key(BAGGAGE) {
        return;
    }
    let context = BaggagePropagator::new().extract(&HeaderExtractor(headers));
    let baggage = context.baggage();
    span.record(|span| {
        for key in keys {
            if let Some(value) = baggage.get(key) {
                let value = value.as_str();
                let value = &value[..value.floor_char_boundary(MAX_VALUE)];
                span.set(&format!("baggage.{key}"), value);
            }
        }
    });
}
