//! What is measured: every question of an operator has its metric, and no request can add a series.

mod cardinality;
mod failures;
mod places;
mod request_ids;
mod sends;

/// Calls of callers, counted by method and code.
const RPC: &str = "rpc_server_call_duration_seconds_count";
/// Attempts at calls to Easemob, counted by endpoint and outcome.
const CALLS: &str = "http_client_request_duration_seconds_count";
const RECIPIENTS: &str = "easemob_gateway_recipients_total";
const ERRORS: &str = "easemob_gateway_errors_total";
const WAITS: &str = "easemob_gateway_wait_duration_seconds_count";
const FETCHES: &str = "easemob_gateway_token_fetches_total";
const BYTES: &str = "easemob_gateway_transfer_io_bytes_total";
const HANDSHAKES: &str = "easemob_gateway_handshakes_total";

/// A label with the full name of a method of ours.
macro_rules! method {
    ($method:literal) => {
        (
            "rpc_method",
            concat!("easemob.messaging.v1.MessagingService/", $method),
        )
    };
}
use method;
