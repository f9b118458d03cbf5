//! Calls to Easemob: how long each attempt took and how it ended, what it waited for, what it carried.

use std::time::Duration;

use opentelemetry::{
    KeyValue,
    metrics::{BoundHistogram, Counter, Histogram},
};
use tokio::time::Instant;

use super::{Bytes, instruments::Instruments};

/// Outcome of an attempt that gave what was asked for.
const OK: &str = "ok";
/// Outcome of an attempt whose end nobody waited for.
const ABANDONED: &str = "abandoned";

/// See the module.
#[derive(Debug, Clone)]
pub struct Calls {
    duration: Histogram<f64>,
    wait: Histogram<f64>,
    io: Counter<u64>,
    fetches: Counter<u64>,
}

impl Calls {
    pub(super) fn new(instruments: &Instruments) -> Self {
        Self {
            duration: instruments.call_duration.clone(),
            wait: instruments.wait_duration.clone(),
            io: instruments.transfer_io.clone(),
            fetches: instruments.token_fetches.clone(),
        }
    }

    /// One endpoint of an app: `host` is where it is, and `name` how we call it.
    pub fn endpoint(
        &self,
        app: &str,
        host: (&str, u16),
        method: &'static str,
        name: &'static str,
    ) -> Endpoint {
        let attributes = vec![
            KeyValue::new("app", app.to_owned()),
            KeyValue::new("endpoint", name),
            KeyValue::new("http.request.method", method),
            KeyValue::new("server.address", host.0.to_owned()),
            KeyValue::new("server.port", i64::from(host.1)),
        ];
        let mut endpoint = Endpoint {
            ok: None,
            duration: self.duration.clone(),
            attributes,
        };
        let ok = endpoint.attributes_of(OK, Some(200));
        endpoint.ok = Some(self.duration.bind(&ok));
        endpoint
    }

    /// The waits of an app's sends.
    pub fn wait(&self, app: &str) -> Wait {
        let app = KeyValue::new("app", app.to_owned());
        Wait(self.wait.bind(&[app]))
    }

    /// Bytes of an app's files, "upload" or "download".
    pub fn bytes(&self, app: &str, direction: &'static str) -> Bytes {
        let bytes = self.io.bind(&[
            KeyValue::new("app", app.to_owned()),
            KeyValue::new("direction", direction),
        ]);
        bytes.add(0);
        bytes
    }

    /// Fetches of an app's token.
    pub fn fetches(&self, app: &str) -> Fetches {
        let fetches = Fetches {
            app: KeyValue::new("app", app.to_owned()),
            counter: self.fetches.clone(),
        };
        fetches.count(Ok(()), 0);
        fetches
    }
}

/// Attempts at one endpoint of an app.
#[derive(Debug, Clone)]
pub struct Endpoint {
    ok: Option<BoundHistogram<f64>>,
    duration: Histogram<f64>,
    attributes: Vec<KeyValue>,
}

impl Endpoint {
    /// An attempt begins now.
    pub fn attempt(&self) -> Attempt<'_> {
        self.attempt_since(Instant::now())
    }

    /// An attempt that has begun at this time.
    pub fn attempt_since(&self, began: Instant) -> Attempt<'_> {
        Attempt {
            endpoint: self,
            began,
            ended: false,
        }
    }

    fn attributes_of(&self, outcome: &'static str, status: Option<u16>) -> Vec<KeyValue> {
        let mut attributes = self.attributes.clone();
        attributes.push(KeyValue::new("outcome", outcome));
        // A status that HTTP does not have is no label.
        if let Some(status) = status.filter(|status| (100..600).contains(status)) {
            attributes.push(KeyValue::new(
                "http.response.status_code",
                i64::from(status),
            ));
        }
        attributes
    }

    fn record(&self, took: Duration, outcome: &'static str, status: Option<u16>) {
        match &self.ok {
            Some(ok) if outcome == OK => ok.record(took.as_secs_f64()),
            _ => {
                let attributes = self.attributes_of(outcome, status);
                self.duration.record(took.as_secs_f64(), &attributes);
            }
        }
    }
}

/// An attempt under way. Dropped without an end, it counts as abandoned: its time was over, or nobody
/// waited any more.
#[derive(Debug)]
pub struct Attempt<'a> {
    endpoint: &'a Endpoint,
    began: Instant,
    ended: bool,
}

impl Attempt<'_> {
    /// It gave what was asked for.
    pub fn ok(mut self) {
        self.end(OK, Some(200));
    }

    /// It failed: how, and the HTTP status if there was one.
    pub fn failed(mut self, outcome: &'static str, status: Option<u16>) {
        self.end(outcome, status);
    }

    fn end(&mut self, outcome: &'static str, status: Option<u16>) {
        self.ended = true;
        self.endpoint.record(self.began.elapsed(), outcome, status);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.end(ABANDONED, None);
        }
    }
}

/// The waits of an app's sends.
#[derive(Debug, Clone)]
pub struct Wait(BoundHistogram<f64>);

impl Wait {
    /// A send waited for this long.
    pub fn record(&self, waited: Duration) {
        self.0.record(waited.as_secs_f64());
    }
}

/// Fetches of an app's token.
#[derive(Debug, Clone)]
pub struct Fetches {
    app: KeyValue,
    counter: Counter<u64>,
}

impl Fetches {
    /// A fetch has ended.
    pub fn ended(&self, outcome: Result<(), &'static str>) {
        self.count(outcome, 1);
    }

    fn count(&self, outcome: Result<(), &'static str>, count: u64) {
        let outcome = outcome.err().unwrap_or(OK);
        self.counter.add(
            count,
            &[self.app.clone(), KeyValue::new("outcome", outcome)],
        );
    }
}
