//! The load generator: a closed loop on one thread. Each stream sends its next call when the answer to
//! the last one has been checked.
//!
//! It speaks HTTP/2 itself and sends bytes made once, so that it takes less of the machine than a
//! gRPC client would: what it takes, the servers lack.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request, StatusCode};
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

use crate::message;

/// Longest time that the calls under way may take to end.
const STRAGGLERS: Duration = Duration::from_secs(10);

/// How many callers there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    /// Calls at once on each connection.
    pub(crate) streams: usize,
}

/// Callers at work.
#[derive(Debug)]
pub(crate) struct Load {
    state: Arc<State>,
    streams: JoinSet<anyhow::Result<Vec<Duration>>>,
    // Dropped, they end.
    connections: JoinSet<()>,
}

#[derive(Debug, Default)]
struct State {
    answered: AtomicU64,
    /// Whether latencies are noted.
    measuring: AtomicBool,
    stop: AtomicBool,
}

impl Load {
    /// Opens the connections and begins to send, until it is stopped.
    pub(crate) async fn start(address: SocketAddr, shape: Shape) -> anyhow::Result<Self> {
        Self::start_bounded(address, shape, u64::MAX).await
    }

    /// Makes so many calls, one after the other.
    pub(crate) async fn run(address: SocketAddr, calls: u64) -> anyhow::Result<()> {
        let shape = Shape {
            connections: 1,
            streams: 1,
        };
        let mut load = Self::start_bounded(address, shape, calls).await?;
        while let Some(stream) = load.streams.join_next().await {
            stream??;
        }
        Ok(())
    }

    /// `calls` is for each stream.
    async fn start_bounded(address: SocketAddr, shape: Shape, calls: u64) -> anyhow::Result<Self> {
        let mut load = Self {
            state: Arc::default(),
            streams: JoinSet::new(),
            connections: JoinSet::new(),
        };
        let call = Call::new(address)?;
        for _ in 0..shape.connections {
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            let (sender, connection) = h2::client::Builder::new()
                .initial_connection_window_size(1024 * 1024)
                .handshake(socket)
                .await?;
            load.connections.spawn(async move {
                // What ends a connection ends its streams, which tell.
                let _ = connection.await;
            });
            for _ in 0..shape.streams {
                let (sender, call) = (sender.clone(), call.clone());
                let state = Arc::clone(&load.state);
                load.streams
                    .spawn(async move { state.keep_calling(sender, call, calls).await });
            }
        }
        Ok(load)
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
        call: Call,
        calls: u64,
    ) -> anyhow::Result<Vec<Duration>> {
        let mut latencies = Vec::new();
        for _ in 0..calls {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let begin = Instant::now();
            sender = call.make(sender).await?;
            self.answered.fetch_add(1, Ordering::Relaxed);
            if self.measuring.load(Ordering::Relaxed) {
                latencies.push(begin.elapsed());
            }
        }
        Ok(latencies)
    }
}

/// One call: the same bytes each time.
#[derive(Debug, Clone)]
struct Call {
    request: Request<()>,
    frame: Bytes,
}

impl Call {
    fn new(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self {
            request: Request::post(format!("http://{address}{}", message::METHOD))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(())?,
            frame: message::frame()?,
        })
    }

    /// Makes the call and checks its answer.
    async fn make(&self, sender: SendRequest<Bytes>) -> anyhow::Result<SendRequest<Bytes>> {
        let mut sender = sender.ready().await?;
        let (response, mut body) = sender.send_request(self.request.clone(), false)?;
        body.send_data(self.frame.clone(), true)?;
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
        // Where there is no message, the status stands among the headers.
        check_status(trailers.as_ref().unwrap_or(&head.headers))?;
        message::check(received.freeze())?;
        Ok(sender)
    }
}

fn check_status(headers: &HeaderMap) -> anyhow::Result<()> {
    let text = |name| {
        let value = headers.get(name);
        value.map_or("", |value| value.to_str().unwrap_or_default())
    };
    ensure!(
        text("grpc-status") == "0",
        "grpc-status {:?}: {}",
        text("grpc-status"),
        text("grpc-message")
    );
    Ok(())
}
