//! Callers of every kind, at a steady rate.

use std::time::Duration;

use bytes::Bytes;
use easemob_gateway::proto::{
    DownloadFileRequest, FileContent, FileRef, MediaHeader, SendMediaMessageRequest,
    SendMessagesRequest, UploadFileHeader, UploadFileRequest, UploadFinish, file_ref::Location,
    message::Content, send_media_message_request::Part as SendPart, upload_file_request::Part,
};
use fastrand::Rng;
use tokio::{
    task::JoinSet,
    time::{interval, timeout},
};
use tokio_stream::Stream;
use tonic::{Code, Request};

use crate::support::{
    binary::Binary,
    ledger::Client,
    request::{message, request, says, text, users},
    within,
};

/// What a caller does.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Send,
    /// And once more, which sends nothing twice.
    SendUnderAnId,
    /// To eight users.
    SendToMany,
    /// With less time than it may take.
    SendInAHurry,
    SendAndLeave,
    /// On a connection of its own.
    SendAndDisconnect,
    /// Four messages.
    SendOnAStream,
    SendAFile,
    Upload,
    /// An upload that does not end.
    BreakOff,
    Download,
}

/// A second of it: 80 messages to users, four fifths of Easemob's default quota. Files have a quota of their own.
const A_SECOND: [(Kind, usize); 11] = [
    (Kind::Send, 23),
    (Kind::SendUnderAnId, 16),
    (Kind::SendToMany, 2),
    (Kind::SendInAHurry, 4),
    (Kind::SendAndLeave, 8),
    (Kind::SendAndDisconnect, 1),
    (Kind::SendOnAStream, 2),
    (Kind::SendAFile, 4),
    (Kind::Upload, 2),
    (Kind::BreakOff, 1),
    (Kind::Download, 1),
];

/// The callers of one gateway.
pub(super) struct Load {
    clients: Vec<Client>,
    rng: Rng,
    calls: JoinSet<()>,
    number: usize,
}

impl Load {
    pub(super) async fn new(gateway: &Binary, rng: Rng) -> Self {
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(gateway.client().await);
        }
        Self {
            clients,
            rng,
            calls: JoinSet::new(),
            number: 0,
        }
    }

    /// The calls of a second, in any order, begun one after the other.
    pub(super) async fn second(&mut self, gateway: &Binary) {
        let each = |(kind, times)| std::iter::repeat_n(kind, times);
        let mut kinds: Vec<_> = A_SECOND.into_iter().flat_map(each).collect();
        self.rng.shuffle(&mut kinds);
        let mut ticks = interval(Duration::from_secs(1) / u32::try_from(kinds.len()).unwrap());
        for kind in kinds {
            ticks.tick().await;
            let client = match kind {
                Kind::SendAndDisconnect => gateway.client().await,
                _ => self.clients[self.number % self.clients.len()].clone(),
            };
            let (number, rng) = (self.number, self.rng.fork());
            self.number += 1;
            self.calls.spawn(soon_over(kind, client, number, rng));
            while let Some(call) = self.calls.try_join_next() {
                call.unwrap();
            }
        }
    }

    /// Waits for whatever is under way.
    pub(super) async fn over(&mut self) {
        while let Some(call) = self.calls.join_next().await {
            call.unwrap();
        }
    }
}

async fn soon_over(kind: Kind, client: Client, number: usize, rng: Rng) {
    let what = format!("the end of {kind:?} {number}");
    // Two calls, one after the other, may take the ten seconds that each has by default.
    let limit = Duration::from_secs(60);
    within(limit, &what, call(kind, client, number, rng)).await;
}

/// What becomes of it is for Easemob's ledger to judge, and for those who know better.
async fn call(kind: Kind, mut client: Client, number: usize, mut rng: Rng) {
    let words = format!("message {number}");
    let mut plain = Request::new(says("", &words));
    match kind {
        Kind::Send | Kind::SendAndDisconnect => {
            let _told = client.send_message(plain).await;
        }
        Kind::SendUnderAnId => {
            let first = client.send_message(says(&words, &words)).await;
            let again = client.send_message(says(&words, &words)).await;
            if let Ok(first) = first {
                // Unless it never came to the gateway: its connection had reached its age.
                let again = match again {
                    Err(status) if status.code() == Code::Cancelled => return,
                    again => again.expect("it was accepted before").into_inner(),
                };
                assert_eq!(first.into_inner().accepted, again.accepted);
            }
        }
        Kind::SendToMany => {
            let all = users(&["a", "b", "c", "d", "e", "f", "g", "h"]);
            let _told = client
                .send_message(request(message(all, text(&words))))
                .await;
        }
        Kind::SendInAHurry => {
            plain.set_timeout(Duration::from_millis(rng.u64(1..50)));
            let _told = client.send_message(plain).await;
        }
        Kind::SendAndLeave => {
            let patience = Duration::from_millis(rng.u64(..20));
            let _left = timeout(patience, client.send_message(plain)).await;
        }
        Kind::SendOnAStream => {
            let requests = (0..4).map(|part| SendMessagesRequest {
                correlation_id: part.to_string(),
                request: Some(says("", &format!("{words}, {part}"))),
                timeout: None,
            });
            let stream = tokio_stream::iter(requests.collect::<Vec<_>>());
            let mut answers = match client.send_messages(stream).await {
                // It never came to the gateway: its connection had reached its age.
                Err(status) if status.code() == Code::Cancelled => return,
                answers => answers.unwrap().into_inner(),
            };
            let mut count = 0;
            while answers.message().await.unwrap().is_some() {
                count += 1;
            }
            assert_eq!(count, 4);
        }
        Kind::SendAFile => {
            let _told = client.send_media_message(a_media_message(words)).await;
        }
        Kind::Upload => {
            let _told = client.upload_file(a_file(words, true)).await;
        }
        Kind::BreakOff => {
            let told = client.upload_file(a_file(words, false)).await;
            told.expect_err("it had no end");
        }
        Kind::Download => {
            let uuid = Location::Uuid("11111111-2222-3333-4444-555555555555".into());
            let request = DownloadFileRequest {
                file: Some(FileRef {
                    location: Some(uuid),
                    ..Default::default()
                }),
                ..Default::default()
            };
            if let Ok(parts) = client.download_file(request).await {
                let mut parts = parts.into_inner();
                while let Ok(Some(_part)) = parts.message().await {}
            }
        }
    }
}

/// Small, in two chunks, so that most of them are on the way when something happens.
fn chunks() -> [Bytes; 2] {
    [
        Bytes::from_static(&[1; 2_000]),
        Bytes::from_static(&[2; 500]),
    ]
}

fn a_media_message(filename: String) -> impl Stream<Item = SendMediaMessageRequest> {
    let header = MediaHeader {
        message: Some(message(
            users(&["bob"]),
            Content::File(FileContent {
                file: None,
                filename,
            }),
        )),
        ..Default::default()
    };
    let parts = std::iter::once(SendPart::Header(header))
        .chain(chunks().map(SendPart::Chunk))
        .chain([SendPart::Finish(UploadFinish::default())]);
    let parts = parts.map(|part| SendMediaMessageRequest { part: Some(part) });
    tokio_stream::iter(parts.collect::<Vec<_>>())
}

fn a_file(filename: String, whole: bool) -> impl Stream<Item = UploadFileRequest> {
    let header = UploadFileHeader {
        filename,
        ..Default::default()
    };
    let parts = std::iter::once(Part::Header(header))
        .chain(chunks().map(Part::Chunk))
        .chain(whole.then(|| Part::Finish(UploadFinish::default())));
    let parts = parts.map(|part| UploadFileRequest { part: Some(part) });
    tokio_stream::iter(parts.collect::<Vec<_>>())
}
