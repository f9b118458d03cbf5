//! The HTTP/1.1 loop: a connection per accepted socket, which an answer may take over to end it in
//! a way that no HTTP server would.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::answer::Answer;
use super::fault::Then;
use super::pace::{Pace, Paced, Valve};

/// What becomes of a socket in place of an HTTP response. Travels as a response's extension.
#[derive(Debug, Clone)]
pub(super) enum Takeover {
    /// RST.
    Reset,
    /// FIN.
    Close,
    /// These bytes, then FIN.
    Write(Bytes),
    /// The head at once, then the body byte by byte with a gap before each, then FIN.
    Drip {
        head: Bytes,
        body: Bytes,
        gap: Duration,
    },
    /// An answer to a request that is still coming.
    Early { answer: Bytes, then: Then },
}

/// How long what follows an early answer is read, as a proxy would.
const LINGER: Duration = Duration::from_secs(30);

impl Takeover {
    /// An answer before the request was read to its end.
    pub(super) fn early(mut answer: Answer, then: Then) -> Self {
        // A server that stalls has not thought of closing.
        if matches!(then, Then::Drain | Then::Close | Then::Reset) {
            let close = HeaderValue::from_static("close");
            answer.headers.insert(CONNECTION, close);
        }
        let mut bytes = answer.head();
        bytes.extend_from_slice(&answer.body);
        Self::Early {
            answer: bytes.into(),
            then,
        }
    }

    /// The second half of the body is missing.
    pub(super) fn truncated(answer: &Answer) -> Self {
        let mut bytes = answer.head();
        bytes.extend_from_slice(&answer.body[..answer.body.len() / 2]);
        Self::Write(bytes.into())
    }

    /// The body comes byte by byte.
    pub(super) fn drip(answer: &Answer, gap: Duration) -> Self {
        Self::Drip {
            head: answer.head().into(),
            body: answer.body.clone(),
            gap,
        }
    }
}

impl IntoResponse for Takeover {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(self);
        response
    }
}

// As the error of a service it makes hyper let go of the socket.
impl std::error::Error for Takeover {}

impl fmt::Display for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the socket is taken over")
    }
}

/// A port that is ours, with nobody listening yet.
pub(super) struct Bound {
    socket: Socket,
}

/// Binds the address; `buffer` is what the system may take in for a connection.
pub(super) fn bind(addr: SocketAddr, buffer: Option<usize>) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    // What is left of ended connections does not keep us from our port.
    socket.set_reuse_address(true)?;
    if let Some(bytes) = buffer {
        // Accepted sockets inherit it.
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(Bound { socket })
}

impl Bound {
    pub(super) fn listen(self) -> io::Result<std::net::TcpListener> {
        self.socket.listen(1024)?;
        Ok(self.socket.into())
    }
}

/// Serves until the port cannot be had any more, which only an outage can bring about.
///
/// An outage closes the port at once, and connections as soon as they have answered what they are at.
pub(super) async fn serve(
    mut listener: TcpListener,
    router: Router,
    mut outage: watch::Receiver<Duration>,
    buffer: Option<usize>,
) -> io::Result<()> {
    let addr = listener.local_addr()?;
    let mut up = CancellationToken::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(connection(stream, router.clone(), up.clone()));
                }
                // Out of descriptors, most likely: others have to end before one can begin.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
            Ok(()) = outage.changed() => {
                let lasts = *outage.borrow_and_update();
                drop(listener);
                // Held, so that nobody else gets it meanwhile.
                let port = bind(addr, buffer)?;
                up.cancel();
                tokio::time::sleep(lasts).await;
                up = CancellationToken::new();
                listener = TcpListener::from_std(port.listen()?)?;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, up: CancellationToken) {
    // Without it, an answer that is written in pieces waits for the client's delayed ACK.
    let _ = stream.set_nodelay(true);
    let valve = Valve::new();
    let stream = Paced::new(stream, valve.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        let router = router.clone();
        request.extensions_mut().insert(valve.clone());
        Box::pin(async move {
            let Ok(mut response) = router.oneshot(request.map(Body::new)).await;
            match response.extensions_mut().remove::<Takeover>() {
                Some(takeover) => Err(takeover),
                None => Ok(response),
            }
        })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    let ended = {
        let mut ended = poll_fn(|cx| connection.poll_without_shutdown(cx));
        tokio::select! {
            ended = &mut ended => Some(ended),
            () = up.cancelled() => None,
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        }
    };
    let stream = connection.into_parts().io.into_inner().into_inner();
    // How the client takes what follows is the client's affair.
    let _ = match ended {
        Ok(()) => close(stream).await,
        Err(error) => match takeover_in(&error) {
            Some(takeover) => take_over(stream, takeover).await,
            None => Ok(()),
        },
    };
}

fn takeover_in(error: &hyper::Error) -> Option<&Takeover> {
    std::error::Error::source(error)?.downcast_ref()
}

async fn take_over(mut stream: TcpStream, takeover: &Takeover) -> io::Result<()> {
    match takeover {
        // With no time to linger, closing discards what is unsent and sends RST.
        Takeover::Reset => SockRef::from(&stream).set_linger(Some(Duration::ZERO)),
        Takeover::Close => close(stream).await,
        Takeover::Write(bytes) => {
            stream.write_all(bytes).await?;
            close(stream).await
        }
        Takeover::Drip { head, body, gap } => {
            stream.write_all(head).await?;
            for byte in body {
                tokio::time::sleep(*gap).await;
                stream.write_all(&[*byte]).await?;
            }
            close(stream).await
        }
        Takeover::Early { answer, then } => {
            stream.write_all(answer).await?;
            follow_up(stream, *then).await
        }
    }
}

/// What comes after an answer that came early.
async fn follow_up(mut stream: TcpStream, then: Then) -> io::Result<()> {
    match then {
        Then::Drain => {
            stream.shutdown().await?;
            let _ = tokio::time::timeout(LINGER, read_at(stream, Pace::Full)).await;
            Ok(())
        }
        Then::Close => close(stream).await,
        Then::Reset => SockRef::from(&stream).set_linger(Some(Duration::ZERO)),
        Then::Stall => read_at(stream, Pace::Stopped).await,
        Then::Slow(rate) => read_at(stream, Pace::BytesPerSecond(rate)).await,
    }
}

/// Reads and drops what comes, until the client ends it.
async fn read_at(stream: TcpStream, pace: Pace) -> io::Result<()> {
    let valve = Valve::new();
    valve.set(pace);
    let mut stream = Paced::new(stream, valve);
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok(())
}

async fn close(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await
}
