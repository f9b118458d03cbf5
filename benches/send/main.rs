//! What a send costs, everything on loopback: the gateway beside a bare echo server and a bare
//! pass-through. `docs/performance.md` tells the method and what came out.
//!
//! Arguments: names of figures (left out: all), and `quick` for a short look.

mod bare;
mod collector;
mod figure;
mod files;
mod instructions;
mod load;
mod machine;
mod message;
mod peer;
mod report;
mod sink;
mod uploads;

use std::{env, time::Duration};

use anyhow::{Context, bail};
use easemob_gateway::store;
use tokio::runtime;

use self::{
    bare::Bare,
    collector::Manner,
    figure::{FIGURES, Pace},
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

fn main() -> anyhow::Result<()> {
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
        ["--role=sink"] => one_thread()?.block_on(sink::serve()),
        ["--role=echo"] => runtime::Runtime::new()?.block_on(Bare::Echo.serve()),
        ["--role=pass-through", base_url] => {
            let bare = Bare::pass_through(base_url.to_owned())?;
            runtime::Runtime::new()?.block_on(bare.serve())
        }
        ["--role=upload", ref order @ ..] => one_thread()?.block_on(uploads::client::run(order)),
        ["--role=library", sends] => instructions::run_library(sends.parse()?, None),
        ["--role=library-with-id", sends] => {
            let runtime = one_thread()?;
            let store = store::Store::open(&store::Config::default(), runtime.handle())?;
            instructions::run_library(sends.parse()?, Some(&store))
        }
        ref words => one_thread()?.block_on(measure(words)),
    }
}

async fn measure(words: &[&str]) -> anyhow::Result<()> {
    let quick = words.contains(&"quick");
    let names: Vec<_> = words.iter().filter(|word| **word != "quick").collect();
    let known = || {
        FIGURES.iter().map(|figure| figure.name).chain([
            instructions::NAME,
            uploads::NAME,
            uploads::windows::NAME,
        ])
    };
    for name in &names {
        if !known().any(|known| known == **name) {
            bail!(
                "no figure is called {name}; there are {}",
                known().collect::<Vec<_>>().join(", ")
            );
        }
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| **wanted == name);
    let pace = if quick { QUICK } else { FULL };
    println!("make bench ARGS='{}'", words.join(" "));
    println!("{}", machine::describe()?);
    println!(
        "{} rounds of {:?} after {:?} of warm-up; median (least–most)",
        pace.rounds, pace.measure, pace.warm_up
    );
    for figure in FIGURES.iter().filter(|figure| wanted(figure.name)) {
        let samples = figure.measure(pace).await?;
        report::print(figure, &samples);
    }
    if wanted(instructions::NAME) {
        instructions::measure(if quick { 100 } else { 1_000 })
            .await
            .context(instructions::NAME)?;
    }
    if wanted(uploads::NAME) {
        uploads::measure(quick).await.context(uploads::NAME)?;
    }
    // For whoever chooses the defaults: long, and no news otherwise.
    if names.iter().any(|name| **name == uploads::windows::NAME) {
        let measured = uploads::windows::measure(quick).await;
        measured.context(uploads::windows::NAME)?;
    }
    Ok(())
}
