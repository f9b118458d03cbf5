//! What can go wrong on purpose, and the script by which a test says when.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use axum::http::header::LOCATION;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use bytes::Bytes;

use super::answer::Answer;
use super::endpoint::{Endpoint, PerEndpoint};
use super::locked;
use super::refusal::Refusal;

/// What happens to one request in place of the normal answer.
///
/// But for [`Fault::reset_before_read`] the whole request is read first and shows up in
/// [`Sandbox::calls`](super::Sandbox::calls). Only [`Fault::delay`], [`Fault::truncated`] and
/// [`Fault::drip`] treat the request as usual, so only they accept a message.
#[derive(Debug, Clone)]
pub struct Fault {
    pub(super) pause: Duration,
    pub(super) effect: Effect,
}

/// What follows the pause.
#[derive(Debug, Clone)]
pub(super) enum Effect {
    ResetBeforeRead,
    ResetAfterRead,
    CloseAfterRead,
    Silence,
    Say(Answer),
    Normal,
    Truncate,
    Drip(Duration),
}

impl Default for Fault {
    /// No fault.
    fn default() -> Self {
        Self::of(Effect::Normal)
    }
}

impl Fault {
    fn of(effect: Effect) -> Self {
        Self {
            pause: Duration::ZERO,
            effect,
        }
    }

    /// Holds the fault back for so long, after the request was read.
    pub fn after(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// The normal answer, late.
    pub fn delay(pause: Duration) -> Self {
        Self::default().after(pause)
    }

    /// A status with an empty body.
    pub fn status(status: u16) -> Self {
        Self::of(Effect::Say(Answer::empty(code(status))))
    }

    /// An error in the documented form.
    pub fn json(status: u16, error: &str, description: &str) -> Self {
        Self::refusal(Refusal::new(
            code(status),
            error.to_owned(),
            description.to_owned(),
        ))
    }

    /// An error in the documented form, with a numeric `error_code`.
    pub fn error_code(status: u16, error: &str, description: &str, error_code: u32) -> Self {
        let refusal = Refusal::new(code(status), error.to_owned(), description.to_owned());
        Self::refusal(refusal.with_code(error_code))
    }

    fn refusal(refusal: Refusal) -> Self {
        Self::of(Effect::Say(refusal.into()))
    }

    /// The most common answer to a token that is no longer good.
    pub fn unauthorized() -> Self {
        Self::json(401, "unauthorized", "Unable to authenticate (OAuth)")
    }

    /// The error page of a proxy.
    pub fn html(status: u16) -> Self {
        let status = code(status);
        let title = format!(
            "{} {}",
            status.as_str(),
            status.canonical_reason().unwrap_or_default()
        );
        let page = format!(
            "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1>\
             </center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
        );
        Self::of(Effect::Say(Answer::typed(status, "text/html", page)))
    }

    /// Another place to go.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::raw(status, [(LOCATION.as_str(), location)], "")
    }

    /// Any answer at all.
    ///
    /// # Panics
    ///
    /// On a status, header name or header value that HTTP does not know.
    pub fn raw<'a>(
        status: u16,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        body: impl Into<Bytes>,
    ) -> Self {
        let mut answer = Answer::empty(code(status));
        for (name, value) in headers {
            let name = HeaderName::try_from(name).expect("the test names a header");
            let value = HeaderValue::try_from(value).expect("the test gives it a value");
            answer.headers.append(name, value);
        }
        answer.body = body.into();
        Self::of(Effect::Say(answer))
    }

    /// RST once the headers were read and the body was not.
    pub fn reset_before_read() -> Self {
        Self::of(Effect::ResetBeforeRead)
    }

    /// RST once the whole request was read.
    pub fn reset_after_read() -> Self {
        Self::of(Effect::ResetAfterRead)
    }

    /// FIN once the whole request was read, without an answer.
    pub fn close_after_read() -> Self {
        Self::of(Effect::CloseAfterRead)
    }

    /// No answer, until the client gives up.
    pub fn silence() -> Self {
        Self::of(Effect::Silence)
    }

    /// The normal answer, of which the second half of the body is missing when the connection ends.
    pub fn truncated() -> Self {
        Self::of(Effect::Truncate)
    }

    /// The normal answer, its body byte by byte with so much time between two; then FIN.
    pub fn drip(gap: Duration) -> Self {
        Self::of(Effect::Drip(gap))
    }
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("a status has three digits")
}

/// Faults that wait for their request, by endpoint.
pub(super) struct Script(Mutex<PerEndpoint<VecDeque<Fault>>>);

impl Script {
    pub(super) fn new() -> Self {
        Self(Mutex::new(PerEndpoint::new(|_| VecDeque::new())))
    }

    pub(super) fn add(&self, endpoint: Endpoint, faults: impl IntoIterator<Item = Fault>) {
        locked(&self.0).get_mut(endpoint).extend(faults);
    }

    pub(super) fn next(&self, endpoint: Endpoint) -> Fault {
        let next = locked(&self.0).get_mut(endpoint).pop_front();
        next.unwrap_or_default()
    }

    pub(super) fn left(&self, endpoint: Endpoint) -> usize {
        locked(&self.0).get(endpoint).len()
    }

    pub(super) fn clear(&self) {
        locked(&self.0).iter_mut().for_each(VecDeque::clear);
    }
}
