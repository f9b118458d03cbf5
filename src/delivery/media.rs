//! Files: an upload, an upload and then the message that carries it, a download.

use std::{future::poll_fn, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    Deadline, Delivery, Failure, Order, Sent, Shares,
    ledger::{Request, Start},
    part::Route,
    share::Place,
    split::split,
    turn::{quota_kind, tell_wait},
};
use crate::{
    app::App,
    caller::Caller,
    easemob::{self, Kind, SharedUpload, Store, Stored, UploadError},
    id::{FileId, RequestId},
    media::{self, Section, Summary},
    message::MediaMessage,
    metrics,
    proto::{FileRef, file_ref::Location},
    quota::{self, Turn},
    store,
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
    /// As in [`Order`]: it belongs to the message, and so to the upload.
    pub request_id: Option<RequestId>,
    /// As in [`Order`].
    pub resend_maybe_sent: bool,
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

    fn to_record(&self) -> store::StoredFile {
        store::StoredFile {
            uuid: self.file.id.clone(),
            secret: self.file.secret.as_deref().map(Box::from),
            size_bytes: self.summary.size_bytes,
            sha256: self.summary.sha256,
        }
    }

    fn from_record(file: &store::StoredFile) -> Self {
        Self {
            file: Stored {
                id: file.uuid.clone(),
                secret: file.secret.as_deref().map(str::to_owned),
            },
            summary: Summary {
                size_bytes: file.size_bytes,
                sha256: file.sha256,
            },
        }
    }
}

/// Reads a file that is stored already, to the end: under the same request ID it has to be the same.
async fn compare(
    upload: &SharedUpload,
    known: &store::StoredFile,
    declared: Option<u64>,
) -> Result<StoredFile, Failure> {
    if declared.is_some_and(|size| size != known.size_bytes) {
        return Err(Failure::RequestIdReused);
    }
    while let Some(bytes) = poll_fn(|cx| upload.with(|upload| upload.poll_bytes(cx))).await {
        bytes.map_err(Failure::Upload)?;
    }
    let stored = StoredFile::from_record(known);
    match upload.with(|upload| upload.summary() == Some(&stored.summary)) {
        true => Ok(stored),
        false => Err(Failure::RequestIdReused),
    }
}

/// The files of a message, as far as they are stored.
#[derive(Default)]
struct Files {
    file: Option<StoredFile>,
    thumbnail: Option<StoredFile>,
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
        let work = self.store(&order, &order.store);
        self.bounded(order.deadline, work).await
    }

    /// Stores a file, and sends the message that carries it. A caller that goes away ends it, unless
    /// the message is dispatched already. Under a request ID, what was stored is not stored again: its
    /// bytes are read and compared.
    pub async fn send_media(&self, order: MediaOrder) -> MediaSent {
        let mut files = Files::default();
        let sent = self.store_and_send(order, &mut files).await;
        MediaSent {
            file: files.file,
            thumbnail: files.thumbnail,
            sent,
        }
    }

    async fn store_and_send(&self, order: MediaOrder, files: &mut Files) -> Result<Sent, Failure> {
        let begun = self.begin_upload(&order).await?;
        if let Some(running @ Start::Running(_)) = begun {
            let mut target = order.message.stand_in().target.clone();
            return Ok(running.remaining(&mut target).known);
        }
        let (_request, transfer) = self.upload_places(&order.file.app)?;
        // A repeat of what is settled sends nothing more.
        if !matches!(begun, Some(Start::Settled(_))) {
            self.has_quota_for(&order).await?;
        }
        let work = self.store_both(&order, begun.as_ref(), files);
        let work = self.bounded(order.file.deadline, work);
        match &begun {
            Some(Start::Run(run, _)) => run.keep(pin!(work)).await?,
            _ => work.await?,
        }
        drop(transfer);
        self.send_stored(order, begun, files).await
    }

    /// Among the requests, since an upload is one as long as it takes, and among the transfers.
    fn upload_places(&self, app: &App) -> Result<(Place, Place), Failure> {
        let request = self.requests.take(&app.name)?;
        Ok((request, self.transfers.places.take(&app.name)?))
    }

    /// Refuses a message before its upload that would be refused after it.
    async fn has_quota_for(&self, order: &MediaOrder) -> Result<(), Failure> {
        let UploadOrder {
            app,
            caller,
            deadline,
            ..
        } = &order.file;
        let route = self.route(app);
        let message = order.message.stand_in();
        let kind = quota_kind(message.target.kind);
        let most = route.upstream.quotas.largest_call(kind);
        let parts = split(message, &app.limits, most);
        let calls: Vec<u64> = parts.iter().map(|part| part.len() as u64).collect();
        let until = Instant::now() + order.send_timeout;
        let until = deadline.map_or(until, |deadline| deadline.answer_by());
        route.admit(kind, caller, &calls, until).await?;
        Ok(())
    }

    /// A turn in the quota for files. What would wait for longer than an idle caller may is refused.
    async fn file_turn(&self, app: &App, caller: &Caller) -> Result<Turn, Failure> {
        let queued = Instant::now();
        let until = queued + self.transfers.config.upload_idle_timeout;
        let admission = self
            .route(app)
            .admit(quota::Kind::Files, caller, &[1], until)
            .await?;
        let turn = admission.turn(1, None).await;
        tell_wait(queued.elapsed());
        Ok(turn)
    }

    async fn begin_upload(&self, order: &MediaOrder) -> Result<Option<Start>, Failure> {
        let Some(request_id) = &order.request_id else {
            return Ok(None);
        };
        let UploadOrder {
            app,
            caller,
            deadline,
            ..
        } = &order.file;
        let longest = Instant::now() + self.transfers.config.transfer_timeout;
        let answer_by = deadline.map_or(longest, |deadline| deadline.answer_by().min(longest));
        let closing = &self.transfers.closing;
        let request = Request::of_upload(&order.message, app, caller, request_id, &self.records)
            .resend_maybe_sent(order.resend_maybe_sent);
        let start = request.begin(
            &self.records,
            answer_by,
            closing,
            &self.route(app).request_ids,
        );
        start.await.map(Some)
    }

    async fn store_both(
        &self,
        order: &MediaOrder,
        begun: Option<&Start>,
        files: &mut Files,
    ) -> Result<(), Failure> {
        let upload = &order.file.upload;
        let has_thumbnail = upload.has_thumbnail().await?;
        if has_thumbnail && !order.message.takes_thumbnail() {
            return Err(Failure::Upload(media::Error::OutOfOrder(
                "thumbnail chunks are for videos without a thumbnail in their message",
            )));
        }
        let known = begun.and_then(Start::record).map(|record| &record.files);
        if let Some(known) = known
            // Once the file is stored, it is settled whether there is a thumbnail.
            && (known.thumbnail.is_some() && !has_thumbnail
                || known.thumbnail.is_none() && known.file.is_some() && has_thumbnail)
        {
            return Err(Failure::RequestIdReused);
        }
        if has_thumbnail {
            let known = known.and_then(|files| files.thumbnail.as_ref());
            let stored = self.store_once(order, begun, Section::Thumbnail, known);
            files.thumbnail = Some(stored.await?);
        }
        let known = known.and_then(|files| files.file.as_ref());
        let stored = self.store_once(order, begun, Section::File, known);
        files.file = Some(stored.await?);
        Ok(())
    }

    /// One of the files, unless it is stored already.
    async fn store_once(
        &self,
        order: &MediaOrder,
        begun: Option<&Start>,
        which: Section,
        known: Option<&store::StoredFile>,
    ) -> Result<StoredFile, Failure> {
        let upload = &order.file.upload;
        let (store, declared) = match which {
            Section::Thumbnail => (&order.thumbnail.0, order.thumbnail.1),
            Section::File => (&order.file.store, order.declared),
        };
        upload.with(|upload| upload.begin(which, declared));
        if let Some(known) = known {
            return compare(upload, known, declared).await;
        }
        match begun {
            None => self.store(&order.file, store).await,
            Some(Start::Run(run, _)) => {
                let stored = self.store(&order.file, store).await?;
                run.stored(which, stored.to_record()).await;
                Ok(stored)
            }
            // What was sent had no such file.
            Some(_) => Err(Failure::RequestIdReused),
        }
    }

    async fn send_stored(
        &self,
        order: MediaOrder,
        begun: Option<Start>,
        stored: &Files,
    ) -> Result<Sent, Failure> {
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
            message: Arc::new(message.ok_or(Failure::Internal)?),
            app,
            caller,
            key: None,
            resend_maybe_sent: order.resend_maybe_sent,
            deadline: deadline.unwrap_or_else(|| Deadline::after(order.send_timeout)),
        };
        Ok(match begun {
            Some(start) => {
                let route = self.route(&order.app);
                self.send_rest(route, order, start).await
            }
            None => self.send_admitted(order).await,
        })
    }

    /// One file. Not tried again: its bytes are gone.
    async fn store(&self, order: &UploadOrder, store: &Store) -> Result<StoredFile, Failure> {
        let span = Span::of_current(SpanKind::Internal, "upload file");
        let stored = span.clone().scope(self.store_in_span(order, store));
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
        order: &UploadOrder,
        store: &Store,
    ) -> Result<StoredFile, Failure> {
        let UploadOrder {
            app,
            caller,
            upload,
            ..
        } = order;
        let route = self.route(app);
        let token = route.upstream.tokens.ready().await?;
        let _turn = self.file_turn(app, caller).await?;
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
        (app, caller): (&App, &Caller),
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
        let turn = span.clone().scope(self.file_turn(app, caller));
        let _turn = turn.await?;
        let opened = async {
            let token = route.upstream.tokens.ready().await?;
            match open(&token).await {
                // Nothing was read yet, so that a new token may have another try.
                Err(error) if error.kind == Kind::TokenRefused => {
                    let token = route.upstream.tokens.replace(&token).await?;
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
    let tokens = Arc::clone(&route.upstream.tokens);
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
