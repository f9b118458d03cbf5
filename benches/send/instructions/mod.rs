//! Instructions of one text send, counted by valgrind: the same on a busy machine and on an idle one.
//!
//! Each count is the difference of two runs, one with twice the sends of the other: what a
//! process costs by itself falls out. The longer runs leave their profiles in `target/tmp`, for
//! `callgrind_annotate`.

pub(crate) mod guard;
pub(crate) mod library;

use std::{collections::BTreeMap, env, process::Command};

use anyhow::{Context, ensure};

use crate::{
    bare::Build,
    call::Calls,
    gateway::Policies,
    load::Load,
    report::{Bound, Report},
    server::Server,
    sink,
};

/// Name of the figure.
pub(crate) const NAME: &str = "instructions";

/// Sends of the library's shorter run.
const LIBRARY_SENDS: u64 = 1_000;

// With one shard and one call at a time, threads and batches leave little to chance.
const PLAIN: Policies = Policies::PLAIN.on_one_shard();

const BASE: &str = "gateway: no traces, no keys, quota counted";
const EVERYTHING: &str = "gateway, everything on";
/// The gateway, and what of it is on.
const GATEWAYS: &[(&str, Policies)] = &[
    (EVERYTHING, Policies::EVERYTHING.on_one_shard()),
    (BASE, PLAIN),
    ("no quota", PLAIN.without_quota()),
    ("10 in 1000 traced", PLAIN.traced(Some(10))),
    ("all sends traced", PLAIN.traced(Some(1000))),
    ("a key", PLAIN.with_callers(1)),
    ("a request ID", PLAIN.with_request_ids()),
    ("100 recipients", PLAIN.with_recipients(100)),
];

/// What a policy may cost: the row with it, the one without, and the most that the first may be of the second.
const PRICES: &[(&str, &str, &str, f64)] = &[
    ("request ID", "a request ID", BASE, 1.05),
    ("tracing all", "all sends traced", BASE, 1.20),
    ("tracing 0.01", "10 in 1000 traced", BASE, 1.05),
    ("quota", BASE, "no quota", 1.05),
    ("key", "a key", BASE, 1.02),
    (
        "100 recipients of 12 characters",
        "100 recipients",
        BASE,
        2.0,
    ),
];

/// Writes what a send costs: the message by itself, and the servers one call at a time.
pub(crate) async fn measure(report: &mut Report, sends: u64) -> anyhow::Result<()> {
    report.heading(format!("{NAME} of a text send, in user mode"));
    report.columns(&["", "instructions"]);
    for (what, role) in [
        ("decode, check, map, JSON", "library"),
        ("the same, and all about a request ID", "library-with-id"),
    ] {
        let once = in_library(role, LIBRARY_SENDS)?;
        let twice = in_library(role, 2 * LIBRARY_SENDS)?;
        let count = twice.saturating_sub(once) / LIBRARY_SENDS;
        report.row(&[what, &count.to_string()]);
    }
    for (what, build) in [
        ("bare pass-through", Build::Plain),
        ("the same, our profile and allocator", Build::Ours),
    ] {
        let count = of_send(Server::PassThrough(build), sends).await?;
        report.row(&[what, &count.to_string()]);
    }
    let mut counts = BTreeMap::new();
    for (what, policies) in GATEWAYS {
        let count = of_send(Server::Gateway(*policies), sends).await?;
        report.row(&[what, &*count.to_string()]);
        counts.insert(*what, count);
    }
    prices(report, &counts);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn prices(report: &mut Report, counts: &BTreeMap<&str, u64>) {
    for (what, with, without, most) in PRICES {
        if let (Some(with), Some(without)) = (counts.get(with), counts.get(without)) {
            let ratio = *with as f64 / *without as f64;
            let what = format!("instructions with and without: {what}");
            report.judge(what, format!("≤ {most}"), ratio, Bound::AtMost(*most));
        }
    }
}

/// Instructions of a process that only does what a send needs from the library.
fn in_library(role: &str, sends: u64) -> anyhow::Result<u64> {
    let output = callgrind(role)
        .arg(env::current_exe()?)
        .args([&format!("--role={role}"), &sends.to_string()])
        .output()
        .context("valgrind cannot be started: tools/install.sh valgrind")?;
    collected(&String::from_utf8_lossy(&output.stderr))
}

/// Instructions of a server for each send, one call at a time.
async fn of_send(server: Server, sends: u64) -> anyhow::Result<u64> {
    let once = of_process(server, sends).await?;
    let twice = of_process(server, 2 * sends).await?;
    Ok(twice.saturating_sub(once) / sends)
}

/// Instructions of a server from its start to its end, with so many sends between.
async fn of_process(server: Server, sends: u64) -> anyhow::Result<u64> {
    let options = server.options();
    let sink = sink::start_with(sink::Manner {
        each: options.recipients > 1,
        ..sink::Manner::default()
    })?;
    let profile = match server {
        Server::Gateway(policies) => format!(
            "gateway-{}-{}-{:?}-{}-{}",
            policies.quota,
            options.callers,
            policies.traced.unwrap_or_default(),
            options.request_ids,
            options.recipients
        ),
        _ => "pass-through".to_owned(),
    };
    let server = server.start(&sink, Some(callgrind(&profile)))?;
    let server = server.context("a server")?;
    let calls = Calls::new(server.address, options)?;
    Load::run(server.address, &calls, sends).await?;
    let arrived = sink::count(sink.address).await?;
    ensure!(arrived == sends, "{arrived} sends arrived, and not {sends}");
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
