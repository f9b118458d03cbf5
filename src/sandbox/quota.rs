//! Call and message rates: exact sliding windows.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use super::config::{self, Rate};
use super::endpoint::Endpoint;
use super::locked;

/// The windows of every kind.
pub(super) struct Quotas {
    token: Window,
    users: Quota,
    groups: Quota,
    chatrooms: Quota,
    directed: Quota,
    uploads: Window,
    downloads: Window,
}

impl Quotas {
    pub(super) fn new(quotas: config::Quotas) -> Self {
        Self {
            token: Window::new(quotas.token),
            users: Quota::new(quotas.users),
            groups: Quota::new(quotas.groups),
            chatrooms: Quota::new(quotas.chatrooms),
            directed: Quota::new(quotas.directed),
            uploads: Window::new(quotas.uploads),
            downloads: Window::new(quotas.downloads),
        }
    }

    /// Changes the rates; what was counted stays counted.
    pub(super) fn set(&self, quotas: config::Quotas) {
        self.token.set(quotas.token);
        self.users.set(quotas.users);
        self.groups.set(quotas.groups);
        self.chatrooms.set(quotas.chatrooms);
        self.directed.set(quotas.directed);
        self.uploads.set(quotas.uploads);
        self.downloads.set(quotas.downloads);
    }

    /// Whether one more call may pass now; if so, it is counted.
    pub(super) fn call(&self, endpoint: Endpoint, now: Duration) -> bool {
        let calls = match endpoint {
            Endpoint::Token => &self.token,
            Endpoint::SendToUsers => &self.users.calls,
            Endpoint::SendToGroups => &self.groups.calls,
            Endpoint::SendToChatrooms => &self.chatrooms.calls,
            // Groups and rooms share one row of the documented table.
            Endpoint::SendToGroupMembers | Endpoint::SendToChatroomMembers => &self.directed.calls,
            Endpoint::Upload => &self.uploads,
            Endpoint::Download => &self.downloads,
        };
        calls.take(now, 1)
    }

    /// Whether so many more messages may pass now; if so, they are counted, else none of them is.
    pub(super) fn messages(&self, endpoint: Endpoint, now: Duration, count: usize) -> bool {
        let quota = match endpoint {
            Endpoint::SendToUsers => &self.users,
            Endpoint::SendToGroups => &self.groups,
            Endpoint::SendToChatrooms => &self.chatrooms,
            Endpoint::SendToGroupMembers | Endpoint::SendToChatroomMembers => &self.directed,
            // They send nothing.
            Endpoint::Token | Endpoint::Upload | Endpoint::Download => return true,
        };
        quota.messages.take(now, count)
    }
}

struct Quota {
    calls: Window,
    messages: Window,
}

impl Quota {
    fn new(quota: config::Quota) -> Self {
        Self {
            calls: Window::new(quota.calls),
            messages: Window::new(quota.messages),
        }
    }

    fn set(&self, quota: config::Quota) {
        self.calls.set(quota.calls);
        self.messages.set(quota.messages);
    }
}

struct Window(Mutex<Taken>);

struct Taken {
    rate: Option<Rate>,
    /// When, and how many; oldest first.
    grants: VecDeque<(Duration, usize)>,
    sum: usize,
}

impl Window {
    fn new(rate: Option<Rate>) -> Self {
        Self(Mutex::new(Taken {
            rate,
            grants: VecDeque::new(),
            sum: 0,
        }))
    }

    fn set(&self, rate: Option<Rate>) {
        let mut taken = locked(&self.0);
        taken.rate = rate;
        if rate.is_none() {
            taken.grants.clear();
            taken.sum = 0;
        }
    }

    fn take(&self, now: Duration, count: usize) -> bool {
        let mut taken = locked(&self.0);
        let Some(rate) = taken.rate else { return true };
        while let Some(&(at, old)) = taken.grants.front() {
            if now.saturating_sub(at) < rate.window {
                break;
            }
            taken.sum -= old;
            taken.grants.pop_front();
        }
        if taken.sum + count > usize::try_from(rate.count).unwrap_or(usize::MAX) {
            return false;
        }
        taken.sum += count;
        taken.grants.push_back((now, count));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_window_slides() {
        let window = Window::new(Some(Rate::per_second(3)));
        assert!(window.take(MS(0), 1));
        assert!(window.take(MS(600), 2));
        assert!(!window.take(MS(999), 1), "the first is still in the window");
        assert!(window.take(MS(1000), 1), "the first has left it");
        assert!(!window.take(MS(1599), 1));
        assert!(window.take(MS(1600), 2));
    }

    #[test]
    fn what_is_refused_is_not_counted_and_nothing_passes_in_part() {
        let window = Window::new(Some(Rate::per_minute(600)));
        assert!(window.take(MS(0), 500));
        assert!(!window.take(MS(1), 101));
        assert!(window.take(MS(2), 100));
    }

    #[test]
    fn no_rate_means_no_limit() {
        let window = Window::new(None);
        assert!((0..10_000).all(|_| window.take(MS(0), 600)));
        assert_eq!(locked(&window.0).grants.len(), 0);
    }

    #[test]
    fn kinds_do_not_share_but_the_two_directed_ones_do() {
        let one = config::Quota {
            calls: Some(Rate::per_second(1)),
            messages: Some(Rate::per_second(1)),
        };
        let quotas = Quotas::new(config::Quotas {
            token: Some(Rate::per_second(1)),
            users: one,
            groups: one,
            chatrooms: one,
            directed: one,
            uploads: Some(Rate::per_second(1)),
            downloads: Some(Rate::per_second(1)),
        });
        let passed = Endpoint::ALL.map(|endpoint| quotas.call(endpoint, MS(0)));
        assert_eq!(passed, [true, true, true, true, true, false, true, true]);
        assert!(quotas.messages(Endpoint::SendToGroupMembers, MS(0), 1));
        assert!(!quotas.messages(Endpoint::SendToChatroomMembers, MS(0), 1));
    }
}
