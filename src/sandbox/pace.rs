//! How fast the bytes of an upload are taken from its socket: at the socket itself, so that a slow
//! reader here is a full window at the client.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// How fast uploads are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As fast as they come.
    Full,
    /// So many bytes in a second, evenly.
    BytesPerSecond(u32),
    /// Not at all; a client that goes away is noticed all the same.
    Stopped,
}

/// The pace of one connection, which clones share.
#[derive(Debug, Clone)]
pub(super) struct Valve(Arc<AtomicU64>);

/// [`Pace::Full`] among the rates.
const FULL: u64 = u64::MAX;

impl Valve {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(FULL)))
    }

    pub(super) fn set(&self, pace: Pace) {
        let rate = match pace {
            Pace::Full => FULL,
            Pace::BytesPerSecond(rate) => rate.into(),
            Pace::Stopped => 0,
        };
        self.0.store(rate, Ordering::Relaxed);
    }

    /// Bytes in a second.
    fn rate(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often a stopped connection is looked at: has it been told to go on, is the client still there?
/// It is also what a slow one may catch up with when its timer was late.
const TICK: Duration = Duration::from_millis(20);

/// The most bytes that a slow connection takes at once.
const SIP: usize = 16 * 1024;

/// A socket whose reads obey its valve.
pub(super) struct Paced {
    stream: TcpStream,
    valve: Valve,
    /// When a slow connection may read again.
    next: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Paced {
    pub(super) fn new(stream: TcpStream, valve: Valve) -> Self {
        let now = Instant::now();
        Self {
            stream,
            valve,
            next: now,
            timer: Box::pin(sleep_until(now)),
        }
    }

    pub(super) fn into_inner(self) -> TcpStream {
        self.stream
    }

    fn poll_until(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().reset(at);
        self.timer.as_mut().poll(cx)
    }

    /// Whether the client has gone away, as far as can be told without reading.
    fn is_gone(&self, cx: &mut Context<'_>) -> bool {
        match pin!(self.stream.ready(Interest::READABLE)).poll(cx) {
            Poll::Ready(Ok(ready)) => ready.is_read_closed(),
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        }
    }

    fn poll_slowly(
        &mut self,
        rate: u64,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.next > Instant::now() {
            ready!(self.poll_until(self.next, cx));
        }
        // Fifty sips a second, or one byte at a time.
        let most = usize::try_from(rate / 50).map_or(SIP, |sip| sip.clamp(1, SIP));
        let mut sip = [0; SIP];
        let mut sip = ReadBuf::new(&mut sip[..most.min(buf.remaining())]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut sip))?;
        buf.put_slice(sip.filled());
        let bytes = u64::try_from(sip.filled().len()).unwrap_or(u64::MAX);
        let took = Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate);
        let earliest = Instant::now().checked_sub(TICK).unwrap_or(self.next);
        self.next = self.next.max(earliest) + took;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.valve.rate() {
                FULL => return Pin::new(&mut self.stream).poll_read(cx, buf),
                // To hyper, no bytes are the end of the connection.
                0 if self.is_gone(cx) => return Poll::Ready(Ok(())),
                0 => ready!(self.poll_until(Instant::now() + TICK, cx)),
                rate => return self.poll_slowly(rate, cx, buf),
            }
        }
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
