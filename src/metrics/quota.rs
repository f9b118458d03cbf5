//! Requests that were refused for Easemob's quota.

use opentelemetry::{KeyValue, metrics::Counter};

use super::instruments::Instruments;

/// Requests to one app that were refused for its quotas.
#[derive(Debug, Clone)]
pub struct QuotaRefusals {
    app: KeyValue,
    counter: Counter<u64>,
}

impl QuotaRefusals {
    pub(super) fn new(instruments: &Instruments, app: &str) -> Self {
        Self {
            app: KeyValue::new("app", app.to_owned()),
            counter: instruments.quota_refused.clone(),
        }
    }

    /// One was refused: of which kind, whose, and why. Callers are those of the settings.
    pub fn refused(&self, kind: &'static str, caller: &str, cause: &'static str) {
        let attributes = [
            self.app.clone(),
            KeyValue::new("caller", caller.to_owned()),
            KeyValue::new("cause", cause),
            KeyValue::new("kind", kind),
        ];
        self.counter.add(1, &attributes);
    }
}
