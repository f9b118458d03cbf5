//! An endpoint of one app's REST API: its URL, and what every span of a call to it says, made once.
//! And a call as a span sees it: an attempt.

use http::{HeaderMap, HeaderValue, Uri};
use opentelemetry_semantic_conventions::attribute::{
    HTTP_REQUEST_METHOD, HTTP_REQUEST_RESEND_COUNT, HTTP_RESPONSE_STATUS_CODE, SERVER_ADDRESS,
    SERVER_PORT, URL_FULL, URL_TEMPLATE,
};
use url::{Position, Url};

use super::SetupError;
use crate::{
    app::App,
    message::Kind,
    trace::{Attributes, Span},
};

/// Where calls go.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) url: Url,
    /// The same, as HTTP has it.
    pub(super) uri: Uri,
    /// The header that names the host.
    pub(super) host: HeaderValue,
    span_name: &'static str,
    attributes: Attributes,
}

impl Endpoint {
    /// The endpoint for messages to targets of this kind.
    pub(super) fn send(app: &App, kind: Kind) -> Result<Self, SetupError> {
        let name = match kind {
            Kind::Users => "POST /messages/users",
            Kind::Groups => "POST /messages/chatgroups",
            Kind::GroupMembers => "POST /messages/chatgroups/users",
            Kind::Chatrooms => "POST /messages/chatrooms",
            Kind::ChatroomMembers => "POST /messages/chatrooms/users",
        };
        Self::new(app, name)
    }

    pub(super) fn token(app: &App) -> Result<Self, SetupError> {
        Self::new(app, "POST /token")
    }

    pub(super) fn upload(app: &App) -> Result<Self, SetupError> {
        Self::new(app, "POST /chatfiles")
    }

    /// Where files are read. Calls add the file's ID, which spans do not tell.
    pub(super) fn download(app: &App) -> Result<Self, SetupError> {
        let mut endpoint = Self::new(app, "GET /chatfiles/{uuid}")?;
        if let Ok(mut segments) = endpoint.url.path_segments_mut() {
            segments.pop();
        }
        Ok(endpoint)
    }

    /// An endpoint by method and template: what spans are named, too.
    fn new(app: &App, span_name: &'static str) -> Result<Self, SetupError> {
        let (method, template) = span_name.split_once(' ').unwrap_or_default();
        // Every segment has been checked with the settings, so that none can leave its place.
        let full = format!("{}{template}", app.base_url);
        let unusable = |error: &dyn std::error::Error| SetupError {
            app: app.name.to_string(),
            what: format!("base_url: {error}"),
        };
        let url = Url::parse(&full).map_err(|error| unusable(&error))?;
        let uri: Uri = url.as_str().parse().map_err(|error| unusable(&error))?;
        // Without the port where it is the scheme's own: that is what a URL leaves out.
        let host = url[Position::BeforeHost..Position::AfterPort].parse();
        let host: HeaderValue = host.map_err(|error| unusable(&error))?;
        let mut attributes = Attributes::default();
        attributes.set(HTTP_REQUEST_METHOD, method);
        attributes.set(URL_TEMPLATE, template);
        attributes.set(URL_FULL, &*full);
        if let Some(host) = url.host_str() {
            attributes.set(SERVER_ADDRESS, host);
        }
        if let Some(port) = url.port_or_known_default() {
            attributes.set(SERVER_PORT, i64::from(port));
        }
        Ok(Self {
            url,
            uri,
            host,
            span_name,
            attributes,
        })
    }
}

/// One call, as its span has it.
#[derive(Debug)]
pub(super) struct Attempt {
    span: Span,
    ended: bool,
}

impl Attempt {
    /// Begins a call that is part of the current work.
    pub(super) fn begin(endpoint: &Endpoint) -> Self {
        let (span, before) = Span::attempt(endpoint.span_name);
        span.record(|span| {
            span.add_all(&endpoint.attributes);
            if before > 0 {
                span.set(HTTP_REQUEST_RESEND_COUNT, before);
            }
        });
        Self { span, ended: false }
    }

    /// Tells Easemob where in which trace it is called, as far as the settings say.
    pub(super) fn inject(&self, headers: &mut HeaderMap) {
        self.span.inject(headers);
    }

    /// Easemob answered.
    pub(super) fn answered(&mut self, status: u16) {
        self.ended = true;
        self.span.record(|span| {
            span.add(HTTP_RESPONSE_STATUS_CODE, i64::from(status));
            if status >= 400 {
                span.fail(&status.to_string());
            }
        });
    }

    /// It has no whole answer, and `what` is a word for why.
    pub(super) fn broken(&mut self, what: &'static str, status: Option<u16>) {
        self.ended = true;
        self.span.record(|span| {
            if let Some(status) = status {
                span.set(HTTP_RESPONSE_STATUS_CODE, i64::from(status));
            }
            span.fail(what);
        });
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended {
            // Whoever waited for it has gone, or its time was over.
            self.span.record(|span| span.fail("cancelled"));
        }
    }
}
