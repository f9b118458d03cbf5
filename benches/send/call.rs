//! What the load generator sends: bytes made once, in which only a request ID changes from call to call.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use easemob_gateway::proto::SendMessageRequest;
use http::{HeaderValue, Request, header};

use crate::message;

/// Digits of a request ID, as many as a UUID's without hyphens.
const ID_DIGITS: usize = 32;
/// No request ID comes twice in a run of the suite.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// What calls differ in. All that there is of a kind is used by turns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) recipients: usize,
    /// Apps that are named, `app-0` and so on. None: the only one there is.
    pub(crate) apps: usize,
    /// Callers with a key. None: nobody says who he is.
    pub(crate) callers: usize,
    pub(crate) request_ids: bool,
}

impl Options {
    /// One recipient, nobody's key and no request ID.
    pub(crate) const PLAIN: Self = Self {
        recipients: 1,
        apps: 0,
        callers: 0,
        request_ids: false,
    };
}

/// The calls of a load.
#[derive(Debug, Clone)]
pub(crate) struct Calls(Arc<Prepared>);

#[derive(Debug)]
struct Prepared {
    head: Request<()>,
    keys: Vec<HeaderValue>,
    bodies: Vec<Body>,
    recipients: usize,
}

#[derive(Debug)]
struct Body {
    bytes: Bytes,
    /// Where the request ID stands.
    id: Option<usize>,
}

/// Key of a caller.
pub(crate) fn key(caller: usize) -> String {
    format!("egk_{caller:048x}")
}

impl Calls {
    /// Unary calls.
    pub(crate) fn new(address: SocketAddr, options: Options) -> anyhow::Result<Self> {
        let frame = |request: &SendMessageRequest| message::frame(request);
        Self::with(address, message::METHOD, options, frame)
    }

    /// Calls of a method, whose messages `frame` makes.
    pub(crate) fn with(
        address: SocketAddr,
        method: &str,
        options: Options,
        frame: impl Fn(&SendMessageRequest) -> anyhow::Result<Bytes>,
    ) -> anyhow::Result<Self> {
        let head = Request::post(format!("http://{address}{method}"))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(())?;
        let keys = (0..options.callers).map(|caller| format!("Bearer {}", key(caller)).parse());
        let bodies = (0..options.apps.max(1)).map(|app| {
            let mut request = message::request(options.recipients);
            if options.apps > 0 {
                request.app = format!("app-{app}");
            }
            let no_id = "0".repeat(ID_DIGITS);
            if options.request_ids {
                request.request_id.clone_from(&no_id);
            }
            let bytes = frame(&request)?;
            let mut places = bytes.windows(ID_DIGITS);
            let id = places.position(|place| place == no_id.as_bytes());
            anyhow::Ok(Body { bytes, id })
        });
        Ok(Self(Arc::new(Prepared {
            keys: keys.collect::<Result<_, _>>().context("a key")?,
            bodies: bodies.collect::<Result<_, _>>()?,
            head,
            recipients: options.recipients,
        })))
    }

    /// The head of one call.
    pub(crate) fn head(&self, number: usize) -> Request<()> {
        let mut head = self.0.head.clone();
        if !self.0.keys.is_empty() {
            let key = self.0.keys[number % self.0.keys.len()].clone();
            head.headers_mut().insert(header::AUTHORIZATION, key);
        }
        head
    }

    /// Its message.
    pub(crate) fn body(&self, number: usize) -> Bytes {
        let body = &self.0.bodies[number % self.0.bodies.len()];
        let Some(at) = body.id else {
            return body.bytes.clone();
        };
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let mut bytes = BytesMut::from(&*body.bytes);
        bytes[at..at + ID_DIGITS].copy_from_slice(format!("{id:032}").as_bytes());
        bytes.freeze()
    }

    /// How many must be told to have been accepted.
    pub(crate) fn recipients(&self) -> usize {
        self.0.recipients
    }
}
