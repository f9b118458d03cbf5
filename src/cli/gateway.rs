//! Which gateway a command calls, how long that may take, and the connection.

use std::{
    error::Error,
    io,
    time::{Duration, Instant},
};

use clap::Args;
use http::Uri;
use rustls::CertificateError;
use tonic::{Code, Status, service::interceptor::InterceptedService, transport::Endpoint};

use super::{
    credentials::{Credentials, Key},
    problem::Problem,
    trace::{Noting, Trace},
};
use crate::proto::messaging_service_client::MessagingServiceClient;

/// Time for a connection, where the command has more.
const CONNECT: Duration = Duration::from_secs(15);
/// Time of silence after which the gateway is asked whether it is there, and has to answer.
const ALIVE: Duration = Duration::from_secs(20);

/// Time for a send without an upload.
pub(super) const SEND: Duration = Duration::from_secs(15);
/// Time for an upload or a download: what the gateway gives one unless its settings say otherwise.
pub(super) const TRANSFER: Duration = Duration::from_secs(15 * 60);

/// The options that name the gateway.
#[derive(Debug, Args)]
#[command(next_help_heading = "Gateway")]
pub(super) struct Gateway {
    /// Where the gateway listens for gRPC.
    // `url` is what a file's URL is called.
    #[arg(
        id = "gateway",
        long,
        value_name = "URL",
        env = "EASEMOB_GATEWAY_URL",
        default_value = "http://127.0.0.1:50051",
        value_parser = gateway_url
    )]
    pub(super) url: Uri,
    /// How long it may take, connecting included: 500ms, 15s, 1m. Left out: 15s, and 15m for uploads
    /// and downloads.
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    pub(super) timeout: Option<Duration>,
    /// The trace of the call, once there is an answer.
    #[arg(skip)]
    pub(super) trace: Trace,
    #[command(flatten)]
    pub(super) credentials: Credentials,
}

/// A client that sends the caller's key with each call, and notes the trace of its answer.
pub(super) type Client = MessagingServiceClient<InterceptedService<Noting, Key>>;

/// A client, and the time that is left for its call.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) left: Duration,
    due: Instant,
}

impl Connection {
    /// Whether the time is over. The channel has a timer of its own, and calls what it ends CANCELLED.
    pub(super) fn is_overdue(&self) -> bool {
        Instant::now() >= self.due
    }
}

impl Gateway {
    /// The URL as it was given.
    pub(super) fn name(&self) -> String {
        self.url.to_string().trim_end_matches('/').to_owned()
    }

    /// Time for the command, in words.
    pub(super) fn time(&self, default: Duration) -> String {
        humantime::format_duration(self.timeout.unwrap_or(default)).to_string()
    }

    /// Connects. Until then, nothing can have been sent.
    pub(super) async fn connect(&self, default: Duration) -> Result<Connection, Problem> {
        let limit = self.timeout.unwrap_or(default);
        let due = Instant::now() + limit;
        let unusable = |what| Problem::not_sent(Code::InvalidArgument, what);
        let key = self.credentials.key().map_err(unusable)?;
        let tls = self.credentials.tls(&self.url).map_err(unusable)?;
        let endpoint = Endpoint::from(self.url.clone())
            .http2_keep_alive_interval(ALIVE)
            .keep_alive_timeout(ALIVE)
            .user_agent(concat!("easemob-gateway/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| self.not_connected(&error))?;
        let endpoint = match tls {
            None => endpoint,
            Some(tls) => endpoint
                .tls_config(tls)
                .map_err(|error| self.not_connected(&error))?,
        };
        let time = limit.min(CONNECT);
        let connected = tokio::time::timeout(time, endpoint.connect()).await;
        let left = due.saturating_duration_since(Instant::now());
        match connected {
            Ok(Err(error)) => Err(self.not_connected(&error)),
            Ok(Ok(channel)) if !left.is_zero() => Ok(Connection {
                client: MessagingServiceClient::with_interceptor(self.trace.note(channel), key),
                left,
                due,
            }),
            Ok(Ok(_)) | Err(_) => {
                let what = format!(
                    "no connection to {} within {}. Check --gateway, or give more --timeout.",
                    self.name(),
                    humantime::format_duration(time),
                );
                Err(Problem::not_sent(Code::DeadlineExceeded, what))
            }
        }
    }

    fn not_connected(&self, error: &(dyn Error + 'static)) -> Problem {
        let root = root_cause(error);
        let refused = root
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        let name = self.name();
        let tls = root
            .downcast_ref::<io::Error>()
            .and_then(|error| error.get_ref()?.downcast_ref::<rustls::Error>());
        let what = if let Some(error) = tls {
            format!("no connection to {name}: {}", untrusted(error))
        } else if self.url.scheme_str() == Some("https") && is_hung_up(root) {
            format!(
                "no connection to {name}: it hung up when TLS began. If it has no TLS, write http:// in its URL."
            )
        } else if refused {
            format!(
                "nothing listens at {name}. Start a gateway with `easemob-gateway dev`, or name another one by \
                 --gateway or EASEMOB_GATEWAY_URL."
            )
        } else {
            format!("no connection to {name}: {root}. Check --gateway.")
        };
        Problem::not_sent(Code::Unavailable, what)
    }
}

/// Whether the other side ended the connection: a gateway without TLS does so to those who begin it.
fn is_hung_up(error: &(dyn Error + 'static)) -> bool {
    let kind = error.downcast_ref().map(io::Error::kind);
    matches!(
        kind,
        Some(
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::BrokenPipe
        )
    )
}

/// Why TLS failed, and what to do.
fn untrusted(error: &rustls::Error) -> String {
    let what = match error {
        rustls::Error::InvalidMessage(_) => {
            return "it does not speak TLS. Write http:// in its URL, or name its gRPC port."
                .into();
        }
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                return "its certificate has expired. Tell its operator, or set the clock of this machine.".into();
            }
            CertificateError::UnknownIssuer => {
                return "its certificate is by an authority that is not trusted here. Name that authority by --ca.".into();
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                return "its certificate is for another host. Name the gateway by the name that is in it.".into();
            }
            other => format!("its certificate is not accepted ({other})"),
        },
        other => other.to_string(),
    };
    format!("{what}. Check --gateway, --ca and --cert.")
}

/// What an error that no gateway made says for itself.
pub(super) fn untold(status: &Status) -> String {
    let what = status.message();
    match status.source() {
        Some(source) => format!("{what}: {}", root_cause(source)),
        None => what.to_owned(),
    }
}

fn root_cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

fn gateway_url(text: &str) -> Result<Uri, String> {
    let uri: Uri = text
        .parse()
        .map_err(|error| format!("{error}; it looks like http://127.0.0.1:50051"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err("needs http:// or https:// in front: http://127.0.0.1:50051".into()),
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Err("may hold only host and port: http://127.0.0.1:50051".into());
    }
    Ok(uri)
}

/// gRPC has no room for very long times, and the gateway cuts them to minutes anyway.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; it looks like 500ms, 15s or 1m"))?;
    if timeout > MAX_TIMEOUT {
        return Err("is longer than a day".into());
    }
    Ok(timeout)
}
