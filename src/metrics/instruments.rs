//! Every instrument that is recorded: name, unit, meaning, buckets. Names of OpenTelemetry's
//! conventions where there is one.

use opentelemetry::metrics::{Counter, Histogram, Meter};

/// Upper bounds in seconds: from a send on a quiet network to the longest upload.
const SECONDS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0, 300.0,
];

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Instruments {
    pub(super) rpc_duration: Histogram<f64>,
    pub(super) errors: Counter<u64>,
    pub(super) recipients: Counter<u64>,
    pub(super) call_duration: Histogram<f64>,
    pub(super) wait_duration: Histogram<f64>,
    pub(super) token_fetches: Counter<u64>,
    pub(super) transfer_io: Counter<u64>,
    pub(super) handshakes: Counter<u64>,
    pub(super) request_ids: Counter<u64>,
    pub(super) quota_refused: Counter<u64>,
}

impl Instruments {
    pub(super) fn new(meter: &Meter) -> Self {
        let histogram = |name: &'static str, description: &'static str| {
            meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(description)
                .with_boundaries(SECONDS.to_vec())
                .build()
        };
        let counter = |name: &'static str, unit: &'static str, description: &'static str| {
            meter
                .u64_counter(name)
                .with_unit(unit)
                .with_description(description)
                .build()
        };
        Self {
            rpc_duration: histogram(
                "rpc.server.call.duration",
                "Calls of callers, from the request's head to the answer's end, by method and code.",
            ),
            errors: counter(
                "easemob_gateway.errors",
                "{call}",
                "Calls that ended in an error, by method, reason and who can mend it.",
            ),
            recipients: counter(
                "easemob_gateway.recipients",
                "{recipient}",
                "Recipients of messages, by app, kind of target, state and reason.",
            ),
            call_duration: histogram(
                "http.client.request.duration",
                "Attempts at calls to Easemob, from the request to the answer's last byte, by app, endpoint and outcome.",
            ),
            wait_duration: histogram(
                "easemob_gateway.wait.duration",
                "How long sends waited for a token and their turn, by app.",
            ),
            token_fetches: counter(
                "easemob_gateway.token.fetches",
                "{fetch}",
                "Tokens asked of Easemob, by app and outcome.",
            ),
            transfer_io: counter(
                "easemob_gateway.transfer.io",
                "By",
                "Bytes of files, by app and direction.",
            ),
            handshakes: counter(
                "easemob_gateway.handshakes",
                "{handshake}",
                "Connections by how their handshake went.",
            ),
            request_ids: counter(
                "easemob_gateway.request_ids",
                "{request}",
                "Requests that carry an ID, by app and what is remembered of it.",
            ),
            quota_refused: counter(
                "easemob_gateway.quota.refused",
                "{request}",
                "Requests that the gateway refused for Easemob's quota, by app, kind, caller and cause.",
            ),
        }
    }
}
