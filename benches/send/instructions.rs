//! Instructions of one text send, counted by valgrind: the same on a busy machine and on an idle one.
//!
//! Each count is the difference of two runs, one with twice the sends of the other: what a
//! process costs by itself falls out. The longer runs leave their profiles in `target/tmp`, for
//! `callgrind_annotate`.

use std::{
    env,
    hint::black_box,
    pin::pin,
    process::Command,
    task::{Context, Poll, Waker},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use easemob_gateway::{
    app::{self, App},
    id::RequestId,
    invalid::Violations,
    message::Message,
    store::{Begin, Begun, Key, Settlement, Store, Unsent},
};
use prost::Message as _;

use crate::{collector::Manner, figure::Server, load::Load, message, sink};

/// Name of the figure.
pub(crate) const NAME: &str = "instructions";

/// Sends of the library's shorter run.
const LIBRARY_SENDS: u64 = 1_000;

/// Prints what a send costs: the message by itself, and the servers one call at a time.
pub(crate) async fn measure(sends: u64) -> anyhow::Result<()> {
    println!("\n{NAME} of a text send, in user mode");
    for (what, role) in [
        ("decode, check, map, JSON", "library"),
        ("with a request ID, too", "library-with-id"),
    ] {
        let once = library(role, LIBRARY_SENDS)?;
        let twice = library(role, 2 * LIBRARY_SENDS)?;
        print(what, once, twice, LIBRARY_SENDS);
    }
    // With one shard and one call at a time, threads and batches leave little to chance.
    for server in [
        Server::PassThrough,
        Server::Gateway(Some(1)),
        Server::Traced(Some(1), 10, Manner::Prompt),
        Server::Traced(Some(1), 1000, Manner::Prompt),
    ] {
        let once = whole(server, sends).await?;
        let twice = whole(server, 2 * sends).await?;
        print(&server.to_string(), once, twice, sends);
    }
    Ok(())
}

fn print(what: &str, once: u64, twice: u64, sends: u64) {
    println!("{what:<24} {:>8}", twice.saturating_sub(once) / sends);
}

/// Instructions of a process that only does what a send needs from the library.
fn library(role: &str, sends: u64) -> anyhow::Result<u64> {
    let output = callgrind(role)
        .arg(env::current_exe()?)
        .args([&format!("--role={role}"), &sends.to_string()])
        .output()
        .context("valgrind cannot be started: tools/install.sh valgrind")?;
    collected(&String::from_utf8_lossy(&output.stderr))
}

/// Instructions of a server from its start to its end, with so many sends between.
async fn whole(server: Server, sends: u64) -> anyhow::Result<u64> {
    let sink = sink::start()?;
    let name = match server {
        Server::Gateway(_) => "gateway",
        Server::Traced(_, 1000, _) => "traced",
        Server::Traced(..) => "seldom-traced",
        _ => "pass-through",
    };
    let server = server.start(sink.address, Some(callgrind(name)))?;
    Load::run(server.address, sends).await?;
    collected(&server.terminate()?)
}

/// The program that counts, to be put in front of another.
fn callgrind(profile: &str) -> Command {
    let mut command = Command::new("valgrind");
    command.arg("--tool=callgrind").arg(format!(
        "--callgrind-out-file={}/callgrind.{profile}.out",
        env!("CARGO_TARGET_TMPDIR")
    ));
    command
}

fn collected(said: &str) -> anyhow::Result<u64> {
    let count = said.lines().find_map(|line| line.split_once("Collected :"));
    let (_, count) = count.with_context(|| format!("valgrind tells no count:\n{said}"))?;
    Ok(count.trim().parse()?)
}

/// What [`library`] counts: from the bytes of the request to those of the call, and nothing else; with
/// `store`, what is remembered under a request ID from its beginning to its end.
pub(crate) fn run_library(sends: u64, store: Option<&Store>) -> anyhow::Result<()> {
    let config = app::Config {
        base_url: "http://127.0.0.1:1".to_owned(),
        org_name: Some("acme".to_owned()),
        app_name: Some("shop".to_owned()),
        client_id: "bench".to_owned(),
        client_secret: Some("secret".into()),
        ..app::Config::default()
    };
    let violations = Violations::default();
    let app = App::new("shop", &config, violations.root()).context("an app")?;
    let request = message::request().encode_to_vec();
    for number in 0..sends {
        let request = easemob_gateway::proto::SendMessageRequest::decode(black_box(&*request))?;
        let violations = Violations::default();
        let message = request.message.context("a message")?;
        let message = Message::check(message, &app, violations.root()).context("valid")?;
        if let Some(store) = store {
            ready(remember(store, number, &message, &app))?;
        }
        black_box(message.to_json(&message.target.recipients));
    }
    Ok(())
}

async fn remember(store: &Store, id: u64, message: &Message, app: &App) -> anyhow::Result<()> {
    let violations = Violations::default();
    let id = RequestId::check(format!("{id:032}"), violations.root());
    let lease = Duration::from_secs(10);
    let begin = Begin {
        key: Key::new("billing", &app.name, &id.flatten().context("an ID")?),
        fingerprints: &message.fingerprints(app),
        recipients: message.target.recipients.len(),
        resend_maybe_sent: false,
        lease,
        trace: None,
    };
    let Begun::New(claim) = store.begin(&begin).await? else {
        bail!("every ID is a new one");
    };
    let part = message.target.places();
    ensure!(
        store.dispatch(claim, &part, lease).await?,
        "the claim holds"
    );
    let settlement = Settlement {
        message_ids: &[Some(message::MESSAGE_ID.to_owned())],
        timestamp_ms: Some(1),
        unsent: Unsent::MaybeSent,
    };
    store.settle(claim, &part, settlement).await;
    Ok(())
}

/// What a future gives that never waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("records are in memory"),
    }
}
