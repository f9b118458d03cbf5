//! Files on their way up: read by a thread of their own, a few chunks ahead of the network and no further.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Code, Request, Response, Status};

use super::{Progress, Source};
use crate::{
    cli::{
        gateway::{self, Client, Gateway},
        problem::{Problem, is_from_gateway},
    },
    proto,
    server::on_signal,
};

/// Chunks that are read before the network wants them.
const AHEAD: usize = 3;

/// One part of a stream, after its header.
pub(in crate::cli) enum Piece {
    Thumbnail(Bytes),
    Chunk(Bytes),
    Finish(proto::UploadFinish),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Thumbnail(bytes) | Self::Chunk(bytes) => bytes.len(),
            Self::Finish(_) => 0,
        }
    }
}

/// A file to be uploaded, after its thumbnail where it has one.
pub(in crate::cli) struct Upload {
    pub(in crate::cli) thumbnail: Option<Source>,
    pub(in crate::cli) file: Source,
}

/// Why there is no answer.
pub(in crate::cli) enum Broken {
    /// The file cannot be read. It was not finished, so nothing came of it.
    File(anyhow::Error),
    /// It was not finished, or refused: nothing came of it.
    Refused(Box<Problem>),
    /// All of it was sent, and nobody tells what came of it.
    Silent(Status),
    /// The same, as the time was over.
    Late,
    /// The same, as somebody pressed Ctrl-C.
    Interrupted,
}

/// The parts of a call's stream.
pub(in crate::cli) type Parts<T> = Box<dyn Stream<Item = T> + Send + Unpin>;

impl Upload {
    /// Calls a method with the header and then the files, and shows how far they are.
    pub(in crate::cli) async fn run<T, R, F>(
        self,
        header: T,
        part: impl Fn(Piece) -> T + Send + 'static,
        gateway: &Gateway,
        show: bool,
        call: impl FnOnce(Client, Request<Parts<T>>) -> F,
    ) -> Result<R, Broken>
    where
        T: Send + Unpin + 'static,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let interrupted = on_signal().map_err(|error| Broken::File(error.into()))?;
        let finished = Arc::new(AtomicBool::new(false));
        let work = self.work(header, part, gateway, show, call, Arc::clone(&finished));
        tokio::select! {
            biased;
            outcome = work => outcome,
            () = interrupted.cancelled() => Err(match finished.load(Ordering::Acquire) {
                true => Broken::Interrupted,
                false => unfinished(Code::Cancelled, "interrupted"),
            }),
        }
    }

    async fn work<T, R, F>(
        self,
        header: T,
        part: impl Fn(Piece) -> T + Send + 'static,
        gateway: &Gateway,
        show: bool,
        call: impl FnOnce(Client, Request<Parts<T>>) -> F,
        finished: Arc<AtomicBool>,
    ) -> Result<R, Broken>
    where
        T: Send + Unpin + 'static,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let connection = gateway.connect(gateway::TRANSFER).await;
        let connection = connection.map_err(|problem| Broken::Refused(Box::new(problem)))?;
        let progress = Progress::new(self.size_bytes(), show);
        let (pieces, mut failed) = self.read();
        let (count, is_finished) = (progress.counter(), Arc::clone(&finished));
        let parts = pieces.map(move |piece| {
            count(piece.len());
            // From here on, nothing that happens proves that it did not arrive.
            if let Piece::Finish(_) = piece {
                is_finished.store(true, Ordering::Release);
            }
            part(piece)
        });
        let parts: Parts<T> = Box::new(tokio_stream::once(header).chain(parts));
        let mut request = Request::new(parts);
        request.set_timeout(connection.left);
        let call = tokio::time::timeout(connection.left, call(connection.client.clone(), request));
        let answer = tokio::select! {
            biased;
            Ok(error) = &mut failed => return Err(Broken::File(error)),
            answer = call => answer,
        };
        let status = match answer {
            Ok(Ok(response)) => return Ok(response.into_inner()),
            Ok(Err(status)) if is_from_gateway(&status) => {
                return Err(Broken::Refused(Box::new(Problem::from(&status))));
            }
            Ok(Err(status)) if !connection.is_overdue() => Some(status),
            Ok(Err(_)) | Err(_) => None,
        };
        let finished = finished.load(Ordering::Acquire);
        Err(match status {
            Some(status) if finished => Broken::Silent(status),
            Some(status) => unfinished(status.code(), &gateway::untold(&status)),
            None if finished => Broken::Late,
            None => unfinished(
                Code::DeadlineExceeded,
                &format!(
                    "the upload took longer than {} (give it more --timeout)",
                    gateway.time(gateway::TRANSFER)
                ),
            ),
        })
    }

    fn size_bytes(&self) -> Option<u64> {
        let thumbnail = match &self.thumbnail {
            Some(thumbnail) => thumbnail.size_bytes()?,
            None => 0,
        };
        Some(self.file.size_bytes()?.saturating_add(thumbnail))
    }

    /// Starts to read. A file that cannot be read to its end has no finish, and its error comes first.
    fn read(self) -> (ReceiverStream<Piece>, oneshot::Receiver<anyhow::Error>) {
        let (pieces, read) = mpsc::channel(AHEAD);
        let (failed, failure) = oneshot::channel();
        // Not a task: one that waits for a disk or a pipe would hold up the end of the process.
        thread::spawn(move || {
            if let Err(error) = self.read_into(&pieces) {
                // Whoever is gone wants to know nothing.
                let _ = failed.send(error);
            }
            drop(pieces);
        });
        (ReceiverStream::new(read), failure)
    }

    fn read_into(self, pieces: &mpsc::Sender<Piece>) -> anyhow::Result<()> {
        let pass = |piece| pieces.blocking_send(piece).is_ok();
        if let Some(thumbnail) = self.thumbnail
            && thumbnail
                .read(|bytes| pass(Piece::Thumbnail(bytes)))?
                .is_none()
        {
            return Ok(());
        }
        if let Some(finish) = self.file.read(|bytes| pass(Piece::Chunk(bytes)))? {
            pass(Piece::Finish(finish));
        }
        Ok(())
    }
}

/// Broken off before its finish, without which nothing is stored and nothing sent.
fn unfinished(code: Code, what: &str) -> Broken {
    let what = format!("{what}. The upload was not finished, so nothing was sent.");
    Broken::Refused(Box::new(Problem::not_sent(code, what)))
}
