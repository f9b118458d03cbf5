//! What is done with one request, step by step.

use std::{
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

/// An answer's body as Easemob has it, for `bob`.
pub const ACCEPTED_JSON: &str = r#"{"path":"/messages/users","data":{"bob":"1"},"timestamp":1}"#;

/// The body of a 401 that a new token helps against.
pub const UNAUTHORIZED: &str =
    r#"{"error":"unauthorized","error_description":"Unable to authenticate (OAuth)"}"#;

/// The answer to an upload, as far as the gateway reads it.
pub const STORED_JSON: &str =
    r#"{"entities":[{"uuid":"11111111-2222-3333-4444-555555555555","type":"chatfile"}]}"#;

/// Steps for one request. It has been read as far as its request line, which tells whose script it is;
/// after the last step the connection serves the next request.
#[derive(Debug, Clone, Default)]
pub struct Script(pub(super) Vec<Step>);

#[derive(Debug, Clone)]
pub(super) enum Step {
    Read,
    ReadAtLeast(usize),
    Accept,
    AcceptWith(usize),
    GiveToken,
    Write(Vec<u8>),
    Drip(Vec<u8>, Duration),
    Flood(Vec<u8>),
    Wait(Gate),
    Stay(Duration),
    Silence,
    Fin,
    Reset,
}

impl Script {
    /// Reads the whole request first.
    pub fn read() -> Self {
        Self(vec![Step::Read])
    }

    /// Reads no more of the request than its line.
    pub fn unread() -> Self {
        Self::default()
    }

    /// Reads so many bytes of the request, its headers among them, or a few more.
    pub fn read_at_least(bytes: usize) -> Self {
        Self(vec![Step::ReadAtLeast(bytes)])
    }

    fn then(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }

    /// 200 with an ID for every recipient.
    pub fn accept(self) -> Self {
        self.then(Step::Accept)
    }

    /// The same if the request has the token of this number, from 1; else 401.
    pub fn accept_with(self, token: usize) -> Self {
        self.then(Step::AcceptWith(token))
    }

    /// 200 with the ID of a file.
    pub fn store(self) -> Self {
        self.answer(200, STORED_JSON)
    }

    /// 200 with a new token.
    pub fn give_token(self) -> Self {
        self.then(Step::GiveToken)
    }

    /// A whole answer.
    pub fn answer(self, status: u16, body: &str) -> Self {
        self.write(http(status, body))
    }

    /// Any bytes.
    pub fn write(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.then(Step::Write(bytes.into()))
    }

    /// Any bytes, one at a time.
    pub fn drip(self, bytes: impl Into<Vec<u8>>, pause: Duration) -> Self {
        self.then(Step::Drip(bytes.into(), pause))
    }

    /// These bytes again and again, until nobody takes them.
    pub fn flood(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.then(Step::Flood(bytes.into()))
    }

    /// Waits for the test.
    pub fn wait(self, gate: &Gate) -> Self {
        self.then(Step::Wait(gate.clone()))
    }

    /// Keeps the connection open for so long, and reads nothing.
    pub fn stay(self, time: Duration) -> Self {
        self.then(Step::Stay(time))
    }

    /// Nothing more, until the other side ends the connection.
    pub fn silence(self) -> Self {
        self.then(Step::Silence)
    }

    /// Ends the connection in order.
    pub fn fin(self) -> Self {
        self.then(Step::Fin)
    }

    /// Ends the connection with RST.
    pub fn reset(self) -> Self {
        self.then(Step::Reset)
    }
}

/// An HTTP answer, as bytes.
pub fn http(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} As Scripted\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Where scripts wait until the test opens it.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub(super) fn pass(&self) {
        let is_open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(is_open, |open| !*open).unwrap());
    }
}
