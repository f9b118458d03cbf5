//! What CI holds a send to: instructions, which repeat where time does not.

use anyhow::bail;

use super::of_send;
use crate::{gateway::Policies, report::Report, server::Server};

/// Name of the figure.
pub(crate) const NAME: &str = "guard";

/// Sends of the shorter run: enough for what a send has to do now and then.
const SENDS: u64 = 300;

const PLAIN: Policies = Policies::PLAIN.on_one_shard();

/// The most instructions that a send of the released binary may take: what was counted when the line was last
/// changed, and 3 %. A count repeats within 0.5 %; another version of the compiler, or of a library on the way, moves it
/// by 1 or 2 %. Whoever needs more writes down here what for, and changes docs/performance.md, too.
const BOUNDS: &[(&str, Policies, u64)] = &[
    (
        "everything on",
        Policies::EVERYTHING.on_one_shard(),
        200_000,
    ),
    ("all sends traced", PLAIN.traced(Some(1000)), 240_000),
    ("a request ID", PLAIN.with_request_ids(), 220_000),
    ("100 recipients", PLAIN.with_recipients(100), 320_000),
];

/// Fails where a send takes more than it may.
pub(crate) async fn measure(report: &mut Report) -> anyhow::Result<()> {
    report.heading(format!("{NAME}: instructions of a text send, in user mode"));
    report.columns(&["gateway", "instructions", "at most"]);
    let mut over = Vec::new();
    for (what, policies, most) in BOUNDS {
        let count = of_send(Server::Gateway(*policies), SENDS).await?;
        report.row(&[*what, &*count.to_string(), &*most.to_string()]);
        if count > *most {
            over.push(format!("{what}: {count} instead of at most {most}"));
        }
    }
    if !over.is_empty() {
        bail!(
            "a send takes more instructions than it may ({}); see benches/send/instructions/guard.rs",
            over.join("; ")
        );
    }
    Ok(())
}
