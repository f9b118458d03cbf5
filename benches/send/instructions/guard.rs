//! What CI holds a send to: instructions, which repeat where time does not.

use anyhow::bail;

use super::of_send;
use crate::{gateway::Policies, report::Report, server::Server};

/// Name of the figure.
pub(crate) const NAME: &str = "guard";

/// Sends of the shorter run: enough for what a send has to do now and then.
const SENDS: u64 = 300;

const PLAIN: Policies = Policies::PLAIN.on_one_shard();

/// Instructions that a send of the released binary took when the line was last changed. Whoever makes it cost more writes it
/// down here, and in the commit what for; whoever makes it cost less writes that down, too, so that nobody loses it again.
const COUNTED: &[(&str, Policies, u64)] = &[
    ("everything on", Policies::EVERYTHING.on_one_shard(), 83_000),
    ("all sends traced", PLAIN.traced(Some(1000)), 89_500),
    ("a request ID", PLAIN.with_request_ids(), 85_000),
    ("100 recipients", PLAIN.with_recipients(100), 264_000),
];

/// What a count may be off, in percent: it repeats within 0.7, another version of a library on the way moves it by 1 or 2, and so
/// may another make of processor, for which the C library copies memory otherwise. Without a profile it is a third more.
const SLACK: u64 = 5;

/// Fails where a send takes more than it may.
pub(crate) async fn measure(report: &mut Report) -> anyhow::Result<()> {
    report.heading(format!("{NAME}: instructions of a text send, in user mode"));
    report.columns(&["gateway", "instructions", "at most"]);
    let mut over = Vec::new();
    for (what, policies, counted) in COUNTED {
        let most = counted * (100 + SLACK) / 100;
        let count = of_send(Server::Gateway(*policies), SENDS).await?;
        report.row(&[*what, &*count.to_string(), &*most.to_string()]);
        if count > most {
            over.push(format!("{what}: {count} instead of at most {most}"));
        }
    }
    if !over.is_empty() {
        bail!(
            "a send takes more instructions than it may ({}); the profile that the release is compiled by may be out of date \
             (make profile), and if it is not, see benches/send/instructions/guard.rs",
            over.join("; ")
        );
    }
    Ok(())
}
