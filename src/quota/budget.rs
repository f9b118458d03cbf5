//! How much of a quota may still go: counted here alone, or leased from what all replicas share.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    flow::Amount,
    lease::{Lease, Limit},
    rules::End,
    window::Window,
};

/// The two limits of a kind.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one a quota, and no step more where nothing is shared"
)]
pub(super) enum Budget {
    /// This process has all of it.
    Own {
        calls: Option<Window>,
        messages: Option<Window>,
    },
    /// Several replicas share it.
    Leased(Box<Lease>),
}

impl Budget {
    /// `share`: of the quota, while Redis is away; none where nothing is shared.
    pub(super) fn new(calls: u32, messages: Option<(u32, Duration)>, share: Option<f64>) -> Self {
        let second = Duration::from_secs(1);
        match share {
            Some(share) => {
                let limit = |(amount, length): (u32, Duration)| Limit {
                    amount: amount.into(),
                    length,
                };
                let messages = limit(messages.unwrap_or((0, second)));
                Self::Leased(Box::new(Lease::new(
                    messages,
                    limit((calls, second)),
                    share,
                )))
            }
            None => {
                let window = |(limit, length)| (limit > 0).then(|| Window::new(limit, length));
                Self::Own {
                    calls: window((calls, second)),
                    messages: messages.and_then(window),
                }
            }
        }
    }

    /// The messages that may go in the quota's time; none where they are not limited.
    pub(super) fn limit(&self) -> Option<u64> {
        match self {
            Self::Own { messages, .. } => messages.as_ref().map(Window::limit),
            Self::Leased(lease) => lease.limit(),
        }
    }

    /// Whether a call may go now, and leave this much to others.
    pub(super) fn fits(&mut self, messages: u64, kept: u64, now: Instant) -> bool {
        match self {
            Self::Own {
                calls,
                messages: window,
            } => {
                calls.as_mut().is_none_or(|calls| calls.fits(1, now))
                    && window
                        .as_mut()
                        .is_none_or(|window| window.fits(messages + kept, now))
            }
            Self::Leased(lease) => {
                lease.fits(messages, now) && (kept == 0 || lease.room(now) >= messages + kept)
            }
        }
    }

    /// Messages that are left of the whole quota.
    pub(super) fn room(&mut self, now: Instant) -> u64 {
        match self {
            Self::Own { messages, .. } => messages.as_mut().map_or(u64::MAX, |window| {
                window.limit().saturating_sub(window.used(now))
            }),
            Self::Leased(lease) => lease.room(now),
        }
    }

    /// When this much will fit, if nothing else goes meanwhile.
    pub(super) fn when_fits(&mut self, amount: Amount, now: Instant) -> Instant {
        let when = |window: &mut Option<Window>, amount: u64| {
            window
                .as_mut()
                .map_or(now, |window| window.when_fits(amount, now))
        };
        match self {
            Self::Own { calls, messages } => {
                when(calls, amount.calls).max(when(messages, amount.messages))
            }
            Self::Leased(lease) => lease.when_fits(amount, now),
        }
    }

    /// How much is used, of how much; in calls where messages are not limited.
    pub(super) fn usage(&mut self, now: Instant) -> (u64, u64) {
        match self {
            Self::Own { calls, messages } => {
                let window = messages.as_mut().or(calls.as_mut());
                window.map_or((0, 0), |window| (window.used(now), window.limit()))
            }
            Self::Leased(lease) => {
                let limit = lease.limit().unwrap_or(0);
                (limit.saturating_sub(lease.room(now)), limit)
            }
        }
    }

    pub(super) fn charge(&mut self, messages: u64, now: Instant) {
        match self {
            Self::Own {
                calls,
                messages: window,
            } => {
                if let Some(calls) = calls {
                    calls.charge(1);
                }
                if let Some(window) = window {
                    window.charge(messages);
                }
            }
            Self::Leased(lease) => lease.charge(messages, now),
        }
    }

    /// The call ended: what was counted is charged for a window more, and the rest is given back. A lease is
    /// charged for a refused call's messages as well, which is the safe side.
    pub(super) fn settle(&mut self, end: End, now: Instant) {
        let End {
            messages,
            call_counted,
            messages_counted,
        } = end;
        match self {
            Self::Own {
                calls,
                messages: window,
            } => {
                if let Some(calls) = calls {
                    calls.settle(1, call_counted, now);
                }
                if let Some(window) = window {
                    window.settle(messages, messages_counted, now);
                }
            }
            Self::Leased(lease) => match call_counted {
                Some(began) => lease.end(Amount { calls: 1, messages }, began, now),
                None => lease.give_back(messages, now),
            },
        }
    }

    /// The call is proven not to have been counted by Easemob.
    pub(super) fn give_back(&mut self, messages: u64, now: Instant) {
        match self {
            Self::Own {
                calls,
                messages: window,
            } => {
                if let Some(calls) = calls {
                    calls.give_back(1);
                }
                if let Some(window) = window {
                    window.give_back(messages);
                }
            }
            Self::Leased(lease) => lease.give_back(messages, now),
        }
    }

    /// The lease, where there is one.
    pub(super) fn lease(&mut self) -> Option<&mut Lease> {
        match self {
            Self::Own { .. } => None,
            Self::Leased(lease) => Some(lease),
        }
    }
}
