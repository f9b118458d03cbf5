//! What a request ID has already achieved: a message under one runs once at a time, and only what is
//! left of it is sent. Messages here, numbers in the store.

mod held;
mod merge;
mod run;

use std::{ops::Deref, pin::pin, sync::Arc, time::Duration};

use smallvec::smallvec;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

pub(super) use self::{held::Held, run::Run};
use super::{Failure, deadline::in_time};
use crate::{
    app::App,
    caller::Caller,
    easemob,
    id::RequestId,
    message::{Fingerprints, MediaMessage, Message},
    metrics::{Repeat, RequestIds},
    store::{Begin, Begun, Key, Record, State, Store},
    trace,
};

/// How long a claim in a shared store lasts that nobody renews: what a stall may take that is no death.
const CLAIM_LEASE: Duration = Duration::from_secs(10);
/// How long one lasts in a store that nobody else sees: longer than any request. It ends with its run, and the store with
/// the process, so that nobody has to show that it lives.
const UNSHARED_LEASE: Duration = Duration::from_hours(24);
/// How long after its own limit an attempt may still be under way.
const BEYOND_ATTEMPT: Duration = Duration::from_secs(2);

/// Why a run cannot go on whose claim was lost.
const TAKEN_OVER: &str = "another request with this request ID has taken over: the gateway stood still \
                          for too long";
/// What is said of recipients that another run is about to send to.
const STILL_RUNNING: &str = "an earlier request with this request ID is still under way";
/// What is said of recipients that an earlier run may have sent to.
const SENT_BEFORE: &str = "an earlier attempt under this request ID may have sent it";

/// The store, held by one count for each shard of the gateway: cores that count together wait for each other at every send.
#[derive(Debug, Clone)]
pub(super) struct Records(Arc<Shared>);

#[derive(Debug)]
struct Shared(Arc<Store>);

impl Records {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self(Arc::new(Shared(store)))
    }
}

impl Deref for Records {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.0.0
    }
}

/// A message under a request ID.
#[derive(Debug)]
pub(super) struct Request {
    key: Key,
    fingerprints: Fingerprints,
    recipients: usize,
    resend_maybe_sent: bool,
    at_once: bool,
}

/// How a request begins.
#[derive(Debug)]
pub(super) enum Start {
    /// There is something to send. The record tells of the rest; a first run has none.
    Run(Run, Option<Box<Record>>),
    /// There is nothing to send.
    Settled(Box<Record>),
    /// Another run is under way, and did not end in time.
    Running(Box<Record>),
}

impl Request {
    /// Of a message that is complete.
    pub(super) fn of_message(message: &Message, app: &App, key: Key, store: &Store) -> Self {
        Self {
            key,
            fingerprints: message.fingerprints(app),
            recipients: message.target.recipients.len(),
            resend_maybe_sent: false,
            at_once: !store.is_shared() && message.target.recipients.len() == 1,
        }
    }

    /// Of a message whose file is still to come.
    pub(super) fn of_upload(
        message: &MediaMessage,
        app: &App,
        caller: &Caller,
        request_id: &RequestId,
        store: &Store,
    ) -> Self {
        Self {
            key: store.key(caller.name(), &app.name, request_id),
            fingerprints: smallvec![message.fingerprint(app)],
            recipients: message.stand_in().target.recipients.len(),
            resend_maybe_sent: false,
            // The upload comes first.
            at_once: false,
        }
    }

    /// Also sends what may have been sent before.
    pub(super) fn resend_maybe_sent(self, resend_maybe_sent: bool) -> Self {
        Self {
            resend_maybe_sent,
            ..self
        }
    }

    /// Begins as soon as no other run of the same request is under way, or tells of that run when there is
    /// no more time to wait for it.
    pub(super) async fn begin(
        &self,
        store: &Records,
        answer_by: Instant,
        closing: &CancellationToken,
        seen: &RequestIds,
    ) -> Result<Start, Failure> {
        let begin = Begin {
            key: self.key,
            fingerprints: &self.fingerprints,
            recipients: self.recipients,
            resend_maybe_sent: self.resend_maybe_sent,
            at_once: self.at_once,
            lease: claim_lease(store),
            trace: trace::ids(),
        };
        let mut known = None;
        loop {
            // Where it is cut short, what may have been claimed is given back.
            let begun = in_time(answer_by, pin!(store.begin(&begin))).await;
            seen.found(match &begun {
                Ok(Ok(Begun::New(_))) => Repeat::First,
                Ok(Ok(Begun::Again(..))) => Repeat::Resumed,
                Ok(Ok(Begun::Settled(_))) => Repeat::Replayed,
                Ok(Ok(Begun::Running(..))) => Repeat::Joined,
                Ok(Ok(Begun::Reused)) => Repeat::Reused,
                Ok(Err(_)) | Err(_) => Repeat::Refused,
            });
            let (running, record) = match (begun, known.take()) {
                (Ok(Ok(Begun::New(claim))), _) => {
                    trace::event("request_id.claimed", &[]);
                    let run = Run::new(store, claim, self.recipients);
                    return Ok(Start::Run(run, None));
                }
                (Ok(Ok(Begun::Again(claim, record))), _) => {
                    trace::event("request_id.resumed", &[]);
                    let claimed = record.recipients.iter().filter(|state| is_ours(state));
                    let run = Run::new(store, claim, claimed.count());
                    return Ok(Start::Run(run, Some(record)));
                }
                (Ok(Ok(Begun::Settled(record))), _) => {
                    trace::event("request_id.replayed", &[]);
                    return Ok(Start::Settled(record));
                }
                (Ok(Ok(Begun::Running(running, record))), _) => (running, record),
                (Ok(Ok(Begun::Reused)), _) => return Err(Failure::RequestIdReused),
                // That there is a run is known, and not what becomes of it.
                (_, Some(record)) => return Ok(Start::Running(record)),
                (Ok(Err(error)), None) => return Err(error.into()),
                (Err(_elapsed), None) => return Err(Failure::DeadlineExceeded),
            };
            trace::event("request_id.joined", &[]);
            if let Some(other) = running.trace {
                trace::link(other);
            }
            tokio::select! {
                biased;
                () = running.ended() => {}
                () = sleep_until(answer_by) => return Ok(Start::Running(record)),
                // What it waits for may go on; this repeat cannot.
                () = closing.cancelled() => return Ok(Start::Running(record)),
            }
            known = Some(record);
        }
    }

    /// Whether the record is of this message: one that was begun as an upload has to name the files that
    /// were stored.
    pub(super) fn fits(&self, message: &Message, app: &App, record: &Record) -> bool {
        let as_what = self
            .fingerprints
            .iter()
            .position(|f| *f == record.fingerprint);
        match as_what {
            Some(0) => true,
            Some(upload) => names_files(message, app, record, upload == 1),
            None => false,
        }
    }
}

impl Start {
    /// What is remembered.
    pub(super) fn record(&self) -> Option<&Record> {
        match self {
            Self::Run(_, record) => record.as_deref(),
            Self::Settled(record) | Self::Running(record) => Some(record),
        }
    }
}

/// How long a claim lasts at first.
fn claim_lease(store: &Store) -> Duration {
    match store.is_shared() {
        true => CLAIM_LEASE,
        false => UNSHARED_LEASE,
    }
}

/// Whether the message names just the files that the record has. `own_thumbnail`: if it has one, then not
/// from the upload.
fn names_files(message: &Message, app: &App, record: &Record, own_thumbnail: bool) -> bool {
    let (Some(named), Some(file)) = (message.files(), &record.files.file) else {
        return false;
    };
    let is = |file: &crate::store::StoredFile, url: Option<&str>, secret: Option<&str>| {
        url == Some(&*app.file_url(&file.uuid)) && secret == file.secret.as_deref()
    };
    let thumbnail = (
        named.thumbnail_url.as_deref(),
        named.thumbnail_secret.as_deref(),
    );
    is(file, Some(&named.url), named.secret.as_deref())
        && named.size_bytes.is_none_or(|size| size == file.size_bytes)
        && match &record.files.thumbnail {
            Some(stored) => is(stored, thumbnail.0, thumbnail.1),
            None => own_thumbnail || thumbnail.0.is_none(),
        }
}

fn in_doubt(what: &'static str) -> Failure {
    easemob::Error::in_doubt(what, None).into()
}

/// Whether a recipient is this run's to send to.
fn is_ours(state: &State) -> bool {
    matches!(state, State::Claimed { .. })
}

#[cfg(test)]
mod tests;
