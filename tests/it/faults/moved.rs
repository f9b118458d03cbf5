//! U11: Easemob's name gets another address under load. No call fails, what is under way ends where it
//! began, and what begins once connections are of age goes to the new address: sends, files and tokens.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use easemob_gateway::proto::{
    UploadFileHeader, UploadFileRequest, UploadFinish, upload_file_request::Part,
};
use tokio::{
    sync::{
        mpsc::{UnboundedSender, unbounded_channel},
        watch,
    },
    task::{JoinHandle, JoinSet},
    time::sleep_until,
};
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::support::{
    binary::Binary,
    easemob::{Easemob, Gate, Received, Script, UNAUTHORIZED},
    hosts::{Hosts, NAME},
    ledger::Client,
    request::{says, under_way},
    soon,
};

const OLD: Ipv4Addr = Ipv4Addr::LOCALHOST;
const NEW: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// As in the settings below.
const CONNECTION_AGE: Duration = Duration::from_secs(1);

/// Four who send and two who upload, and never pause.
struct Load {
    callers: JoinSet<()>,
    /// Sends and uploads so far, all of which succeeded.
    calls: watch::Sender<[usize; 2]>,
    enough: Arc<AtomicBool>,
}

impl Load {
    /// `name` is in all that is sent.
    async fn begin(gateway: &Binary, name: &'static str) -> Self {
        let mut load = Self {
            callers: JoinSet::new(),
            calls: watch::Sender::default(),
            enough: Arc::default(),
        };
        for number in 0..6 {
            let client = gateway.client().await;
            let (calls, enough) = (load.calls.clone(), Arc::clone(&load.enough));
            load.callers.spawn(async move {
                for call in 0.. {
                    let words = format!("{name} {number} {call}");
                    let kind = usize::from(number < 2);
                    match kind {
                        0 => send(&client, &words).await,
                        _ => upload(&client, words).await,
                    }
                    calls.send_modify(|calls| calls[kind] += 1);
                    if enough.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        load
    }

    async fn is_there(&self) {
        let mut calls = self.calls.subscribe();
        let enough = calls.wait_for(|[sends, uploads]| *sends >= 100 && *uploads >= 20);
        soon("load", enough).await.unwrap();
    }

    /// How many calls there were of each kind.
    async fn ended(self) -> [usize; 2] {
        self.enough.store(true, Ordering::Relaxed);
        self.callers.join_all().await;
        *self.calls.borrow()
    }
}

async fn send(client: &Client, words: &str) {
    let sent = client.clone().send_message(says(words, words)).await;
    assert_eq!(sent.unwrap().into_inner().accepted.len(), 1);
}

async fn upload(client: &Client, filename: String) {
    let (parts, uploading) = begin_upload(client, filename);
    finish(&parts);
    uploading.await.unwrap();
}

/// An upload whose end is for the test to send.
fn begin_upload(
    client: &Client,
    filename: String,
) -> (UnboundedSender<UploadFileRequest>, JoinHandle<()>) {
    let (parts, stream) = unbounded_channel();
    for part in [
        Part::Header(UploadFileHeader {
            filename,
            ..Default::default()
        }),
        Part::Chunk(Bytes::from_static(b"the first bytes")),
    ] {
        parts.send(UploadFileRequest { part: Some(part) }).unwrap();
    }
    let mut client = client.clone();
    let uploading = tokio::spawn(async move {
        let stream = UnboundedReceiverStream::new(stream);
        client.upload_file(stream).await.unwrap();
    });
    (parts, uploading)
}

fn finish(parts: &UnboundedSender<UploadFileRequest>) {
    let part = Some(Part::Finish(UploadFinish::default()));
    parts.send(UploadFileRequest { part }).unwrap();
}

/// How many of them have the name in them, and arrived here.
fn count(received: &[Received], name: &str, at: Ipv4Addr) -> usize {
    let has_name = |one: &&Received| {
        let bytes = &mut one.bytes.windows(name.len());
        bytes.any(|some| some == name.as_bytes())
    };
    let mine = received.iter().filter(has_name);
    mine.filter(|one| one.to == IpAddr::V4(at)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_address_has_all_that_begins_once_connections_are_of_age_and_no_call_fails() {
    let easemob = Easemob::start();
    easemob.also_at(NEW);
    let hosts = Hosts::new(OLD);
    let toml = format!(
        "[apps.shop]\nbase_url = '{}'\ninsecure_http = true\nconnection_age = '1s'\n\
         org_name = 'sandbox'\napp_name = 'demo'\n\
         client_id = 'sandbox-client-id'\nclient_secret_env = 'SECRET'\n\
         [apps.shop.quota]\nusers = {{ calls_per_second = 0, messages_per_minute = 0 }}\n\
         files = {{ calls_per_second = 0 }}\n",
        easemob.known_as(NAME),
    );
    let secret = [("SECRET", "sandbox-client-secret")];
    let gateway = Binary::serve_by(hosts.command(), &toml, &secret).await;

    // One of each that is under way for longer than a connection may be used.
    let (client, gate) = (gateway.client().await, Gate::default());
    easemob.on_send(Script::read().wait(&gate).accept());
    let slow_send = under_way(&easemob, &client, says("slow", "slow")).await;
    let before = easemob.seen().bytes_in;
    let (slow_parts, slow_upload) = begin_upload(&client, "slow".into());
    let arrives = easemob.until("the upload is there", |seen| seen.bytes_in > before);
    arrives.await;

    let load = Load::begin(&gateway, "before").await;
    load.is_there().await;
    hosts.change(NEW);
    let changed = Instant::now();
    sleep_until((changed + CONNECTION_AGE).into()).await;
    let later_load = Load::begin(&gateway, "later").await;
    // Somebody needs another token.
    easemob.on_send(Script::read().answer(401, UNAUTHORIZED));
    let calls = load.ended().await;
    later_load.is_there().await;
    let later_calls = later_load.ended().await;
    gate.open();
    finish(&slow_parts);
    slow_send.await.unwrap().unwrap();
    slow_upload.await.unwrap();

    let seen = easemob.seen();
    let mut at_new = seen.sends.iter().filter(|one| one.to == IpAddr::V4(NEW));
    println!(
        "{calls:?} sends and uploads, {later_calls:?} later ones; the new address had its first after {:?}",
        at_new.next().unwrap().at - changed
    );
    for (at, later) in [(OLD, false), (NEW, true)] {
        assert_eq!(count(&seen.sends, "later", at) > 0, later);
        assert_eq!(count(&seen.uploads, "later", at) > 0, later);
        assert_eq!(count(&seen.sends, "slow", at) > 0, !later);
        assert_eq!(count(&seen.uploads, "slow", at) > 0, !later);
    }
    let tokens: Vec<_> = seen.tokens.iter().map(|token| token.to).collect();
    assert_eq!(tokens, [OLD, NEW]);
}
