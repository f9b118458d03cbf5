//! Calls of callers.

use std::{sync::Arc, time::Duration};

use opentelemetry::{
    KeyValue,
    metrics::{BoundHistogram, Counter, Histogram},
};

use super::instruments::Instruments;

/// What the conventions call a method that is none of ours.
const OTHER: &str = "_OTHER";

/// See the module.
#[derive(Debug, Clone)]
pub struct Rpc {
    duration: Histogram<f64>,
    errors: Counter<u64>,
}

impl Rpc {
    pub(super) fn new(instruments: &Instruments) -> Self {
        Self {
            duration: instruments.rpc_duration.clone(),
            errors: instruments.errors.clone(),
        }
    }

    /// A method by its full name; none stands for all that are not ours.
    pub fn method(&self, name: Option<&'static str>) -> Arc<Method> {
        let method = KeyValue::new("rpc.method", name.unwrap_or(OTHER));
        Arc::new(Method {
            ok: self.duration.bind(&attributes(&method, "OK")),
            rpc: self.clone(),
            method,
        })
    }
}

/// Calls of one method.
#[derive(Debug)]
pub struct Method {
    ok: BoundHistogram<f64>,
    rpc: Rpc,
    method: KeyValue,
}

impl Method {
    /// A call has ended well.
    pub fn ok(&self, took: Duration) {
        self.ok.record(took.as_secs_f64());
    }

    /// A call has ended with this code.
    pub fn failed(&self, took: Duration, code: &'static str) {
        self.rpc
            .duration
            .record(took.as_secs_f64(), &attributes(&self.method, code));
    }

    /// Why it failed, and who can mend it.
    pub fn error(&self, reason: &'static str, fault: &'static str) {
        let attributes = [
            KeyValue::new("fault", fault),
            KeyValue::new("reason", reason),
            self.method.clone(),
        ];
        self.rpc.errors.add(1, &attributes);
    }
}

fn attributes(method: &KeyValue, code: &'static str) -> [KeyValue; 3] {
    [
        method.clone(),
        KeyValue::new("rpc.response.status_code", code),
        KeyValue::new("rpc.system.name", "grpc"),
    ]
}
