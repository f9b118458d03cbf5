//! What can go wrong on purpose: by the script of a test, by rules set over HTTP, by magic recipients.

mod documented;
mod magic;
mod rule;
mod rules;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use axum::http::header::LOCATION;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::answer::Answer;
use super::endpoint::{Endpoint, PerEndpoint};
use super::locked;
use super::pace::Pace;
use super::refusal::Refusal;
use super::wire::Takeover;

pub(super) use documented::DOCUMENTED;
pub(super) use rule::Wanted;
pub(super) use rules::{Rule, Rules};

/// What happens to one request in place of the normal answer.
///
/// But for [`Fault::reset_before_read`] and [`Fault::at_byte`] the whole request is read first and shows up in
/// [`Sandbox::calls`](super::Sandbox::calls). Only [`Fault::delay`], [`Fault::truncated`],
/// [`Fault::drip`] and [`Fault::slow`] treat the request as usual, so only they accept a message or
/// a file.
#[derive(Debug, Clone)]
pub struct Fault {
    pub(super) pause: Duration,
    pub(super) effect: Effect,
    /// Whether the call's token is revoked before it is looked at.
    pub(super) revoke: bool,
    /// The byte of an upload's body at which it happens.
    pub(super) at_byte: Option<u64>,
    pub(super) then: Then,
    /// How fast an upload is read from there on.
    pub(super) pace: Option<Pace>,
}

/// What follows an answer that was given while the upload was still coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// FIN; what still comes is read and dropped, so that the client gets to see the answer. What
    /// proxies do.
    Drain,
    /// FIN, and the socket is closed: the client's next bytes are met by RST, which may take the
    /// answer with it.
    Close,
    /// RST at once, likewise.
    Reset,
    /// The connection stays, and nothing more is read.
    Stall,
    /// The connection stays, and so many bytes are read in a second.
    Slow(u32),
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

impl Effect {
    /// Whether the request is treated as usual.
    pub(super) fn serves(&self) -> bool {
        matches!(self, Self::Normal | Self::Truncate | Self::Drip(_))
    }

    /// What the client gets of a normal answer.
    pub(super) fn deliver(&self, answer: Answer) -> Response {
        match self {
            Self::Truncate => Takeover::truncated(&answer).into_response(),
            Self::Drip(gap) => Takeover::drip(&answer, *gap).into_response(),
            _ => answer.into_response(),
        }
    }
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
            revoke: false,
            at_byte: None,
            then: Then::Drain,
            pace: None,
        }
    }

    /// For uploads: happens once so many bytes of the body were read, in the middle of the request.
    ///
    /// No byte more is read meanwhile, nor after it but for [`Then`]; of the faults that treat the
    /// request as usual, the pause and the pace begin there. A body of fewer bytes is read to its end,
    /// as without this.
    pub fn at_byte(mut self, bytes: u64) -> Self {
        self.at_byte = Some(bytes);
        self
    }

    /// For uploads with [`Fault::at_byte`]: what follows the answer. [`Then::Drain`] if not said.
    pub fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    /// For uploads: the normal answer, to a request that is read this slowly.
    pub fn slow(bytes_per_second: u32) -> Self {
        Self {
            pace: Some(Pace::BytesPerSecond(bytes_per_second)),
            ..Self::default()
        }
    }

    /// For uploads: reads so many bytes and then nothing more, nor answers, until the client gives up.
    pub fn stall(bytes: u64) -> Self {
        Self::silence().at_byte(bytes)
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

/// Faults that wait for their request, by endpoint; and behind them the rules.
pub(super) struct Script {
    waiting: Mutex<PerEndpoint<VecDeque<Fault>>>,
    pub(super) rules: Rules,
}

impl Script {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::new(PerEndpoint::new(|_| VecDeque::new())),
            rules: Rules::new(),
        }
    }

    pub(super) fn add(&self, endpoint: Endpoint, faults: impl IntoIterator<Item = Fault>) {
        locked(&self.waiting).get_mut(endpoint).extend(faults);
    }

    /// What the next request to this endpoint meets.
    pub(super) fn next(&self, endpoint: Endpoint) -> Fault {
        let next = locked(&self.waiting).get_mut(endpoint).pop_front();
        next.or_else(|| self.rules.next(endpoint))
            .unwrap_or_default()
    }

    /// The fault that a recipient brings along, where there is no other.
    pub(super) fn or_magic(fault: Fault, endpoint: Endpoint, request: &Bytes) -> Fault {
        if matches!(fault.effect, Effect::Normal) && fault.pause.is_zero() && !fault.revoke {
            return magic::fault(endpoint, request).unwrap_or(fault);
        }
        fault
    }

    pub(super) fn left(&self, endpoint: Endpoint) -> usize {
        locked(&self.waiting).get(endpoint).len()
    }

    pub(super) fn clear(&self) {
        locked(&self.waiting).iter_mut().for_each(VecDeque::clear);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};
    use std::time::Instant;

    use serde_json::Value;

    use super::*;
    use crate::sandbox::testing::{
        self, Reply, exchange, send, send_request, text_to, token, token_request,
    };
    use crate::sandbox::{Config, Sandbox};

    const USERS: Endpoint = Endpoint::SendToUsers;

    fn start() -> (Sandbox, String) {
        let sandbox = Sandbox::start(Config::for_tests()).unwrap();
        let token = token(&sandbox);
        (sandbox, token)
    }

    fn message() -> Value {
        text_to(USERS, &["bob"])
    }

    /// Bytes of the answer to a send that meets this fault, or how the connection broke.
    fn answer_to(sandbox: &Sandbox, token: &str, fault: Fault) -> io::Result<Vec<u8>> {
        sandbox.script(USERS, [fault]);
        exchange(sandbox, &send_request(USERS, token, message().to_string()))
    }

    fn reply_to(sandbox: &Sandbox, token: &str, fault: Fault) -> Reply {
        Reply::parse(&answer_to(sandbox, token, fault).unwrap())
    }

    #[test]
    fn a_script_is_played_in_order_and_by_endpoint() {
        let (sandbox, token) = start();
        sandbox.script(USERS, [Fault::status(503), Fault::status(502)]);
        sandbox.script(USERS, [Fault::status(500)]);
        let send = |endpoint| send(&sandbox, endpoint, &token, &text_to(endpoint, &["1"])).status;
        assert_eq!(send(Endpoint::SendToGroups), 200);
        assert_eq!(sandbox.script_left(USERS), 3);
        let statuses = [send(USERS), send(USERS), send(USERS), send(USERS)];
        assert_eq!(statuses, [503, 502, 500, 200]);
        assert_eq!(sandbox.script_left(USERS), 0);
        sandbox.script(USERS, [Fault::status(503)]);
        sandbox.clear_script();
        assert_eq!(send(USERS), 200);
    }

    #[test]
    fn tokens_can_be_scripted_too() {
        let (sandbox, _) = start();
        sandbox.script(Endpoint::Token, [Fault::status(503)]);
        assert_eq!(testing::ask_token(&sandbox, &token_request()).status, 503);
    }

    #[test]
    fn a_status_has_an_empty_body() {
        let (sandbox, token) = start();
        let reply = reply_to(&sandbox, &token, Fault::status(503));
        assert_eq!((reply.status, reply.body.len()), (503, 0));
    }

    #[test]
    fn an_error_has_the_documented_form() {
        let (sandbox, token) = start();
        let fault = Fault::json(429, "resource_limited", "You have exceeded the limit.");
        let reply = reply_to(&sandbox, &token, fault);
        let text = "You have exceeded the limit.".to_owned();
        assert_eq!(reply.error(), (429, "resource_limited".to_owned(), text));
        assert_eq!(reply.json().get("error_code"), None);

        let fault = Fault::error_code(400, "message_send_error", "from is empty", 14001);
        assert_eq!(
            reply_to(&sandbox, &token, fault).json()["error_code"],
            14001
        );

        let reply = reply_to(&sandbox, &token, Fault::unauthorized());
        let text = "Unable to authenticate (OAuth)".to_owned();
        assert_eq!(reply.error(), (401, "unauthorized".to_owned(), text));
    }

    #[test]
    fn a_proxy_answers_in_html() {
        let (sandbox, token) = start();
        let reply = reply_to(&sandbox, &token, Fault::html(502));
        assert_eq!(reply.status, 502);
        assert_eq!(reply.header("content-type"), Some("text/html"));
        assert!(
            String::from_utf8(reply.body)
                .unwrap()
                .contains("<h1>502 Bad Gateway</h1>")
        );
    }

    #[test]
    fn a_redirect_and_any_other_answer_can_be_given() {
        let (sandbox, token) = start();
        let reply = reply_to(&sandbox, &token, Fault::redirect(302, "http://elsewhere/"));
        assert_eq!(
            (reply.status, reply.header("location")),
            (302, Some("http://elsewhere/"))
        );

        let headers = [("retry-after", "3"), ("content-type", "application/json")];
        let reply = reply_to(&sandbox, &token, Fault::raw(200, headers, "{"));
        assert_eq!(
            (reply.status, reply.header("retry-after")),
            (200, Some("3"))
        );
        assert_eq!(reply.body, b"{");
    }

    #[test]
    fn answers_from_the_script_keep_the_connection() {
        let (sandbox, token) = start();
        sandbox.script(USERS, [Fault::status(503)]);
        let request = send_request(USERS, &token, message().to_string());
        let kept = String::from_utf8(request)
            .unwrap()
            .replace("connection: close\r\n", "");
        let mut stream = testing::connect(&sandbox);
        let mut start = [0; 12];
        stream.write_all(kept.as_bytes()).unwrap();
        stream.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 503");
        let last = send_request(USERS, &token, message().to_string());
        stream.write_all(&last).unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("HTTP/1.1 200"));
    }

    #[test]
    fn a_reset_before_the_body_does_not_wait_for_it() {
        let (sandbox, token) = start();
        sandbox.script(USERS, [Fault::reset_before_read()]);
        // The head announces a body that never comes.
        let request = send_request(USERS, &token, message().to_string());
        let end = request
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let error = exchange(&sandbox, &request[..end + 4]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(sandbox.calls(USERS).len(), 0);
        assert_eq!(sandbox.messages().len(), 0);
    }

    #[test]
    fn a_reset_after_the_body_is_a_call_without_an_answer() {
        let (sandbox, token) = start();
        let error = answer_to(&sandbox, &token, Fault::reset_after_read()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let calls = sandbox.calls(USERS);
        assert_eq!(calls[0].json(), Some(message()));
        assert!(calls[0].answer().is_none());
        assert_eq!(sandbox.messages().len(), 0);
    }

    #[test]
    fn a_connection_can_close_without_an_answer() {
        let (sandbox, token) = start();
        let answer = answer_to(&sandbox, &token, Fault::close_after_read()).unwrap();
        assert_eq!(answer.len(), 0, "FIN, not RST, and not a byte before it");
        assert_eq!(sandbox.calls(USERS).len(), 1);
    }

    #[tokio::test]
    async fn silence_lasts_as_long_as_the_client() {
        let (sandbox, token) = start();
        sandbox.script(USERS, [Fault::silence()]);
        let mut stream = testing::connect(&sandbox);
        let request = send_request(USERS, &token, message().to_string());
        stream.write_all(&request).unwrap();
        assert!(
            sandbox
                .wait_for_calls(USERS, 1, Duration::from_secs(20))
                .await
        );
        stream
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let error = stream.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(sandbox.calls(USERS)[0].answer().is_none());
    }

    #[test]
    fn a_delayed_answer_is_the_normal_one() {
        let (sandbox, token) = start();
        let delay = Duration::from_millis(100);
        let began = Instant::now();
        let reply = reply_to(&sandbox, &token, Fault::delay(delay));
        assert!(began.elapsed() >= delay);
        assert_eq!(reply.status, 200);
        assert_eq!(sandbox.messages().len(), 1);
    }

    #[test]
    fn any_fault_can_come_late() {
        let (sandbox, token) = start();
        let delay = Duration::from_millis(100);
        for fault in [Fault::reset_before_read(), Fault::reset_after_read()] {
            let began = Instant::now();
            let error = answer_to(&sandbox, &token, fault.after(delay)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            assert!(began.elapsed() >= delay);
        }
    }

    #[test]
    fn a_truncated_answer_promises_more_than_it_sends() {
        let (sandbox, token) = start();
        let reply = reply_to(&sandbox, &token, Fault::truncated());
        assert_eq!(reply.status, 200);
        let promised: usize = reply.header("content-length").unwrap().parse().unwrap();
        assert_eq!(reply.body.len(), promised / 2);
        assert_eq!(
            sandbox.messages().len(),
            1,
            "the message itself was accepted"
        );
        let calls = sandbox.calls(USERS);
        assert_eq!(calls[0].answer().unwrap().body.len(), promised);
    }

    #[test]
    fn a_dripping_answer_is_whole_in_the_end() {
        let (sandbox, token) = start();
        let began = Instant::now();
        let gap = Duration::from_millis(1);
        let reply = reply_to(&sandbox, &token, Fault::drip(gap));
        let bytes = u32::try_from(reply.body.len()).unwrap();
        assert!(began.elapsed() >= gap * bytes);
        assert_eq!(reply.json()["data"].as_object().unwrap().len(), 1);
    }
}
