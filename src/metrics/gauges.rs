//! What is there already and only has to be read: places taken, limits, ages. Reading costs nothing
//! until somebody asks.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, AsyncInstrumentBuilder, Meter},
};

/// Every gauge: one row a gauge.
macro_rules! gauges {
    ($($gauge:ident: $name:literal, $unit:literal, $description:literal;)*) => {
        /// Something that can be read.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Gauge {
            $(#[doc = $description] $gauge,)*
        }

        const GAUGES: &[(Gauge, &str, &str, &str)] =
            &[$((Gauge::$gauge, $name, $unit, $description),)*];
    };
}

gauges! {
    Build: "easemob_gateway.build.info", "", "Always 1; its labels tell what runs.";
    Ready: "easemob_gateway.ready", "", "1 while calls are taken, else 0.";
    Uptime: "process.uptime", "s", "Time since the gateway was built.";
    TasksActive: "easemob_gateway.tasks.active", "{task}", "Tasks that have not ended: those of connections on either side, of calls, and a few that stay.";
    RequestsActive: "easemob_gateway.requests.active", "{request}", "Requests under way.";
    RequestsLimit: "easemob_gateway.requests.limit", "{request}", "Requests that may be under way.";
    CallsActive: "easemob_gateway.calls.active", "{call}", "Sends that have their turn, by app.";
    CallsLimit: "easemob_gateway.calls.limit", "{call}", "Sends that may have their turn at once, by app.";
    QueueActive: "easemob_gateway.queue.active", "{call}", "Calls that wait for a token or their turn, by app.";
    QueueLimit: "easemob_gateway.queue.limit", "{message}", "Messages of one caller that may wait, by app.";
    QuotaUsed: "easemob_gateway.quota.used", "{message}", "Messages that count against Easemob's quota now (of files: calls), by app and kind.";
    QuotaWaiting: "easemob_gateway.quota.waiting", "{call}", "Calls that wait for their turn, by app and kind.";
    QuotaLeft: "easemob_gateway.quota.left", "{message}", "Messages that Easemob's quota has left now (of files: calls), by app and kind; none where it is switched off.";
    QuotaCallerUsed: "easemob_gateway.quota.caller.used", "{message}", "Messages of one caller that count against Easemob's quota now (of files: calls), by app, kind and caller.";
    QuotaCallerWaiting: "easemob_gateway.quota.caller.waiting", "{call}", "Calls of one caller that wait for their turn, by app, kind and caller.";
    QuotaLimit: "easemob_gateway.quota.limit", "{message}", "Messages that Easemob's quota allows in its time (of files: calls), by app and kind; 0 where it is switched off.";
    TransfersActive: "easemob_gateway.transfers.active", "{transfer}", "Uploads and downloads under way.";
    TransfersLimit: "easemob_gateway.transfers.limit", "{transfer}", "Uploads and downloads that may be under way.";
    ConnectionsActive: "easemob_gateway.connections.active", "{connection}", "Connections being served.";
    ConnectionsLimit: "easemob_gateway.connections.limit", "{connection}", "Connections that may be served.";
    HandshakesActive: "easemob_gateway.handshakes.active", "{connection}", "Connections in their handshake.";
    HandshakesLimit: "easemob_gateway.handshakes.limit", "{connection}", "Connections that may be in their handshake.";
    RecordsActive: "easemob_gateway.store.records", "{record}", "Request IDs that are remembered.";
    RecordBytes: "easemob_gateway.store.active", "By", "Memory that remembered request IDs take.";
    RecordBytesLimit: "easemob_gateway.store.limit", "By", "Memory that remembered request IDs may take.";
    RedisUp: "easemob_gateway.redis.up", "", "Whether Redis answers: 1 or 0.";
    RedisAnswerTime: "easemob_gateway.redis.answer_time", "s", "Mean time of Redis's answers since the last reading; none without an answer.";
    RedisFailures: "easemob_gateway.redis.failed", "{call}", "Calls that Redis did not answer, or not in time.";
    RedisLost: "easemob_gateway.redis.lost", "{loss}", "Times that Redis was found to have lost what it had been told, by what it was: a record or a quota.";
    TokenAge: "easemob_gateway.token.age", "s", "Time since the app's token was fetched; none without a token.";
    TokenTimeLeft: "easemob_gateway.token.time_left", "s", "Time until the app's token is no longer used; none without a token.";
    SpansProcessed: "otel.sdk.processor.span.processed", "{span}", "Spans that were taken from the queue for their export, or dropped.";
    SpansExported: "otel.sdk.exporter.span.exported", "{span}", "Spans that the collector took, or that were lost on their way to it.";
    SpanQueueSize: "otel.sdk.processor.span.queue.size", "{span}", "Spans that wait for their export.";
    SpanQueueCapacity: "otel.sdk.processor.span.queue.capacity", "{span}", "Spans that may wait for their export.";
}

impl Gauge {
    /// Whether it counts what happened, and is a counter to whoever reads it.
    fn only_grows(self) -> bool {
        matches!(
            self,
            Self::RedisFailures | Self::RedisLost | Self::SpansProcessed | Self::SpansExported
        )
    }
}

fn described<'a, I>(
    instrument: AsyncInstrumentBuilder<'a, I, f64>,
    unit: &'static str,
    description: &'static str,
) -> AsyncInstrumentBuilder<'a, I, f64> {
    instrument.with_unit(unit).with_description(description)
}

/// Tells a value, and attributes that come on top.
type Tell<'a> = dyn FnMut(&[KeyValue], f64) + 'a;
type Read = Box<dyn Fn(&mut Tell<'_>) + Send + Sync>;

struct Reading {
    gauge: Gauge,
    attributes: Vec<KeyValue>,
    read: Read,
}

/// What can be read. Clones share it.
#[derive(Clone, Default)]
pub struct Gauges(Arc<Mutex<Vec<Reading>>>);

impl Gauges {
    pub(super) fn new(meter: &Meter) -> Self {
        let gauges = Self::default();
        for &(gauge, name, unit, description) in GAUGES {
            // Weak: what is read has a meter of its own further down, and would keep itself alive.
            let readings = Arc::downgrade(&gauges.0);
            let read = move |instrument: &dyn AsyncInstrument<f64>| {
                if let Some(readings) = readings.upgrade() {
                    observe(&lock(&readings), gauge, instrument);
                }
            };
            if gauge.only_grows() {
                let counter = meter.f64_observable_counter(name);
                let _registered = described(counter, unit, description)
                    .with_callback(read)
                    .build();
            } else {
                let gauge = meter.f64_observable_gauge(name);
                let _registered = described(gauge, unit, description)
                    .with_callback(read)
                    .build();
            }
        }
        gauges
    }

    /// Has this read whenever somebody asks; none leaves it out. Readings of one gauge with the same
    /// attributes, such as those of shards, are added up.
    pub fn observe(
        &self,
        gauge: Gauge,
        attributes: &[KeyValue],
        read: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        self.observe_each(gauge, attributes, move |tell| {
            if let Some(value) = read() {
                tell(&[], value);
            }
        });
    }

    /// The same for something that there are several of: each is told with what tells it from the others.
    pub fn observe_each(
        &self,
        gauge: Gauge,
        attributes: &[KeyValue],
        read: impl Fn(&mut Tell<'_>) + Send + Sync + 'static,
    ) {
        lock(&self.0).push(Reading {
            gauge,
            attributes: attributes.to_vec(),
            read: Box::new(read),
        });
    }

    /// The same for places: how many are taken, and how many there are.
    pub fn observe_places(
        &self,
        (taken, limit): (Gauge, Gauge),
        attributes: &[KeyValue],
        count: usize,
        read: impl Fn() -> usize + Send + Sync + 'static,
    ) {
        self.observe(taken, attributes, move || Some(float(read())));
        self.observe(limit, attributes, move || Some(float(count)));
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 places")]
fn float(count: usize) -> f64 {
    count as f64
}

fn observe(readings: &[Reading], gauge: Gauge, instrument: &dyn AsyncInstrument<f64>) {
    let mut sums: Vec<(Vec<KeyValue>, f64)> = Vec::new();
    for reading in readings.iter().filter(|reading| reading.gauge == gauge) {
        (reading.read)(&mut |more, value| {
            let attributes = [&reading.attributes, more].concat();
            match sums.iter_mut().find(|(known, _)| *known == attributes) {
                Some((_, sum)) => *sum += value,
                None => sums.push((attributes, value)),
            }
        });
    }
    for (attributes, sum) in sums {
        instrument.observe(sum, &attributes);
    }
}

fn lock(readings: &Mutex<Vec<Reading>>) -> MutexGuard<'_, Vec<Reading>> {
    readings.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauges").finish_non_exhaustive()
    }
}
