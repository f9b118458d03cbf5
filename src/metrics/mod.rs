//! FLOOR 1: what is measured. One set of OpenTelemetry instruments for the whole gateway, recorded by
//! the module that knows the fact, and read as Prometheus text and by OTLP push alike.
//!
//! `instruments` names them all, and `gauges` those that are read instead of recorded. The other files
//! are what modules record with: attributes are made once, for each app, endpoint or method, so that a
//! send allocates nothing for its metrics. Attributes have few values that nobody outside chooses:
//! names of the configuration, methods, codes, reasons. Never what a request says.

mod calls;
mod gauges;
mod instruments;
mod quota;
mod recipients;
mod registry;
mod request_ids;
mod rpc;
mod server;

use self::instruments::Instruments;
pub use self::{
    calls::{Attempt, Calls, Endpoint, Fetches, Wait},
    gauges::{Gauge, Gauges},
    quota::QuotaRefusals,
    recipients::Recipients,
    registry::Registry,
    request_ids::{Repeat, RequestIds},
    rpc::{Method, Rpc},
    server::{Handshake, Handshakes},
};

/// A count of bytes, bound to its attributes.
pub type Bytes = opentelemetry::metrics::BoundCounter<u64>;

/// What is recorded, by subject. Clones share it; each module takes its own part.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Calls of callers.
    pub rpc: Rpc,
    /// Calls to Easemob.
    pub calls: Calls,
    /// Handshakes of connections.
    pub handshakes: Handshakes,
    /// What is read when somebody asks.
    pub gauges: Gauges,
    instruments: Instruments,
}

impl Metrics {
    fn new(meter: &opentelemetry::metrics::Meter) -> Self {
        let instruments = Instruments::new(meter);
        Self {
            rpc: Rpc::new(&instruments),
            calls: Calls::new(&instruments),
            handshakes: Handshakes::new(&instruments),
            gauges: Gauges::new(meter),
            instruments,
        }
    }

    /// Requests of one app that carry an ID.
    pub fn request_ids(&self, app: &str) -> RequestIds {
        RequestIds::new(&self.instruments, app)
    }

    /// Requests to one app that are refused for its quotas.
    pub fn quota_refusals(&self, app: &str) -> QuotaRefusals {
        QuotaRefusals::new(&self.instruments, app)
    }

    /// Recipients of one app.
    pub fn recipients(&self, app: &str) -> Recipients {
        Recipients::new(&self.instruments, app)
    }
}
