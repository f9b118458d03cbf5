//! The body of an upload as it comes in: counted, and held up where the script says so.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_core::Stream;
use http_body::Body as _;
use tokio::time::{Sleep, sleep};

use super::ledger::Entry;
use crate::sandbox::pace::{Pace, Valve};

/// A body, read frame by frame.
pub(super) struct Incoming<'a> {
    body: Body,
    entry: &'a Entry<'a>,
    valve: &'a Valve,
    read: u64,
    most: u64,
    /// The end of a frame that was cut in two.
    rest: Bytes,
    plan: Option<Plan>,
    reached: bool,
    end: Option<End>,
}

/// What happens at a byte of the body, once the pause is over.
#[derive(Debug, Clone, Copy)]
pub(super) enum Then {
    /// No byte more is read.
    Halt,
    /// The rest is read at this pace.
    GoOn(Pace),
    /// Nothing, for as long as the client stays.
    Stay,
}

struct Plan {
    at: u64,
    pause: Duration,
    then: Then,
    /// Once the byte was reached.
    sleep: Option<Pin<Box<Sleep>>>,
}

/// Why no more bytes come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The request was read to its end.
    Whole,
    /// The client went away.
    Broken,
    /// The script's byte was reached.
    Halted,
    /// There were more than can belong to a file that is small enough.
    TooLarge,
}

/// To the parser of the form: no more bytes, and not because the request is over.
#[derive(Debug, thiserror::Error)]
#[error("the body was not read to its end")]
pub(super) struct Unfinished;

impl<'a> Incoming<'a> {
    pub(super) fn new(body: Body, entry: &'a Entry<'a>, valve: &'a Valve) -> Self {
        Self {
            body,
            entry,
            valve,
            read: 0,
            most: u64::MAX,
            rest: Bytes::new(),
            plan: None,
            reached: false,
            end: None,
        }
    }

    /// Reads no more than so many bytes.
    pub(super) fn limit(&mut self, most: u64) {
        self.most = most;
    }

    /// Has this happen once so many bytes were read, after a pause without reading.
    pub(super) fn at_byte(&mut self, at: u64, pause: Duration, then: Then) {
        self.plan = Some(Plan {
            at,
            pause,
            then,
            sleep: None,
        });
    }

    /// Why it ended; `None` while more may come.
    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    /// Whether the byte of [`Incoming::at_byte`] was there to be reached.
    pub(super) fn reached(&self) -> bool {
        self.reached
    }

    /// Reads what is left, for nothing.
    pub(super) async fn drain(&mut self) {
        while let Some(Ok(_)) = std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
        {
        }
    }

    fn ended(&mut self, end: End) -> Poll<Option<Result<Bytes, Unfinished>>> {
        self.end = Some(end);
        Poll::Ready((end != End::Whole).then_some(Err(Unfinished)))
    }

    /// The next bytes of the body, whatever the script says.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, End>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Ok(std::mem::take(&mut self.rest)));
        }
        loop {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Ok(data));
                    }
                }
                Some(Err(_)) => return Poll::Ready(Err(End::Broken)),
                None => return Poll::Ready(Err(End::Whole)),
            }
        }
    }

    /// What the script has for the byte that was reached.
    fn poll_plan(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        let Some(plan) = &mut self.plan else {
            return Poll::Ready(None);
        };
        if self.read < plan.at {
            return Poll::Ready(None);
        }
        self.reached = true;
        let (pause, valve) = (plan.pause, self.valve);
        let sleep = plan.sleep.get_or_insert_with(|| {
            valve.set(Pace::Stopped);
            Box::pin(sleep(pause))
        });
        ready!(sleep.as_mut().poll(cx));
        match plan.then {
            Then::Halt => Poll::Ready(Some(End::Halted)),
            Then::GoOn(pace) => {
                self.plan = None;
                self.valve.set(pace);
                Poll::Ready(None)
            }
            // Only to see whether the client is still there: what had come in before is dropped.
            Then::Stay => loop {
                match ready!(self.poll_frame(cx)) {
                    Ok(_) => {}
                    Err(End::Whole) => return Poll::Pending,
                    Err(end) => return Poll::Ready(Some(end)),
                }
            },
        }
    }
}

impl Stream for Incoming<'_> {
    type Item = Result<Bytes, Unfinished>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(end) = this.end {
            return this.ended(end);
        }
        if let Some(end) = ready!(this.poll_plan(cx)) {
            return this.ended(end);
        }
        let mut data = match ready!(this.poll_frame(cx)) {
            Ok(data) => data,
            Err(end) => return this.ended(end),
        };
        if let Some(plan) = &this.plan {
            let left = usize::try_from(plan.at - this.read).unwrap_or(usize::MAX);
            if left < data.len() {
                this.rest = data.split_off(left);
            }
        }
        this.read += data.len() as u64;
        let read = this.read;
        this.entry.update(|upload| upload.body_bytes = read);
        if read > this.most {
            return this.ended(End::TooLarge);
        }
        Poll::Ready(Some(Ok(data)))
    }
}
