//! The `[server]` section: where we listen, and the bounds of what one caller can cost us.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::{grpc_web, tls};

/// Where the gateway listens, and how much of it one caller may take.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port of the gRPC service. Loopback by default, since nobody is asked who they
    /// are until `auth` is set up.
    pub listen: SocketAddr,

    /// Address and port of the operations pages (`/livez`, `/readyz`, `/metrics`). Plain HTTP without
    /// authentication: keep it inside the cluster.
    pub operations_listen: SocketAddr,

    /// The deadline of a call that names none.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub default_deadline: Duration,

    /// The longest deadline; a later one is cut to it, so that no call holds its place for ever.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub max_deadline: Duration,

    /// How long a stopping process waits for what still runs; then connections are cut. Longer
    /// than a send may take, and with some seconds to spare within Kubernetes'
    /// `terminationGracePeriodSeconds`.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub drain_timeout: Duration,

    /// How often certificates, the file of callers and secrets are looked at. What has changed is used
    /// once two looks find the same; SIGHUP has it used at once.
    #[serde(
        deserialize_with = "positive",
        serialize_with = "humantime_serde::serialize"
    )]
    #[schemars(with = "String")]
    pub reload_interval: Duration,

    /// How many threads serve connections, each with a runtime and a client for Easemob of its own,
    /// so that a request stays on its thread. Left out: one a core.
    #[schemars(example = 4)]
    pub shards: Option<NonZeroUsize>,

    /// Connections served at once. An idle one takes 17 KiB. At worst, each holds
    /// `http2.connection_window_bytes` received and not yet read, and a quarter more to manage it:
    /// keep all windows together under half of the process's memory.
    #[serde(deserialize_with = "within::<_, _, 1, 1_000_000>")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: usize,

    /// Connections that have not yet said what they want. They are bounded apart from those served,
    /// and at the bound the oldest one goes, so that silent peers cannot lock a good one out.
    #[serde(deserialize_with = "within::<_, _, 1, 1_000_000>")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_handshakes: usize,

    /// How long a new connection may take to its first HTTP/2 bytes and a place among those served.
    /// An honest peer needs a round trip.
    #[serde(
        deserialize_with = "positive",
        serialize_with = "humantime_serde::serialize"
    )]
    #[schemars(with = "String")]
    pub handshake_timeout: Duration,

    /// Age, give or take a tenth, at which a connection is asked to be opened anew: after scaling
    /// out, this is what brings callers to the new replicas.
    #[serde(
        deserialize_with = "positive",
        serialize_with = "humantime_serde::serialize"
    )]
    #[schemars(with = "String")]
    pub connection_age: Duration,

    /// How long a connection that is too old may finish what runs on it before it is cut. As long as
    /// the longest call there is.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub connection_age_grace: Duration,

    /// Requests in work at once, over all connections. One more is refused at once, instead of
    /// waiting until its caller has given up. Where there are several apps, each has a share of its own
    /// that no other can take: seven sixteenths of all, divided by their number.
    #[serde(deserialize_with = "within::<_, _, 1, 1_000_000>")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_requests_in_flight: usize,

    /// `SendMessages` streams open at once, over all connections. One more is refused at once.
    #[serde(deserialize_with = "within::<_, _, 1, 100_000>")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_send_streams: usize,

    /// Requests of one `SendMessages` stream in work at once; each also counts among
    /// `max_requests_in_flight`. The next one is read when one of them is answered.
    #[serde(deserialize_with = "within::<_, _, 1, 10_000>")]
    #[schemars(range(min = 1, max = 10_000))]
    pub requests_per_send_stream: usize,

    /// Largest message of a request, in bytes; it has room for 10,000 recipients. Chunks of a file
    /// are far smaller.
    #[serde(deserialize_with = "within::<_, _, 1024, 16_777_216>")]
    #[schemars(range(min = 1024, max = 16_777_216))]
    pub max_request_bytes: usize,

    /// What we allow a peer within one HTTP/2 connection.
    pub http2: Http2,

    /// gRPC-Web, for pages in browsers, on a port of its own. Left out: there is none.
    pub grpc_web: grpc_web::Config,

    /// TLS 1.2 and 1.3 on the ports of gRPC and gRPC-Web. Left out: plaintext, for loopback and for a mesh that encrypts.
    /// The files are read again whenever they change; a connection keeps what it began with.
    pub tls: tls::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 50051).into(),
            operations_listen: (Ipv4Addr::LOCALHOST, 9090).into(),
            default_deadline: Duration::from_secs(15),
            max_deadline: Duration::from_secs(600),
            drain_timeout: Duration::from_secs(40),
            reload_interval: Duration::from_secs(5),
            shards: None,
            max_connections: 1000,
            max_handshakes: 256,
            handshake_timeout: Duration::from_secs(5),
            connection_age: Duration::from_secs(600),
            connection_age_grace: Duration::from_secs(15 * 60),
            max_requests_in_flight: 512,
            max_send_streams: 256,
            requests_per_send_stream: 32,
            max_request_bytes: 1024 * 1024,
            http2: Http2::default(),
            grpc_web: grpc_web::Config::default(),
            tls: tls::Config::default(),
        }
    }
}

impl Config {
    /// A port of callers that others than this machine can reach, and the setting that names it.
    pub fn beyond_loopback(&self) -> Option<(&'static str, SocketAddr)> {
        let web = self.grpc_web.listen.iter();
        let web = web.map(|&listen| ("server.grpc_web.listen", listen));
        let mut ports = [("server.listen", self.listen)].into_iter().chain(web);
        ports.find(|(_, listen)| !listen.ip().is_loopback())
    }
}

/// What we allow a peer within one HTTP/2 connection. Every bound is set, since the libraries'
/// own defaults leave some of them open.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Http2 {
    /// Calls at once on a connection. A caller that opens more sees `REFUSED_STREAM`, which says
    /// that nothing was done, so its library may try again by itself.
    #[serde(deserialize_with = "within::<_, _, 1, 10_000>")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_concurrent_streams: u32,

    /// Bytes that a caller may send ahead of our reading, for each call. This is what an upload
    /// that Easemob does not take holds in memory; 128 KiB carry 120 MB/s over a round trip of 1 ms.
    #[serde(deserialize_with = "within::<_, _, 65_535, 16_777_216>")]
    #[schemars(range(min = 65_535, max = 16_777_216))]
    pub stream_window_bytes: u32,

    /// The same for all calls of a connection together: the most memory that it can make us hold.
    #[serde(deserialize_with = "within::<_, _, 65_535, 16_777_216>")]
    #[schemars(range(min = 65_535, max = 16_777_216))]
    pub connection_window_bytes: u32,

    /// Largest frame that we take, in bytes. Uploads cost less in large ones; many clients never send more
    /// than the 16 KiB that everybody has to take.
    #[serde(deserialize_with = "within::<_, _, 16_384, 1_048_576>")]
    #[schemars(range(min = 16_384, max = 1_048_576))]
    pub max_frame_bytes: u32,

    /// Largest header list (metadata) of a call, in bytes. Above it HTTP/2 itself answers with
    /// status 431, which clients show as `UNKNOWN`, and no handler sees the call.
    #[serde(deserialize_with = "within::<_, _, 4_096, 1_048_576>")]
    #[schemars(range(min = 4_096, max = 1_048_576))]
    pub header_list_bytes: u32,

    /// Bytes of an answer that wait in memory for a peer that does not read, for each call.
    /// Answers are small; a download waits at its source instead.
    #[serde(deserialize_with = "within::<_, _, 16_384, 16_777_216>")]
    #[schemars(range(min = 16_384, max = 16_777_216))]
    pub send_buffer_bytes: usize,

    /// Calls that a peer may open and take back before we have looked at them; one more ends the
    /// connection (the "rapid reset" attack).
    #[serde(deserialize_with = "within::<_, _, 1, 10_000>")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_pending_resets: usize,

    /// Calls of a connection that we had to reset for the peer's mistakes; one more ends it, since
    /// making us reset is the same attack from the other side.
    #[serde(deserialize_with = "within::<_, _, 1, 100_000>")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_error_resets: usize,

    /// A quiet connection is sent a PING this often, which finds dead peers and keeps proxies from
    /// forgetting it.
    #[serde(
        deserialize_with = "positive",
        serialize_with = "humantime_serde::serialize"
    )]
    #[schemars(with = "String")]
    pub keepalive_interval: Duration,

    /// How long the answer to that PING may take before the connection is closed.
    #[serde(
        deserialize_with = "positive",
        serialize_with = "humantime_serde::serialize"
    )]
    #[schemars(with = "String")]
    pub keepalive_timeout: Duration,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 100,
            stream_window_bytes: 128 * 1024,
            connection_window_bytes: 256 * 1024,
            max_frame_bytes: 64 * 1024,
            header_list_bytes: 16 * 1024,
            send_buffer_bytes: 64 * 1024,
            max_pending_resets: 20,
            max_error_resets: 1024,
            keepalive_interval: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(20),
        }
    }
}

/// A number that the HTTP library would not take, or that serves nobody, is an error of its key.
pub(super) fn within<'de, D, N, const MIN: u32, const MAX: u32>(
    deserializer: D,
) -> Result<N, D::Error>
where
    D: Deserializer<'de>,
    N: TryFrom<u32>,
{
    let number = i64::deserialize(deserializer)?;
    u32::try_from(number)
        .ok()
        .filter(|number| (MIN..=MAX).contains(number))
        .and_then(|number| N::try_from(number).ok())
        .ok_or_else(|| D::Error::custom(format_args!("{number} is not within {MIN} to {MAX}")))
}

/// A duration of which zero would mean that nothing works.
pub(super) fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let duration: Duration = humantime_serde::deserialize(deserializer)?;
    if duration.is_zero() {
        return Err(D::Error::custom("must be longer than zero"));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(section: &str) -> Result<Config, String> {
        toml::from_str(section).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn what_is_left_out_keeps_its_default() {
        let config = read("drain_timeout = '1m 5s'\n[http2]\nmax_concurrent_streams = 7").unwrap();
        assert_eq!(config.drain_timeout, Duration::from_secs(65));
        assert_eq!(config.connection_age, Config::default().connection_age);
        assert_eq!(config.http2.max_concurrent_streams, 7);
        assert_eq!(config.http2.max_pending_resets, 20);
    }

    #[test]
    fn numbers_that_cannot_be_meant_are_refused() {
        for (section, wrong) in [
            ("max_connections = 0", "0 is not within 1 to 1000000"),
            ("max_handshakes = -1", "-1 is not within 1 to 1000000"),
            (
                "[http2]\nmax_frame_bytes = 8_000",
                "8000 is not within 16384 to 1048576",
            ),
            ("handshake_timeout = '0s'", "must be longer than zero"),
        ] {
            assert_eq!(read(section).unwrap_err(), wrong, "{section}");
        }
        assert!(read("shards = 0").is_err());
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = read("listne = '127.0.0.1:1'").unwrap_err();
        assert!(error.starts_with("unknown field `listne`"), "{error}");
    }

    /// The rule that keeps callers from filling our memory, for a pod of 512 MiB.
    #[test]
    fn windows_fit_in_half_the_memory() {
        let Config {
            max_connections,
            http2,
            ..
        } = Config::default();
        let window = usize::try_from(http2.connection_window_bytes).unwrap();
        assert!(max_connections * window <= 256 << 20);
    }
}
