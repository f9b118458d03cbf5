//! Files: an upload, an upload and then the message that carries it, a download.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Deadline, Delivery, Failure, Order, Sent, Shares, part::Route, share::Place};
use crate::{
    app::App,
    caller::Caller,
    easemob::{self, Kind, SharedUpload, Store, Stored, UploadError},
    id::FileId,
    media::{self, Section, Summary},
    message::MediaMessage,
    metrics,
    proto::{FileRef, file_ref::Location},
    trace::{Span, SpanKind},
};

/// What all transfers of the process go by.
#[derive(Debug, Clone)]
pub struct Transfers {
    config: Arc<media::Config>,
    places: Shares,
    // From then on uploads are told that the gateway goes.
    closing: CancellationToken,
}

impl Transfers {
    /// Bounds for all shards together, with a share for each of these apps.
    pub fn new(config: media::Config, apps: impl IntoIterator<Item = Arc<str>>) -> Self {
        Self {
            places: Shares::new(config.transfers_in_flight, apps),
            config: Arc::new(config),
            closing: CancellationToken::new(),
        }
    }

    /// The same bounds, until this is cancelled.
    pub fn until(&self, closing: CancellationToken) -> Self {
        Self {
            closing,
            ..self.clone()
        }
    }

    /// The settings.
    pub fn config(&self) -> &media::Config {
        &self.config
    }

    /// How many are under way.
    pub fn active(&self) -> usize {
        self.places.taken()
    }
}

/// A file to be stored.
#[derive(Debug)]
pub struct UploadOrder {
    /// The app that stores it.
    pub app: Arc<App>,
    /// Who asks.
    pub caller: Caller,
    /// How to store it.
    pub store: Store,
    /// The caller's stream, begun.
    pub upload: SharedUpload,
    /// When the answer is due, where the caller says.
    pub deadline: Option<Deadline>,
}

/// A file to be stored, and the message that is to carry it.
#[derive(Debug)]
pub struct MediaOrder {
    /// How to store the file.
    pub file: UploadOrder,
    /// Size of the file, where it is known ahead.
    pub declared: Option<u64>,
    /// How to store the thumbnail, and its size where it is known ahead.
    pub thumbnail: (Store, Option<u64>),
    /// The message.
    pub message: MediaMessage,
    /// Time for the send, where the caller's deadline does not say.
    pub send_timeout: Duration,
}

/// A file that was stored.
#[derive(Debug, Clone)]
pub struct StoredFile {
    /// What a message names it by.
    pub file: Stored,
    /// What was uploaded.
    pub summary: Summary,
}

impl StoredFile {
    /// The file as messages name it.
    pub fn file_ref(&self) -> FileRef {
        FileRef {
            location: Some(Location::Uuid(self.file.id.as_str().to_owned())),
            secret: self.file.secret.clone().unwrap_or_default(),
        }
    }
}

/// What became of a file and its message.
#[derive(Debug)]
pub struct MediaSent {
    /// The file, where it was stored.
    pub file: Option<StoredFile>,
    /// The thumbnail, where there was one and it was stored.
    pub thumbnail: Option<StoredFile>,
    /// The message.
    pub sent: Result<Sent, Failure>,
}

impl Delivery {
    /// Stores a file.
    pub async fn upload(&self, order: UploadOrder) -> Result<StoredFile, Failure> {
        let _places = self.upload_places(&order.app)?;
        let work = self.store(&order.app, &order.store, &order.upload);
        self.bounded(order.deadline, work).await
    }

    /// Stores a file, and sends the message that carries it. A caller that goes away ends it, unless
    /// the message is dispatched already.
    pub async fn send_media(&self, order: MediaOrder) -> MediaSent {
        let mut sent = MediaSent {
            file: None,
            thumbnail: None,
            sent: Err(Failure::Internal),
        };
        let (_request, transfer) = match self.upload_places(&order.file.app) {
            Ok(places) => places,
            Err(full) => {
                sent.sent = Err(full);
                return sent;
            }
        };
        let work = self.store_both(&order, &mut sent);
        let stored = self.bounded(order.file.deadline, work).await;
        drop(transfer);
        sent.sent = match stored {
            Ok(()) => self.send_stored(order, &sent).await,
            Err(failure) => Err(failure),
        };
        sent
    }

    /// Among the requests, since an upload is one as long as it takes, and among the transfers.
    fn upload_places(&self, app: &App) -> Result<(Place, Place), Failure> {
        let request = self.requests.take(&app.name)?;
        Ok((request, self.transfers.places.take(&app.name)?))
    }

    async fn store_both(&self, order: &MediaOrder, sent: &mut MediaSent) -> Result<(), Failure> {
        let UploadOrder { app, upload, .. } = &order.file;
        if upload.has_thumbnail().await? {
            if !order.message.takes_thumbnail() {
                return Err(Failure::Upload(media::Error::OutOfOrder(
                    "thumbnail chunks are for videos without a thumbnail in their message",
                )));
            }
            let (store, declared) = &order.thumbnail;
            upload.with(|upload| upload.begin(Section::Thumbnail, *declared));
            sent.thumbnail = Some(self.store(app, store, upload).await?);
        }
        upload.with(|upload| upload.begin(Section::File, order.declared));
        sent.file = Some(self.store(app, &order.file.store, upload).await?);
        Ok(())
    }

    async fn send_stored(&self, order: MediaOrder, stored: &MediaSent) -> Result<Sent, Failure> {
        let UploadOrder {
            app,
            caller,
            deadline,
            ..
        } = order.file;
        let file = stored.file.as_ref().ok_or(Failure::Internal)?;
        let thumbnail = stored.thumbnail.as_ref().map(StoredFile::file_ref);
        let message = order.message.complete(
            &file.file_ref(),
            thumbnail.as_ref(),
            file.summary.size_bytes,
            &app,
        );
        let order = Order {
            message: message.ok_or(Failure::Internal)?,
            app,
            caller,
            deadline: deadline.unwrap_or_else(|| Deadline::after(order.send_timeout)),
        };
        Ok(self.send_admitted(order).await)
    }

    /// One file. Not tried again: its bytes are gone.
    async fn store(
        &self,
        app: &App,
        store: &Store,
        upload: &SharedUpload,
    ) -> Result<StoredFile, Failure> {
        let span = Span::of_current(SpanKind::Internal, "upload file");
        let stored = span.clone().scope(self.store_in_span(app, store, upload));
        let stored = stored.await;
        span.record(|span| match &stored {
            Ok(stored) => {
                let size = i64::try_from(stored.summary.size_bytes).unwrap_or(i64::MAX);
                span.set("easemob.upload.bytes", size);
            }
            Err(Failure::Upload(_)) => span.fail("caller"),
            Err(_) => span.fail("easemob"),
        });
        stored
    }

    async fn store_in_span(
        &self,
        app: &App,
        store: &Store,
        upload: &SharedUpload,
    ) -> Result<StoredFile, Failure> {
        let route = self.route(app);
        let token = route.tokens.ready().await?;
        let stored = route
            .client
            .store(store, upload, &token, self.transfers.config())
            .await;
        let file = match stored {
            Ok(file) => file,
            Err(UploadError::Caller(error)) => return Err(Failure::Upload(error)),
            Err(UploadError::Easemob(error)) if error.kind == Kind::TokenRefused => {
                renew(route, token);
                return Err(error.with_kind(Kind::UploadInterrupted).into());
            }
            Err(UploadError::Easemob(error)) => return Err(error.into()),
        };
        let summary = upload.with(|upload| upload.summary().cloned());
        Ok(StoredFile {
            file,
            summary: summary.ok_or(Failure::Internal)?,
        })
    }

    /// Within the time for a transfer, the caller's own time, and the time of this process.
    async fn bounded<T>(
        &self,
        deadline: Option<Deadline>,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let longest = Instant::now() + self.transfers.config.transfer_timeout;
        let due = deadline.map_or(longest, |deadline| deadline.answer_by().min(longest));
        tokio::select! {
            biased;
            outcome = timeout_at(due, work) => outcome.unwrap_or(match due == longest {
                true => Err(Failure::Upload(media::Error::Incomplete(
                    "the upload took longer than the gateway's transfer_timeout",
                ))),
                false => Err(Failure::DeadlineExceeded),
            }),
            () = self.transfers.closing.cancelled() => Err(Failure::ShuttingDown),
        }
    }

    /// Opens a file, or the thumbnail of an image, for reading.
    pub async fn download(
        &self,
        app: &App,
        file: &FileId,
        secret: Option<&str>,
        thumbnail: bool,
    ) -> Result<Download, Failure> {
        let place = self.transfers.places.take(&app.name)?;
        let config = Arc::clone(&self.transfers.config);
        let until = Instant::now() + config.transfer_timeout;
        let route = self.route(app);
        let span = Span::of_current(SpanKind::Internal, "download file");
        let open = async |token: &easemob::Token| {
            let timeout = config.answer_timeout;
            route
                .client
                .open(file, secret, thumbnail, token, timeout)
                .await
        };
        let opened = async {
            let token = route.tokens.ready().await?;
            match open(&token).await {
                // Nothing was read yet, so that a new token may have another try.
                Err(error) if error.kind == Kind::TokenRefused => {
                    let token = route.tokens.replace(&token).await?;
                    open(&token).await.map_err(|error| match error.kind {
                        Kind::TokenRefused => error.with_kind(Kind::CredentialsRejected),
                        _ => error,
                    })
                }
                response => response,
            }
        };
        let opened = span.clone().scope(opened).await;
        let response = opened.inspect_err(|_| span.record(|span| span.fail("easemob")))?;
        Ok(Download {
            response,
            until,
            stall_timeout: config.stall_timeout,
            closing: self.transfers.closing.clone(),
            span,
            downloaded: route.downloaded.clone(),
            _place: place,
        })
    }
}

/// Has the next upload find another token than the one that was refused.
fn renew(route: &Arc<Route>, refused: Arc<easemob::Token>) {
    let tokens = Arc::clone(&route.tokens);
    tokio::spawn(async move {
        // Whoever needs it next is told how it went.
        let _outcome = tokens.replace(&refused).await;
    });
}

/// A file on its way to a caller.
#[derive(Debug)]
pub struct Download {
    response: reqwest::Response,
    until: Instant,
    stall_timeout: Duration,
    closing: CancellationToken,
    // Until the caller has the last byte, or none of the rest.
    span: Span,
    downloaded: metrics::Bytes,
    _place: Place,
}

impl Download {
    /// What Easemob tells of the file.
    pub fn headers(&self) -> &http::HeaderMap {
        self.response.headers()
    }

    /// Size in bytes, where Easemob tells it.
    pub fn size_bytes(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next bytes; none at the end. What breaks off is an error, never a short file.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let broken = |what: &str| {
            self.span.record(|span| span.fail("broken off"));
            let what = format!("the download broke off: {what}");
            Failure::from(
                easemob::Error::new(Kind::Unreachable, what)
                    .with_retry_after(Duration::from_secs(1)),
            )
        };
        let due = self.until.min(Instant::now() + self.stall_timeout);
        tokio::select! {
            biased;
            chunk = timeout_at(due, self.response.chunk()) => match chunk {
                Ok(Ok(chunk)) => {
                    self.downloaded.add(chunk.as_ref().map_or(0, |chunk| chunk.len() as u64));
                    Ok(chunk)
                }
                Ok(Err(_error)) => Err(broken("the connection to Easemob was lost")),
                Err(_elapsed) => Err(broken("Easemob stood still, or it took too long")),
            },
            () = self.closing.cancelled() => Err(Failure::ShuttingDown),
        }
    }
}
