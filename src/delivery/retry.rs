//! Which outcomes are tried again, and after how long: decisions, no waiting.

use std::time::Duration;

use tower::retry::budget::{Budget as _, TpsBudget};

use super::Failure;
use crate::easemob::Kind;

/// Attempts after the first that found nobody to talk to.
const RETRIES: u32 = 2;
/// Longest pause before the first of them; doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause before any.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// How much may be tried again, for one app on all shards: a tenth of what is sent, and one a second,
/// counted over ten seconds. So retries cannot become the outage.
pub(super) struct Budget(TpsBudget);

impl Budget {
    pub(super) fn new() -> Self {
        Self(TpsBudget::new(Duration::from_secs(10), 1, 0.1))
    }

    /// Notes a part that begins.
    pub(super) fn deposit(&self) {
        self.0.deposit();
    }

    fn withdraw(&self) -> bool {
        self.0.withdraw()
    }
}

impl std::fmt::Debug for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Budget")
    }
}

/// Other tokens that a part may have. The first may have been on its way when the old one was refused, and have
/// ended with it; the second was asked for because of a refusal. `Tokens` asks for no other so soon after that
/// one, so that wrong credentials cost one attempt more and not two.
const TOKENS: u32 = 2;

/// What one part has tried so far.
#[derive(Debug, Default)]
pub(super) struct Retry {
    /// Whether what may have been sent is sent again.
    resend_maybe_sent: bool,
    retries: u32,
    tokens_replaced: u32,
}

/// How far a part had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// There was no token.
    Token,
    /// There was no turn.
    Turn,
    /// An attempt was made.
    Attempt,
}

/// What follows a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: the failure is the outcome.
    End,
    /// Another attempt after this long.
    After(Duration),
    /// Another attempt with another token.
    WithNewToken,
    /// Another turn, once the quota is no longer used up.
    WhenQuotaAllows,
}

impl Retry {
    pub(super) fn new(resend_maybe_sent: bool) -> Self {
        Self {
            resend_maybe_sent,
            ..Self::default()
        }
    }

    /// After a failure at this stage.
    pub(super) fn after(&mut self, stage: Stage, failure: &Failure, budget: &Budget) -> Step {
        let Failure::Easemob(error) = failure else {
            return Step::End;
        };
        match (stage, error.kind) {
            // None is fetched before the time that the failure tells.
            (Stage::Token, Kind::Unreachable | Kind::QuotaExceeded) => {
                self.backoff(error.retry_after.unwrap_or_default(), budget)
            }
            (Stage::Token | Stage::Turn, _) => Step::End,
            (Stage::Attempt, Kind::QuotaExceeded) => Step::WhenQuotaAllows,
            (Stage::Attempt, Kind::TokenRefused) if self.tokens_replaced < TOKENS => {
                self.tokens_replaced += 1;
                Step::WithNewToken
            }
            (Stage::Attempt, Kind::Unreachable) => self.backoff(Duration::ZERO, budget),
            (Stage::Attempt, Kind::Busy) => {
                self.backoff(error.retry_after.unwrap_or_default(), budget)
            }
            (Stage::Attempt, Kind::OutcomeUnknown) if self.resend_maybe_sent => {
                self.backoff(Duration::ZERO, budget)
            }
            (Stage::Attempt, _) => Step::End,
        }
    }

    fn backoff(&mut self, at_least: Duration, budget: &Budget) -> Step {
        if self.retries == RETRIES || !budget.withdraw() {
            return Step::End;
        }
        let longest = FIRST_PAUSE.saturating_mul(1 << self.retries).min(MAX_PAUSE);
        self.retries += 1;
        // Full jitter: those that failed together do not come back together.
        Step::After(at_least + longest.mul_f64(fastrand::f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::easemob::Error;

    fn failure(kind: Kind) -> Failure {
        Error::new(kind, "as scripted").into()
    }

    fn step(kind: Kind) -> Step {
        Retry::default().after(Stage::Attempt, &failure(kind), &Budget::new())
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_proven_not_sent_and_may_pass_is_tried_again() {
        use Kind::*;
        for kind in [Unreachable, Busy] {
            assert!(matches!(step(kind), Step::After(_)), "{kind:?}");
        }
        assert_eq!(step(QuotaExceeded), Step::WhenQuotaAllows);
        assert_eq!(step(TokenRefused), Step::WithNewToken);
        for kind in [
            OutcomeUnknown,
            InvalidRequest,
            MessageTooLarge,
            CredentialsRejected,
            PlanLimitReached,
            FeatureNotEnabled,
            AppNotFound,
            Refused,
        ] {
            assert_eq!(step(kind), Step::End, "{kind:?}");
        }
        for failure in [
            Failure::DeadlineExceeded,
            Failure::Overloaded,
            Failure::ShuttingDown,
            Failure::Internal,
        ] {
            let step = Retry::default().after(Stage::Attempt, &failure, &Budget::new());
            assert_eq!(step, Step::End, "{failure:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_have_been_sent_is_sent_again_only_where_that_was_asked_for() {
        let mut retry = Retry::new(true);
        let step = retry.after(
            Stage::Attempt,
            &failure(Kind::OutcomeUnknown),
            &Budget::new(),
        );
        assert!(matches!(step, Step::After(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_replaced_twice_at_most() {
        let mut retry = Retry::default();
        let (refused, budget) = (failure(Kind::TokenRefused), Budget::new());
        for _ in 0..2 {
            assert_eq!(
                retry.after(Stage::Attempt, &refused, &budget),
                Step::WithNewToken
            );
        }
        assert_eq!(retry.after(Stage::Attempt, &refused, &budget), Step::End);
    }

    #[tokio::test(start_paused = true)]
    async fn two_retries_with_pauses_from_nothing_to_twice_as_long() {
        let unreachable = failure(Kind::Unreachable);
        let mut longest = [Duration::ZERO; 2];
        for _ in 0..200 {
            let budget = Budget::new();
            let mut retry = Retry::default();
            for longest in &mut longest {
                let Step::After(pause) = retry.after(Stage::Attempt, &unreachable, &budget) else {
                    panic!("it is tried again");
                };
                *longest = pause.max(*longest);
            }
            assert_eq!(
                retry.after(Stage::Attempt, &unreachable, &budget),
                Step::End
            );
        }
        let [first, second] = longest.map(|longest| longest.as_millis());
        assert!((50..=100).contains(&first), "{first}");
        assert!((100..=200).contains(&second), "{second}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_for_a_token_lasts_as_long_as_none_is_fetched() {
        let wait = Duration::from_secs(4);
        let error = Error::new(Kind::Unreachable, "no token").with_retry_after(wait);
        let step = Retry::default().after(Stage::Token, &error.into(), &Budget::new());
        assert!(matches!(step, Step::After(pause) if pause >= wait));
    }

    #[tokio::test(start_paused = true)]
    async fn retries_are_a_tenth_of_what_is_sent_and_one_a_second() {
        let budget = Budget::new();
        let unreachable = failure(Kind::Unreachable);
        let mut tried_again = 0;
        // 100 a second for 30 s, all of which fail.
        for _ in 0..3_000 {
            budget.deposit();
            let step = Retry::default().after(Stage::Attempt, &unreachable, &budget);
            tried_again += u32::from(step != Step::End);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // What was spent does not come back before its ten seconds have passed.
        assert!((300..=345).contains(&tried_again), "{tried_again}");
    }
}
