//! What a send costs, everything on loopback: the gateway beside bare servers and straight calls.
//! `docs/performance.md` tells the method and what came out.
//!
//! Arguments: names of figures (left out: all that are listed without a mark), and `quick` for a short look.

mod bare;
mod call;
mod closed;
mod collector;
mod curves;
mod files;
mod gateway;
mod instructions;
mod load;
mod machine;
mod memory;
mod message;
mod open;
mod peer;
mod report;
mod sample;
mod server;
mod sink;
mod spread;
mod straight;
mod streams;
mod uploads;

use std::{
    env,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use easemob_gateway::store;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{runtime, time::timeout};

use self::{
    collector::Manner,
    instructions::{guard, library},
    report::Report,
    sample::Pace,
};

const FULL: Pace = Pace {
    rounds: 7,
    warm_up: Duration::from_millis(500),
    measure: Duration::from_millis(2_500),
};
const QUICK: Pace = Pace {
    rounds: 3,
    warm_up: Duration::from_millis(200),
    measure: Duration::from_millis(500),
};

/// Figures that are measured only where they are named: CI's, and one for whoever chooses the defaults.
const BY_NAME_ALONE: [&str; 2] = [guard::NAME, uploads::windows::NAME];

/// Longest time that a figure may take.
const LONGEST: Duration = Duration::from_secs(20 * 60);

/// Files and sockets that a process may have: a thousand apps have a connection or two each.
const MANY_FILES: u64 = 20_000;

fn main() -> anyhow::Result<()> {
    let files = getrlimit(Resource::Nofile);
    let current = files
        .maximum
        .map_or(MANY_FILES, |most| most.min(MANY_FILES));
    // The servers have it from this process.
    let current = Some(current);
    setrlimit(Resource::Nofile, Rlimit { current, ..files })?;
    // `--bench` is cargo's.
    let arguments: Vec<String> = env::args().skip(1).filter(|a| a != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let one_thread = || runtime::Builder::new_current_thread().enable_all().build();
    if let [role] = *arguments
        && let Some(manner) = Manner::of_role(role)
    {
        return one_thread()?.block_on(collector::serve(manner));
    }
    match *arguments {
        // This binary is its own peers.
        ["--role=sink", delay, each] => one_thread()?.block_on(sink::serve(delay, each)),
        ["--role=upload", ref order @ ..] => one_thread()?.block_on(uploads::client::run(order)),
        ["--role=library", sends] => library::run(sends.parse()?, None),
        ["--role=library-with-id", sends] => {
            let runtime = one_thread()?;
            let store = store::Store::open(&store::Config::default(), runtime.handle())?;
            library::run(sends.parse()?, Some(&store))
        }
        ref words => one_thread()?.block_on(measure(words)),
    }
}

/// Names of all figures, in their order.
fn names() -> impl Iterator<Item = &'static str> {
    let closed = closed::FIGURES.iter().map(|figure| figure.name);
    closed.chain([
        open::NAME,
        memory::NAME,
        uploads::NAME,
        instructions::NAME,
        curves::NAME,
        guard::NAME,
        uploads::windows::NAME,
    ])
}

async fn measure(words: &[&str]) -> anyhow::Result<()> {
    let quick = words.contains(&"quick");
    let wanted: Vec<_> = words.iter().filter(|word| **word != "quick").collect();
    if let Some(unknown) = wanted
        .iter()
        .find(|word| !names().any(|name| name == ***word))
    {
        let known = names().collect::<Vec<_>>().join(", ");
        bail!("no figure is called {unknown}; there are {known}");
    }
    let is_wanted = |name: &str| match wanted.is_empty() {
        true => !BY_NAME_ALONE.contains(&name),
        false => wanted.iter().any(|wanted| **wanted == name),
    };
    let pace = if quick { QUICK } else { FULL };
    let mut report = Report::create()?;
    report.line(format!(
        "`make bench ARGS='{}'`; {}",
        words.join(" "),
        machine::describe()?
    ));
    report.line(format!(
        "\n{} rounds of {:?} after {:?} of warm-up; median (least–most)",
        pace.rounds, pace.measure, pace.warm_up
    ));
    let mut failed = Vec::new();
    for name in names().filter(|name| is_wanted(name)) {
        let begin = Instant::now();
        if let Err(error) = survive(figure(name, &mut report, pace, quick)).await {
            report.line(format!("\n**{name} failed**: {error:#}"));
            failed.push(name);
        }
        eprintln!("{name}: {} s", begin.elapsed().as_secs());
    }
    report.close();
    if !failed.is_empty() {
        bail!("not measured: {}", failed.join(", "));
    }
    Ok(())
}

/// What a figure comes to; a panic, and a figure that never ends, are failures like others.
async fn survive(figure: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let mut figure = pin!(figure);
    let survived = poll_fn(|cx| {
        let poll = AssertUnwindSafe(|| figure.as_mut().poll(cx));
        catch_unwind(poll).unwrap_or_else(|_| Poll::Ready(Err(anyhow!("it panicked"))))
    });
    timeout(LONGEST, survived)
        .await
        .context("it does not end")?
}

/// Measures one.
async fn figure(name: &str, report: &mut Report, pace: Pace, quick: bool) -> anyhow::Result<()> {
    match name {
        open::NAME => open::measure(report, pace).await,
        memory::NAME => memory::measure(report, pace).await,
        uploads::NAME => uploads::measure(report, quick).await,
        instructions::NAME => instructions::measure(report, if quick { 100 } else { 500 }).await,
        curves::NAME => curves::measure(report, pace, quick).await,
        guard::NAME => guard::measure(report).await,
        uploads::windows::NAME => uploads::windows::measure(report, quick).await,
        _ => {
            let figure = closed::FIGURES.iter().find(|figure| figure.name == name);
            figure.context("a figure")?.measure(report, pace).await
        }
    }
}
