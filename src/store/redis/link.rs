//! The connection to Redis, kept up in the background. Whoever asks waits for one answer's time and no longer;
//! while Redis is away, not at all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{FromRedisValue, RedisError, RedisResult, ScriptInvocation};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::node::{Connection, Node, SetupError};
use crate::store::Config;

/// Failures in a row after which Redis is left alone for a while.
const FAILURES: u32 = 5;
/// First pause; doubles while it stays away.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause, before its jitter.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// What lasted for less was no connection to count on.
const STEADY: Duration = Duration::from_secs(1);

/// The way to Redis, shared by all who ask.
#[derive(Debug)]
pub struct Link {
    shared: Arc<Shared>,
    runtime: Handle,
    _ends: DropGuard,
}

/// Redis does not answer. When it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Away {
    /// How long nobody asks it.
    pub retry_after: Duration,
}

/// How Redis fares, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Whether it answered last.
    pub up: bool,
    /// Calls that it answered.
    pub answered: u64,
    /// Calls that failed, or that it did not answer in time.
    pub failed: u64,
    /// Time that the answers took, in all.
    pub waited: Duration,
    /// Records that it was found to have lost.
    pub lost_records: u64,
    /// Times that it was found to have lost the count of a quota.
    pub lost_quotas: u64,
}

struct Shared {
    node: Node,
    config: Config,
    state: watch::Sender<State>,
    /// The connection is of no use any more.
    lost: Notify,
    /// In a row.
    failures: AtomicU32,
    answered: AtomicU64,
    failed: AtomicU64,
    waited_us: AtomicU64,
    lost_records: AtomicU64,
    lost_quotas: AtomicU64,
}

#[derive(Clone)]
enum State {
    /// Soon one or the other.
    Connecting,
    Up(Connection, u64),
    Away {
        until: Instant,
    },
}

// Neither the URL nor a connection is for the eye.
impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

impl Link {
    /// Begins to connect, on a runtime that must not be a shard's: those end.
    pub fn open(config: &Config, runtime: &Handle) -> Result<Self, SetupError> {
        let shared = Arc::new(Shared {
            node: Node::new(config)?,
            config: config.clone(),
            state: watch::Sender::new(State::Connecting),
            lost: Notify::new(),
            failures: AtomicU32::new(0),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            waited_us: AtomicU64::new(0),
            lost_records: AtomicU64::new(0),
            lost_quotas: AtomicU64::new(0),
        });
        let ended = CancellationToken::new();
        let keep = ended
            .clone()
            .run_until_cancelled_owned(keep(Arc::clone(&shared)));
        runtime.spawn(keep);
        Ok(Self {
            shared,
            runtime: runtime.clone(),
            _ends: ended.drop_guard(),
        })
    }

    /// What the script answers, if it does so in time. Whether it ran is not known where it does not.
    pub async fn call<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, Away> {
        let shared = &*self.shared;
        let began = Instant::now();
        let until = began + shared.config.answer_timeout;
        let (mut connection, number) = shared.connection(until).await?;
        match timeout_at(until, script.invoke_async(&mut connection)).await {
            Ok(Ok(answer)) => {
                shared.answered(began.elapsed());
                Ok(answer)
            }
            Ok(Err(error)) => Err(shared.failed(number, Some(&error))),
            Err(_elapsed) => Err(shared.failed(number, None)),
        }
    }

    /// Where things run that nobody waits for.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// How Redis fares.
    pub fn health(&self) -> Health {
        let shared = &self.shared;
        Health {
            up: matches!(*shared.state.borrow(), State::Up(..)),
            answered: shared.answered.load(Ordering::Relaxed),
            failed: shared.failed.load(Ordering::Relaxed),
            waited: Duration::from_micros(shared.waited_us.load(Ordering::Relaxed)),
            lost_records: shared.lost_records.load(Ordering::Relaxed),
            lost_quotas: shared.lost_quotas.load(Ordering::Relaxed),
        }
    }

    /// Redis does not know a record that it was told of.
    pub(super) fn lost_record(&self) {
        self.shared.lost_records.fetch_add(1, Ordering::Relaxed);
    }

    /// Redis does not know the count of a quota that it was told of.
    pub(crate) fn lost_quota(&self) {
        self.shared.lost_quotas.fetch_add(1, Ordering::Relaxed);
    }
}

impl Shared {
    async fn connection(&self, until: Instant) -> Result<(Connection, u64), Away> {
        let mut state = self.state.borrow().clone();
        if matches!(state, State::Connecting) {
            let mut changes = self.state.subscribe();
            let settled = changes.wait_for(|state| !matches!(state, State::Connecting));
            state = match timeout_at(until, settled).await {
                Ok(Ok(state)) => state.clone(),
                _ => State::Connecting,
            };
        }
        match state {
            State::Up(connection, number) => Ok((connection, number)),
            State::Connecting => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                Err(Away {
                    retry_after: FIRST_PAUSE,
                })
            }
            State::Away { until } => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                let retry_after = until.saturating_duration_since(Instant::now());
                Err(Away {
                    retry_after: retry_after + self.config.connect_timeout,
                })
            }
        }
    }

    fn answered(&self, took: Duration) {
        self.failures.store(0, Ordering::Relaxed);
        self.answered.fetch_add(1, Ordering::Relaxed);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.waited_us.fetch_add(took, Ordering::Relaxed);
    }

    /// `error`: what came back; none where nothing did in time.
    fn failed(&self, number: u64, error: Option<&RedisError>) -> Away {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        // A replica that was a master before a failover takes no writes.
        let is_gone = error.is_some_and(|error| {
            error.is_unrecoverable_error() || error.code() == Some("READONLY")
        });
        if let Some(error) = error {
            let (kind, code) = (error.kind(), error.code());
            tracing::debug!(?kind, code, "Redis failed a call");
        }
        if is_gone || failures >= FAILURES {
            self.drop_connection(number, failures >= FAILURES);
        }
        Away {
            retry_after: FIRST_PAUSE,
        }
    }

    /// Has a new connection made: at once, or after a pause where it is Redis that fails. Calls that were under way on
    /// one that is gone already change nothing.
    fn drop_connection(&self, number: u64, pause: bool) {
        let dropped = self.state.send_if_modified(|state| match state {
            State::Up(_, current) if *current == number => {
                *state = match pause {
                    true => State::Away {
                        until: Instant::now() + FIRST_PAUSE,
                    },
                    false => State::Connecting,
                };
                true
            }
            _ => false,
        });
        if dropped {
            self.lost.notify_one();
        }
    }

    /// A connection that answers.
    async fn connect(&self) -> RedisResult<Connection> {
        let mut connection = self.node.connect(&self.config).await?;
        let ping = redis::cmd("PING");
        let answer = ping.query_async::<()>(&mut connection);
        match timeout(self.config.answer_timeout, answer).await {
            Ok(answered) => answered.map(|()| connection),
            Err(_elapsed) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    }
}

/// Connects, and again whenever the connection is lost.
async fn keep(shared: Arc<Shared>) {
    let mut pauses = 0;
    for number in 0.. {
        // Asking a Sentinel first, and TLS, take more than one connection's time.
        let limit = shared.config.connect_timeout * 2 + shared.config.answer_timeout;
        let failure = match timeout(limit, shared.connect()).await {
            Ok(Ok(connection)) => {
                if pauses > 0 {
                    tracing::info!("Redis answers again");
                }
                shared.failures.store(0, Ordering::Relaxed);
                let since = Instant::now();
                shared.state.send_replace(State::Up(connection, number));
                shared.lost.notified().await;
                let is_away = matches!(*shared.state.borrow(), State::Away { .. });
                if since.elapsed() >= STEADY {
                    pauses = 0;
                    if !is_away {
                        continue;
                    }
                }
                "it does not answer in time, or fails what it is asked".to_owned()
            }
            // Kind and code alone: nothing of the address, and of what stands before it.
            Ok(Err(error)) => match error.code() {
                Some(code) => code.to_owned(),
                None => format!("{:?}", error.kind()),
            },
            Err(_elapsed) => "no connection in time".to_owned(),
        };
        let pause = pause(pauses);
        shared.state.send_replace(State::Away {
            until: Instant::now() + pause,
        });
        if pauses == 0 {
            tracing::warn!(
                failure,
                "Redis is away: sends with a request ID are refused, and the quota is this replica's share of it"
            );
        }
        pauses = pauses.saturating_add(1);
        sleep(pause).await;
    }
}

fn pause(pauses: u32) -> Duration {
    let pause = FIRST_PAUSE
        .saturating_mul(1 << pauses.min(4))
        .min(MAX_PAUSE);
    // Down to half of it: replicas do not come back together.
    pause.mul_f64(0.5 + 0.5 * fastrand::f64())
}
