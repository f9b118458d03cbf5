//! The load generator: a closed loop on one thread. Each stream sends its next call when the answer to
//! the last one has been checked.
//!
//! It speaks HTTP/2 itself and sends bytes made once, so that it takes less of the machine than a
//! gRPC client would: what it takes, the servers lack.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use http::StatusCode;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

use crate::{call::Calls, message};

/// Longest time that the calls under way may take to end.
const STRAGGLERS: Duration = Duration::from_secs(10);

/// Longest time from listening to the first answer.
const START: Duration = Duration::from_secs(60);

/// How many callers there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    /// Calls at once on each connection.
    pub(crate) streams: usize,
}

impl Shape {
    /// Calls at once in all.
    pub(crate) fn calls(self) -> usize {
        self.connections * self.streams
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {}", self.connections, self.streams)
    }
}

/// Callers at work.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) state: Arc<State>,
    pub(crate) streams: JoinSet<anyhow::Result<Vec<Duration>>>,
    // Dropped, they end.
    connections: JoinSet<()>,
}

/// What callers share.
#[derive(Debug, Default)]
pub(crate) struct State {
    answered: AtomicU64,
    begun: AtomicUsize,
    /// Whether latencies are noted.
    measuring: AtomicBool,
    stop: AtomicBool,
}

impl Load {
    /// Nobody calls yet.
    pub(crate) fn idle() -> Self {
        Self {
            state: Arc::default(),
            streams: JoinSet::new(),
            connections: JoinSet::new(),
        }
    }

    /// Opens the connections and begins to send, until it is stopped.
    pub(crate) async fn start(
        address: SocketAddr,
        shape: Shape,
        calls: &Calls,
    ) -> anyhow::Result<Self> {
        Self::start_bounded(address, shape, calls, u64::MAX).await
    }

    /// Makes so many calls, one after the other.
    pub(crate) async fn run(address: SocketAddr, calls: &Calls, times: u64) -> anyhow::Result<()> {
        let shape = Shape {
            connections: 1,
            streams: 1,
        };
        let mut load = Self::start_bounded(address, shape, calls, times).await?;
        while let Some(stream) = load.streams.join_next().await {
            stream??;
        }
        Ok(())
    }

    /// Waits until so many connections have had an answer, more than there are shards: with many apps, a gateway
    /// listens long before each of its shards is ready.
    pub(crate) async fn wait(
        address: SocketAddr,
        connections: usize,
        calls: &Calls,
    ) -> anyhow::Result<()> {
        let mut load = Self::idle();
        for number in 0..connections {
            let sender = load.connect(address).await?;
            timeout(START, call(sender, calls, number))
                .await
                .context("no answer to the first call")??;
        }
        Ok(())
    }

    /// `times` is for each stream.
    async fn start_bounded(
        address: SocketAddr,
        shape: Shape,
        calls: &Calls,
        times: u64,
    ) -> anyhow::Result<Self> {
        let mut load = Self::idle();
        for _ in 0..shape.connections {
            let sender = load.connect(address).await?;
            for _ in 0..shape.streams {
                let (sender, calls) = (sender.clone(), calls.clone());
                let state = Arc::clone(&load.state);
                load.streams
                    .spawn(async move { state.keep_calling(sender, calls, times).await });
            }
        }
        Ok(load)
    }

    /// One more connection.
    pub(crate) async fn connect(
        &mut self,
        address: SocketAddr,
    ) -> anyhow::Result<SendRequest<Bytes>> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_connection_window_size(1024 * 1024)
            .handshake(socket)
            .await?;
        self.connections.spawn(async move {
            // What ends a connection ends its streams, which tell.
            let _ = connection.await;
        });
        Ok(sender)
    }

    /// From here on, latencies are noted.
    pub(crate) fn measure(&self) {
        self.state.measuring.store(true, Ordering::Relaxed);
    }

    /// Calls answered so far, all of them rightly.
    pub(crate) fn answered(&self) -> u64 {
        self.state.answered.load(Ordering::Relaxed)
    }

    /// Lets the calls under way end. Gives the latencies in rising order; fails if any answer was wrong.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<Vec<Duration>> {
        self.state.measuring.store(false, Ordering::Relaxed);
        self.state.stop.store(true, Ordering::Relaxed);
        let mut latencies = Vec::new();
        let all = async {
            while let Some(stream) = self.streams.join_next().await {
                latencies.extend(stream??);
            }
            anyhow::Ok(())
        };
        timeout(STRAGGLERS, all)
            .await
            .context("calls that never end")??;
        latencies.sort_unstable();
        Ok(latencies)
    }
}

impl State {
    async fn keep_calling(
        &self,
        mut sender: SendRequest<Bytes>,
        calls: Calls,
        times: u64,
    ) -> anyhow::Result<Vec<Duration>> {
        let mut latencies = Vec::new();
        for _ in 0..times {
            if self.is_over() {
                break;
            }
            let begin = Instant::now();
            sender = call(sender, &calls, self.number()).await?;
            self.note(begin, &mut latencies);
        }
        Ok(latencies)
    }

    /// Whether no more calls are to be made.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The number of the next call.
    pub(crate) fn number(&self) -> usize {
        self.begun.fetch_add(1, Ordering::Relaxed)
    }

    /// A call that began then was answered rightly.
    pub(crate) fn note(&self, begin: Instant, latencies: &mut Vec<Duration>) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        if self.measuring.load(Ordering::Relaxed) {
            latencies.push(begin.elapsed());
        }
    }
}

/// Makes a unary call and checks its answer.
pub(crate) async fn call(
    sender: SendRequest<Bytes>,
    calls: &Calls,
    number: usize,
) -> anyhow::Result<SendRequest<Bytes>> {
    let mut sender = sender.ready().await?;
    let (response, mut stream) = sender.send_request(calls.head(number), false)?;
    // As large as a message with 10,000 recipients is, the library holds it until the window has room.
    stream.send_data(calls.body(number), true)?;
    let response = response.await?;
    ensure!(
        response.status() == StatusCode::OK,
        "HTTP status {}",
        response.status()
    );
    let (head, mut body) = response.into_parts();
    let mut received = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        received.extend_from_slice(&chunk);
    }
    let trailers = body.trailers().await?;
    message::check_status(trailers.as_ref().unwrap_or(&head.headers))?;
    message::check(received.freeze(), calls.recipients())?;
    Ok(sender)
}
