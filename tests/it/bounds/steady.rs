//! M5: four fifths of what the quota allows, and every fault there is, for half an hour: memory, files and tasks
//! stay where they are.
//!
//! `SOAK_MINUTES` is how long a soak takes, 30 without it. The slopes are held to from ten minutes on, and want a machine
//! that does nothing else: where it is busy, calls bunch up, and the allocator keeps what the highest peak so far took.

use std::{
    env,
    time::{Duration, Instant},
};

use fastrand::Rng;
use tokio::time::sleep;

use super::{MIB, SECRET, app, load::Load};
use crate::support::{
    binary::Binary,
    easemob::{Closed, Easemob},
    process::allow_files,
    soak, within,
};

/// What comes before counts for no slope: buffers, pools and the span queue fill, and the request IDs of a minute.
const WARM_UP: Duration = Duration::from_secs(300);
/// Seconds from look to look.
const LOOK: u64 = 5;
/// Seconds after which Easemob goes away for a moment, and all connections with it.
const AWAY: u64 = 60;

/// How it is at one time.
struct Look {
    minutes: f64,
    mib: f64,
    files: f64,
    threads: u64,
    tasks: f64,
    records: f64,
    quota_used: f64,
}

impl Look {
    async fn at(gateway: &Binary, begin: Instant) -> Self {
        let (memory, files, threads) = (gateway.memory(), gateway.files(), gateway.threads());
        let page = gateway.page().await;
        let count = |name: &str, labels: &[(&str, &str)]| {
            page.count(&format!("easemob_gateway_{name}"), labels)
        };
        Self {
            minutes: begin.elapsed().as_secs_f64() / 60.0,
            mib: memory as f64 / MIB as f64,
            files: files as f64,
            threads,
            tasks: count("tasks_active", &[]),
            records: count("store_records", &[]),
            quota_used: count("quota_used", &[("kind", "users")]),
        }
    }

    /// With the fewest files and tasks of some looks: it may not have noticed yet that all is over. Were that to take
    /// longer, the test would see less, and fail no sooner.
    async fn at_rest(gateway: &Binary, begin: Instant) -> Self {
        let mut least = Self::at(gateway, begin).await;
        for _ in 0..50 {
            sleep(Duration::from_millis(20)).await;
            let Self { files, tasks, .. } = Self::at(gateway, begin).await;
            least.files = least.files.min(files);
            least.tasks = least.tasks.min(tasks);
        }
        least
    }

    fn print(&self) {
        let Self {
            minutes,
            mib,
            files,
            threads,
            tasks,
            records,
            quota_used,
        } = self;
        println!(
            "{minutes:7.2} min {mib:7.2} MiB {files:4} files {threads:3} threads {tasks:4} tasks \
             {records:5} records {quota_used:5} of the quota"
        );
    }
}

/// How much more in ten minutes: the slope of the line that is nearest to all.
fn slope(looks: &[Look], of: impl Fn(&Look) -> f64) -> f64 {
    let count = looks.len() as f64;
    let mean = |of: &dyn Fn(&Look) -> f64| looks.iter().map(of).sum::<f64>() / count;
    let (middle, mean_of) = (mean(&|look| look.minutes), mean(&of));
    let along = |look: &Look| look.minutes - middle;
    let rise: f64 = looks
        .iter()
        .map(|look| along(look) * (of(look) - mean_of))
        .sum();
    let run: f64 = looks.iter().map(|look| along(look).powi(2)).sum();
    rise / run * 10.0
}

fn time() -> Duration {
    if !soak() {
        return Duration::from_secs(LOOK);
    }
    let minutes = env::var("SOAK_MINUTES").map_or(30, |minutes| minutes.parse().unwrap());
    Duration::from_secs(minutes * 60)
}

/// All that was under way is over, and no connection to Easemob is left.
async fn quiet(load: &mut Load, easemob: &Easemob) {
    load.over().await;
    easemob.down();
    easemob.up();
    let none = easemob.until("no connection", |seen| seen.ended == seen.connections);
    none.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_and_faults_memory_files_and_tasks_stay_where_they_are() {
    allow_files();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    let (easemob, collector) = (Easemob::start(), Closed::new());
    easemob.by_chance(rng.fork());
    // A silent Easemob is given up soon, and a request ID forgotten: or this would show how memory fills with
    // what it is there for.
    // The callers' connections end all the time, too: were it every ten minutes, as by default, all would do so at once, three
    // times in half an hour, and the line through the tasks would tell of when.
    let toml = format!(
        "connection_age = '1m'\n\
         {}connection_age = '10s'\n\
         [apps.shop.timeouts]\nconnect = '600ms'\nattempt = '1s'\ncall = '2s'\ntoken = '1s'\n\
         [media]\nanswer_timeout = '1s'\nstall_timeout = '2s'\n[store]\nttl = '1m'\n[telemetry]\notlp_endpoint = '{}'\n",
        app(&easemob.url()),
        collector.url()
    );
    let gateway = Binary::serve(&toml, &SECRET).await;
    let mut load = Load::new(&gateway, rng).await;
    let begin = Instant::now();
    // Whatever is there for good from the first calls on.
    load.second(&gateway).await;
    load.second(&gateway).await;
    quiet(&mut load, &easemob).await;
    let first = Look::at_rest(&gateway, begin).await;
    first.print();

    let (time, mut looks) = (time(), Vec::new());
    for second in 1..=time.as_secs() {
        load.second(&gateway).await;
        if second % AWAY == AWAY / 2 {
            easemob.down();
            easemob.up();
        }
        if second % LOOK == 0 {
            let look = Look::at(&gateway, begin).await;
            look.print();
            looks.push(look);
        }
    }
    let processor = gateway.processor_time().as_secs_f64() / begin.elapsed().as_secs_f64();
    quiet(&mut load, &easemob).await;
    // The last export may still be on its way to nowhere.
    within(
        Duration::from_secs(60),
        "files and tasks as before",
        async {
            loop {
                let last = Look::at(&gateway, begin).await;
                if last.files <= first.files && last.tasks <= first.tasks {
                    last.print();
                    break;
                }
            }
        },
    )
    .await;

    let seen = easemob.seen();
    assert_eq!(seen.twice(), [""; 0]);
    println!(
        "{} messages arrived; the gateway had {:.1} % of a core, and {:.1} MiB at most",
        seen.sends.len(),
        processor * 100.0,
        gateway.peak_memory() as f64 / MIB as f64
    );
    assert!(gateway.peak_memory() < 64 * MIB);
    looks.retain(|look| look.minutes * 60.0 > WARM_UP.as_secs_f64());
    if looks.len() > 2 {
        let [memory, files, tasks] = [
            slope(&looks, |look| look.mib),
            slope(&looks, |look| look.files),
            slope(&looks, |look| look.tasks),
        ];
        println!("in ten minutes: {memory:+.3} MiB, {files:+.2} files, {tasks:+.2} tasks");
        if time >= Duration::from_secs(600) {
            assert!(memory < 1.0, "{memory}");
            assert!(files < 2.0, "{files}");
            assert!(tasks < 2.0, "{tasks}");
        }
    }
}
