//! The app token: fetched once, shared by all calls, renewed ahead of expiry, and asked for no more
//! often than Easemob likes.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use tokio::{runtime::Handle, sync::watch, time::Instant};

use super::error::{Error, Kind};
use crate::trace::{self, Span, SpanKind};

/// No token is fetched more often than this because one was refused or a fetch was rejected: asking
/// too often gets an account blocked.
const PAUSE: Duration = Duration::from_secs(10);
/// First pause after a fetch that found nobody to ask; doubles up to `PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause that an answer can ask for: with no token, nothing is sent.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// Lifetime where Easemob tells none, or none that can be.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 3_600);
/// Longest lifetime that is believed.
const MAX_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3_600);

/// A token of an app.
pub struct Token {
    /// `Bearer …`, marked sensitive.
    pub(super) authorization: HeaderValue,
    fetched_at: Instant,
    renew_at: Instant,
    usable_until: Instant,
    /// Made of credentials that have changed since: to be renewed, and good until then.
    outdated: AtomicBool,
}

/// What a fetch of a token gave.
pub(super) struct Fetched {
    pub(super) authorization: HeaderValue,
    pub(super) lifetime: Option<Duration>,
    /// The credentials are others than those of the fetch before.
    pub(super) new_credentials: bool,
}

type FetchResult = Result<Fetched, Error>;
type Fetch = dyn Fn() -> Pin<Box<dyn Future<Output = FetchResult> + Send>> + Send + Sync;
type Outcome = Option<Result<Arc<Token>, Error>>;

/// The token of one app, whoever asks.
pub struct Tokens {
    current: ArcSwapOption<Token>,
    fetch: Box<Fetch>,
    // Tokens are fetched on a runtime of their own: a busy shard must not let them expire.
    runtime: Handle,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The fetch that is under way.
    running: Option<watch::Receiver<Outcome>>,
    /// No fetch before this, and the failure that says why.
    paused: Option<(Instant, Error)>,
    /// Fetches that failed since the last that did not.
    failures: u32,
    /// When a fetch was last forced by a refusal.
    forced_at: Option<Instant>,
    /// The fetch that is under way may have begun with credentials that have changed since.
    again: bool,
}

impl Tokens {
    pub(super) fn new<F, R>(runtime: Handle, fetch: F) -> Arc<Self>
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = FetchResult> + Send + 'static,
    {
        Arc::new(Self {
            current: ArcSwapOption::empty(),
            fetch: Box::new(move || Box::pin(fetch())),
            runtime,
            state: Mutex::default(),
        })
    }

    /// A token that is there, and need not be renewed yet.
    pub fn at_hand(&self, now: Instant) -> Option<Arc<Token>> {
        self.usable(now).filter(|token| token.is_fresh(now))
    }

    /// A token that can be used now. Waits for one if there is none.
    pub async fn ready(self: &Arc<Self>) -> Result<Arc<Token>, Error> {
        let now = Instant::now();
        if let Some(token) = self.at_hand(now) {
            return Ok(token);
        }
        let running = {
            let mut state = self.state();
            // Asked again under the lock: a fetch may have ended meanwhile, and its token is fresh.
            match self.usable(now) {
                Some(token) if token.is_fresh(now) => return Ok(token),
                Some(token) => {
                    // The old one serves meanwhile; a failure is logged where it happens.
                    let _background = self.start_locked(&mut state, now);
                    return Ok(token);
                }
                None => self.start_locked(&mut state, now)?,
            }
        };
        outcome_of(running).await
    }

    /// Another token than the one that Easemob refused.
    pub async fn replace(self: &Arc<Self>, refused: &Arc<Token>) -> Result<Arc<Token>, Error> {
        let now = Instant::now();
        let running = {
            let mut state = self.state();
            match self.usable(now) {
                Some(newer) if !Arc::ptr_eq(&newer, refused) => return Ok(newer),
                // It is being replaced already.
                Some(_refused) if state.running.is_some() => {}
                Some(_refused) => {
                    if state.forced_at.is_some_and(|at| now < at + PAUSE) {
                        return Err(Error::new(
                            Kind::CredentialsRejected,
                            "Easemob refuses tokens that it has only just given out",
                        ));
                    }
                    trace::event("token.refused", &[]);
                    state.forced_at = Some(now);
                    self.current.store(None);
                }
                // Somebody else has thrown it away. If no other could be had, that failure tells why.
                None => {}
            }
            self.start_locked(&mut state, now)?
        };
        outcome_of(running).await
    }

    /// Time since the token was fetched, if there is one.
    pub fn age(&self) -> Option<Duration> {
        Some(self.current.load().as_ref()?.fetched_at.elapsed())
    }

    /// Time for which it will be used; none is left of one that is no longer used.
    pub fn time_left(&self) -> Option<Duration> {
        let until = self.current.load().as_ref()?.usable_until;
        Some(until.saturating_duration_since(Instant::now()))
    }

    /// Fetches another token, because the credentials have changed: the one there is serves until then.
    /// New credentials are a new start, whatever became of the old ones.
    pub fn renew(self: &Arc<Self>) {
        let mut state = self.state();
        if let Some(token) = &*self.current.load() {
            token.outdated.store(true, Ordering::Relaxed);
        }
        state.paused = None;
        state.forced_at = None;
        state.failures = 0;
        if state.running.is_some() {
            state.again = true;
            return;
        }
        // A failure is logged where it happens.
        let _background = self.start_locked(&mut state, Instant::now());
    }

    fn usable(&self, now: Instant) -> Option<Arc<Token>> {
        self.current
            .load_full()
            .filter(|token| now < token.usable_until)
    }

    /// Joins the fetch that is under way, or starts one.
    fn start_locked(
        self: &Arc<Self>,
        state: &mut State,
        now: Instant,
    ) -> Result<watch::Receiver<Outcome>, Error> {
        if let Some(running) = &state.running {
            return Ok(running.clone());
        }
        if let Some((until, error)) = &state.paused
            && now < *until
        {
            return Err(error.clone().with_retry_after(*until - now));
        }
        let (sender, receiver) = watch::channel(None);
        state.running = Some(receiver.clone());
        let this = Arc::clone(self);
        // Part of the work that found it missing, which may be over first.
        trace::event("token.fetch", &[]);
        let span = Span::of_current(SpanKind::Internal, "fetch token");
        self.runtime.spawn(async move {
            // In a task of its own: a panic must not leave everybody waiting for this fetch for ever.
            let fetched = tokio::spawn(span.scope((this.fetch)())).await;
            let fault = |_panic| Err(Error::new(Kind::Unreachable, "no token: a fault of ours"));
            let outcome = this.settle(fetched.unwrap_or_else(fault));
            // Nobody waits for a renewal in the background.
            let _listeners = sender.send(Some(outcome));
        });
        Ok(receiver)
    }

    fn settle(self: &Arc<Self>, fetched: FetchResult) -> Result<Arc<Token>, Error> {
        let now = Instant::now();
        let mut state = self.state();
        state.running = None;
        let again = std::mem::take(&mut state.again);
        let outcome = self.settle_locked(&mut state, fetched, now);
        if again {
            if let Ok(token) = &outcome {
                token.outdated.store(true, Ordering::Relaxed);
            }
            state.paused = None;
            let _background = self.start_locked(&mut state, now);
        }
        outcome
    }

    fn settle_locked(
        &self,
        state: &mut State,
        fetched: FetchResult,
        now: Instant,
    ) -> Result<Arc<Token>, Error> {
        match fetched {
            Ok(fetched) => {
                let new_credentials = fetched.new_credentials;
                let token = Arc::new(Token::new(fetched, now));
                self.current.store(Some(Arc::clone(&token)));
                state.paused = None;
                state.failures = 0;
                // A refusal of theirs says nothing about the ones before.
                if new_credentials {
                    state.forced_at = None;
                }
                Ok(token)
            }
            Err(error) => {
                let asked = error.retry_after.unwrap_or_default().min(MAX_PAUSE);
                let pause = pause(error.kind, state.failures).max(asked);
                tracing::warn!(%error, pause_seconds = pause.as_secs(), "fetching an Easemob token failed");
                let error = error.with_retry_after(pause);
                state.failures = state.failures.saturating_add(1);
                state.paused = Some((now + pause, error.clone()));
                Err(error)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long no token is asked for after a failure.
fn pause(kind: Kind, failures: u32) -> Duration {
    match kind {
        Kind::Unreachable => FIRST_PAUSE.saturating_mul(1 << failures.min(8)).min(PAUSE),
        _ => PAUSE,
    }
}

async fn outcome_of(mut running: watch::Receiver<Outcome>) -> Result<Arc<Token>, Error> {
    let lost = || Error::new(Kind::Unreachable, "no token: the fetch was broken off");
    let outcome = running
        .wait_for(Option::is_some)
        .await
        .map_err(|_| lost())?;
    outcome.clone().unwrap_or_else(|| Err(lost()))
}

impl Token {
    fn new(fetched: Fetched, now: Instant) -> Self {
        // A lifetime of nothing would have every call ask anew; a refusal tells soon enough.
        let lifetime = fetched
            .lifetime
            .unwrap_or(DEFAULT_LIFETIME)
            .clamp(PAUSE, MAX_LIFETIME);
        // Half of it, as Easemob's own clients do; spread, so that replicas do not ask in step.
        let renew_after = lifetime.mul_f64(0.45 + 0.1 * fastrand::f64());
        let reserve = (lifetime / 10).min(Duration::from_secs(60));
        Self {
            authorization: fetched.authorization,
            fetched_at: now,
            renew_at: now + renew_after,
            usable_until: now + lifetime - reserve,
            outdated: AtomicBool::new(false),
        }
    }

    /// Whether it need not be renewed yet.
    fn is_fresh(&self, now: Instant) -> bool {
        now < self.renew_at && !self.outdated.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token([REDACTED])")
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Tokens from a script of lifetimes; the last one repeats.
    fn tokens(script: Vec<Result<Option<Duration>, Kind>>) -> (Arc<Tokens>, Arc<AtomicUsize>) {
        let fetches = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&fetches);
        let tokens = Tokens::new(Handle::current(), move || {
            let i = count.fetch_add(1, Ordering::SeqCst);
            let step = script[i.min(script.len() - 1)];
            async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                match step {
                    Ok(lifetime) => Ok(Fetched {
                        authorization: HeaderValue::from_static("Bearer CANARY"),
                        lifetime,
                        new_credentials: false,
                    }),
                    Err(kind) => Err(Error::new(kind, "as scripted")),
                }
            }
        });
        (tokens, fetches)
    }

    fn seconds(seconds: u64) -> Result<Option<Duration>, Kind> {
        Ok(Some(Duration::from_secs(seconds)))
    }

    async fn pass(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn calls_at_once_share_one_fetch() {
        let (tokens, fetches) = tokens(vec![seconds(3_600)]);
        let calls: Vec<_> = (0..500)
            .map(|_| {
                let tokens = Arc::clone(&tokens);
                tokio::spawn(async move { tokens.ready().await.is_ok() })
            })
            .collect();
        for call in calls {
            assert!(call.await.unwrap());
        }
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_renewed_at_half_its_life_while_the_old_one_serves() {
        let (tokens, fetches) = tokens(vec![seconds(3_600)]);
        let first = tokens.ready().await.unwrap();
        pass(1_500).await;
        tokens.ready().await.unwrap();
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
        pass(600).await;
        let old = tokens.ready().await.unwrap();
        assert!(Arc::ptr_eq(&first, &old));
        pass(1).await;
        let new = tokens.ready().await.unwrap();
        assert!(!Arc::ptr_eq(&first, &new));
        assert_eq!(fetches.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn while_renewals_fail_the_old_token_serves_to_its_end() {
        let (tokens, _) = tokens(vec![seconds(3_600), Err(Kind::Unreachable)]);
        tokens.ready().await.unwrap();
        for _ in 0..350 {
            pass(10).await;
            tokens.ready().await.unwrap();
        }
        pass(60).await;
        let error = tokens.ready().await.unwrap_err();
        assert_eq!(error.kind, Kind::Unreachable);
    }

    #[tokio::test(start_paused = true)]
    async fn rejected_credentials_are_tried_once_in_ten_seconds() {
        let (tokens, fetches) = tokens(vec![Err(Kind::CredentialsRejected)]);
        for _ in 0..1_000 {
            let error = tokens.ready().await.unwrap_err();
            assert_eq!(error.kind, Kind::CredentialsRejected);
            assert!(error.retry_after.unwrap() <= PAUSE);
        }
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
        pass(10).await;
        tokens.ready().await.unwrap_err();
        assert_eq!(fetches.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_token_is_replaced_once_for_all_who_hold_it() {
        let (tokens, fetches) = tokens(vec![seconds(3_600)]);
        let refused = tokens.ready().await.unwrap();
        let calls: Vec<_> = (0..200)
            .map(|_| {
                let (tokens, refused) = (Arc::clone(&tokens), Arc::clone(&refused));
                tokio::spawn(async move { tokens.replace(&refused).await.unwrap() })
            })
            .collect();
        for call in calls {
            assert!(!Arc::ptr_eq(&call.await.unwrap(), &refused));
        }
        assert_eq!(fetches.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_refused_again_and_again_do_not_make_a_loop() {
        let (tokens, fetches) = tokens(vec![seconds(3_600)]);
        let mut token = tokens.ready().await.unwrap();
        token = tokens.replace(&token).await.unwrap();
        for _ in 0..100 {
            let error = tokens.replace(&token).await.unwrap_err();
            assert_eq!(error.kind, Kind::CredentialsRejected);
        }
        assert_eq!(fetches.load(Ordering::SeqCst), 2);
        pass(11).await;
        tokens.replace(&token).await.unwrap();
        assert_eq!(fetches.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn where_a_refused_token_finds_no_other_the_cause_is_told_to_all_who_hold_it() {
        let (tokens, fetches) = tokens(vec![seconds(3_600), Err(Kind::Unreachable)]);
        let refused = tokens.ready().await.unwrap();
        for _ in 0..3 {
            let error = tokens.replace(&refused).await.unwrap_err();
            assert_eq!(error.kind, Kind::Unreachable);
        }
        assert_eq!(fetches.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn with_new_credentials_the_old_token_serves_until_there_is_another() {
        let (tokens, fetches) = tokens(vec![
            seconds(3_600),
            Err(Kind::CredentialsRejected),
            seconds(3_600),
        ]);
        let first = tokens.ready().await.unwrap();
        tokens.renew();
        assert!(Arc::ptr_eq(&tokens.ready().await.unwrap(), &first));
        // Easemob does not know them yet: asked again after the pause, long before the token is old.
        pass(1).await;
        assert!(Arc::ptr_eq(&tokens.ready().await.unwrap(), &first));
        assert_eq!(fetches.load(Ordering::SeqCst), 2);
        pass(10).await;
        tokens.ready().await.unwrap();
        pass(1).await;
        assert!(!Arc::ptr_eq(&tokens.ready().await.unwrap(), &first));
        assert_eq!(fetches.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn new_credentials_end_the_pause_of_the_old_ones() {
        let (tokens, _) = tokens(vec![Err(Kind::CredentialsRejected), seconds(3_600)]);
        tokens.ready().await.unwrap_err();
        tokens.ready().await.unwrap_err();
        tokens.renew();
        tokens.ready().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_that_change_during_a_fetch_are_used_by_the_next() {
        let (tokens, fetches) = tokens(vec![seconds(3_600)]);
        let first = tokio::spawn({
            let tokens = Arc::clone(&tokens);
            async move { tokens.ready().await.unwrap() }
        });
        tokio::task::yield_now().await;
        tokens.renew();
        let first = first.await.unwrap();
        pass(1).await;
        assert!(!Arc::ptr_eq(&tokens.ready().await.unwrap(), &first));
        assert_eq!(fetches.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_panics_is_not_waited_for_for_ever() {
        let fetches = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&fetches);
        let tokens = Tokens::new(Handle::current(), move || {
            let first = count.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                assert!(!first, "as scripted");
                Ok(Fetched {
                    authorization: HeaderValue::from_static("Bearer x"),
                    lifetime: None,
                    new_credentials: false,
                })
            }
        });
        let error = tokens.ready().await.unwrap_err();
        assert_eq!(error.kind, Kind::Unreachable);
        pass(1).await;
        tokens.ready().await.unwrap();
        assert_eq!(fetches.load(Ordering::SeqCst), 2);
    }

    /// A secret that changes twice in ten seconds: Easemob refuses the token of each, and both refusals are new.
    #[tokio::test(start_paused = true)]
    async fn a_token_of_new_credentials_may_be_refused_as_well() {
        let tokens = Tokens::new(Handle::current(), || async {
            Ok(Fetched {
                authorization: HeaderValue::from_static("Bearer x"),
                lifetime: None,
                new_credentials: true,
            })
        });
        let mut token = tokens.ready().await.unwrap();
        for _ in 0..3 {
            token = tokens.replace(&token).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_can_stop_the_asking_for_long() {
        let tokens = Tokens::new(Handle::current(), || async {
            let error = Error::new(Kind::Unreachable, "as scripted");
            Err(error.with_retry_after(Duration::from_secs(3_600)))
        });
        let error = tokens.ready().await.unwrap_err();
        assert_eq!(error.retry_after, Some(MAX_PAUSE));
    }

    #[tokio::test(start_paused = true)]
    async fn no_lifetime_makes_a_storm() {
        for lifetime in [None, Some(Duration::MAX)] {
            let (tokens, fetches) = tokens(vec![Ok(lifetime)]);
            for _ in 0..60 {
                tokens.ready().await.unwrap();
                pass(1).await;
            }
            assert_eq!(fetches.load(Ordering::SeqCst), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_not_in_debug_texts() {
        let (tokens, _) = tokens(vec![seconds(3_600)]);
        tokens.ready().await.unwrap();
        assert!(!format!("{tokens:?}").contains("CANARY"));
    }
}
