//! The first bytes of a connection: do they open HTTP/2? Read here with a time limit, since the
//! HTTP library has none for them; TLS, which comes before them, has its place in front of this.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tracing::debug;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// For those who point a browser, a probe or curl at the port.
const HTTP1_ANSWER: &str = "HTTP/1.1 505 HTTP Version Not Supported\r\n\
    content-type: text/plain\r\n\
    connection: close\r\n\
    \r\n\
    This port speaks gRPC over HTTP/2 with prior knowledge, not HTTP/1.1.\n\
    Pages such as /livez and /readyz are on the operations port.\n";

/// Reads the preface and gives the connection back as if nothing had been read. A peer that speaks
/// something else is told so, if it is HTTP/1.1, and gets an error here.
pub(super) async fn read<IO>(mut io: IO) -> io::Result<Prefaced<IO>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut bytes = [0; PREFACE.len()];
    let mut filled = 0;
    while filled < bytes.len() {
        let count = io.read(&mut bytes[filled..]).await?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        filled += count;
        if !PREFACE.starts_with(&bytes[..filled]) {
            // Methods are in capitals; a TLS handshake starts with 22.
            if bytes[0].is_ascii_uppercase() {
                answer_http1(io).await?;
            }
            debug!(first_byte = bytes[0], "a peer that does not speak HTTP/2");
            return Err(ErrorKind::InvalidData.into());
        }
    }
    Ok(Prefaced { io, given: 0 })
}

async fn answer_http1<IO>(mut io: IO) -> io::Result<()>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    io.write_all(HTTP1_ANSWER.as_bytes()).await?;
    io.shutdown().await?;
    // Closing with bytes unread would reset the connection, and the answer could be lost.
    let mut rest = [0; 1024];
    while io.read(&mut rest).await? > 0 {}
    Ok(())
}

/// A connection whose preface has been read, and is read again: it is always the same, so a count
/// is all there is to keep.
#[derive(Debug)]
pub(super) struct Prefaced<IO> {
    io: IO,
    given: usize,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Prefaced<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &PREFACE[self.given..];
        if rest.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let count = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..count]);
        self.given += count;
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Prefaced<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
