//! How long a caller lets us wait. Only time in which its next bytes were wanted counts: a slow
//! Easemob is not the caller's fault.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{Config, Error};

/// Watches one caller's stream.
pub(super) struct Pace {
    idle_timeout: Duration,
    min_bytes_per_second: u64,
    bytes: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Pace {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            idle_timeout: config.upload_idle_timeout,
            min_bytes_per_second: config.upload_min_bytes_per_second,
            bytes: 0,
            waited: Duration::ZERO,
            waiting_since: None,
            timer: Box::pin(sleep_until(Instant::now())),
        }
    }

    /// Something came: what follows is not the caller's time, until more is wanted.
    pub(super) fn answered(&mut self) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Bytes came.
    pub(super) fn arrived(&mut self, bytes: usize) -> Result<(), Error> {
        self.bytes += bytes as u64;
        // Within the first moments every rate is possible.
        let due = self.waited.as_secs() * self.min_bytes_per_second;
        if self.waited > self.idle_timeout && self.bytes < due {
            return Err(Error::Incomplete(
                "the upload is slower than the gateway's upload_min_bytes_per_second",
            ));
        }
        Ok(())
    }

    /// Nothing is there: wakes the task when that has lasted too long.
    pub(super) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        if self.waiting_since.is_none() {
            let now = Instant::now();
            self.waiting_since = Some(now);
            self.timer.as_mut().reset(now + self.idle_timeout);
        }
        self.timer
            .as_mut()
            .poll(cx)
            .map(|()| Error::Incomplete("the upload stood still longer than upload_idle_timeout"))
    }

    /// Whether it is the caller that is being waited for.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting_since.is_some()
    }
}
