//! Shards: threads that each serve a share of the connections on a runtime of their own, so that a
//! request, its call to Easemob and its answer stay on one thread.
//!
//! A connection belongs to its shard from the handshake on. So its socket is registered with one
//! reactor for its whole life (a TLS session could not change it), and the handshakes' work, which
//! TLS makes heavy, is spread over the cores; the accept loop only accepts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::Context;
use tokio::{
    runtime,
    sync::{mpsc, oneshot},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tracing::warn;

use super::connection::{self, Arrival, GrpcService, Load, Rules};

/// What a shard tells those who build its service.
#[derive(Debug, Clone)]
pub struct Shard {
    /// From 0.
    pub index: usize,
    /// The tasks that the drain waits for, such as a send that outlives its caller. Calls and
    /// connections are among them by themselves.
    pub tasks: TaskTracker,
    /// Cancelled when the drain begins: for waits and streams that would hold it up.
    pub draining: CancellationToken,
}

/// All shards, as the accept loop sees them. Dropped, it ends them at once.
#[derive(Debug)]
pub(super) struct Shards {
    shards: Vec<Handle>,
    /// Where the search for the least busy one begins, so that equals take turns.
    turn: usize,
    /// Has a token in each thread.
    threads: TaskTracker,
    _abandon: DropGuard,
}

#[derive(Debug)]
struct Handle {
    inbox: mpsc::Sender<(Arrival, Load)>,
    load: Arc<AtomicUsize>,
    tasks: TaskTracker,
}

impl Shards {
    /// Starts `count` threads, and in each calls `factory` for the service to offer there.
    pub(super) async fn start<S, F>(
        count: usize,
        rules: &Arc<Rules>,
        factory: F,
    ) -> anyhow::Result<Self>
    where
        S: GrpcService,
        F: Fn(&Shard) -> anyhow::Result<S> + Send + Sync + 'static,
    {
        let factory = Arc::new(factory);
        let abandon = CancellationToken::new();
        let mut shards = Self {
            shards: Vec::with_capacity(count),
            turn: 0,
            threads: TaskTracker::new(),
            _abandon: abandon.clone().drop_guard(),
        };
        for index in 0..count {
            let shard = Shard {
                index,
                tasks: TaskTracker::new(),
                draining: rules.draining.clone(),
            };
            let tasks = shard.tasks.clone();
            let (inbox, arrivals) = mpsc::channel(rules.config.max_handshakes);
            let (ready, is_ready) = oneshot::channel();
            let running = shards.threads.token();
            let (factory, rules) = (Arc::clone(&factory), Arc::clone(rules));
            let abandon = abandon.clone();
            thread::Builder::new()
                .name(format!("shard-{index}"))
                .spawn(move || {
                    run(&shard, &*factory, ready, arrivals, &rules, &abandon);
                    drop(running);
                })
                .context("cannot start a thread")?;
            is_ready
                .await
                .with_context(|| format!("shard {index} panicked while it was built"))?
                .with_context(|| format!("cannot build shard {index}"))?;
            shards.shards.push(Handle {
                inbox,
                load: Arc::default(),
                tasks,
            });
        }
        shards.threads.close();
        Ok(shards)
    }

    /// Gives a connection to the shard that has the fewest.
    pub(super) fn deal(&mut self, arrival: Arrival) {
        let count = self.shards.len();
        let least = (0..count)
            .map(|step| (self.turn + step) % count)
            .min_by_key(|&index| self.shards[index].load.load(Ordering::Relaxed));
        let Some(index) = least else { return };
        self.turn = (index + 1) % count;
        let shard = &self.shards[index];
        let load = Load::on(&shard.load);
        if shard.inbox.try_send((arrival, load)).is_err() {
            warn!(shard = index, "its thread is stuck: it takes no connection");
        }
    }

    /// Returns when all shards have ended, each with its last task. They do once drained.
    pub(super) async fn ended(&self) {
        self.threads.wait().await;
    }

    /// Tasks that run on them, connections and calls included.
    pub(super) fn tasks(&self) -> usize {
        self.shards.iter().map(|shard| shard.tasks.len()).sum()
    }
}

/// A shard's thread.
fn run<S, F>(
    shard: &Shard,
    factory: &F,
    ready: oneshot::Sender<anyhow::Result<()>>,
    arrivals: mpsc::Receiver<(Arrival, Load)>,
    rules: &Arc<Rules>,
    abandon: &CancellationToken,
) where
    S: GrpcService,
    F: Fn(&Shard) -> anyhow::Result<S>,
{
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = anyhow::Error::new(error).context("cannot start a runtime");
            // Here and below: nobody listens only if the start was given up.
            let _ = ready.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        let service = match factory(shard) {
            Ok(service) => service,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let _ = ready.send(Ok(()));
        tokio::select! {
            () = serve(arrivals, service, rules, &shard.tasks) => {}
            () = abandon.cancelled() => {}
        }
    });
    // What still blocks a thread of the runtime must not block the end of the process.
    runtime.shutdown_background();
}

async fn serve<S: GrpcService>(
    mut arrivals: mpsc::Receiver<(Arrival, Load)>,
    service: S,
    rules: &Arc<Rules>,
    tasks: &TaskTracker,
) {
    loop {
        let next = tokio::select! {
            next = arrivals.recv() => next,
            () = rules.draining.cancelled() => None,
        };
        let Some((arrival, load)) = next else { break };
        let (service, rules) = (service.clone(), Arc::clone(rules));
        tasks.spawn(connection::serve(
            arrival,
            load,
            service,
            rules,
            tasks.clone(),
        ));
    }
    // For what the service itself runs: with the last connection its last clone goes.
    drop(service);
    tasks.close();
    tasks.wait().await;
}
