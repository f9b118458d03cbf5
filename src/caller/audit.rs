//! Who was refused, in the log: a line for each caller or address, and not for each call.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::warn;

use super::Caller;

/// How often a line is written for the same source and cause.
const EVERY: Duration = Duration::from_secs(10);
/// Sources and causes that are told apart. Further ones share a line.
const MOST: usize = 1024;

/// Why a caller was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The call has no key, or not in the form of one.
    NoKey,
    /// Nobody has this key.
    UnknownKey,
    /// The connection has no certificate.
    NoCertificate,
    /// The certificate has expired.
    ExpiredCertificate,
    /// No authority of ours vouches for the certificate.
    ForeignCertificate,
    /// The certificate is wrong in another way.
    BadCertificate,
    /// The certificate is good, and names no caller.
    UnknownCertificate,
    /// The caller may not use the app, or there is none of this name.
    App,
}

impl Refusal {
    /// The refusal as a value of logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoKey => "no key",
            Self::UnknownKey => "unknown key",
            Self::NoCertificate => "no certificate",
            Self::ExpiredCertificate => "expired certificate",
            Self::ForeignCertificate => "certificate of a foreign authority",
            Self::BadCertificate => "bad certificate",
            Self::UnknownCertificate => "certificate of no caller",
            Self::App => "app forbidden or unknown",
        }
    }
}

/// Writes the lines. Clones share what has been written.
#[derive(Debug, Clone, Default)]
pub struct Audit(Arc<Mutex<HashMap<Key, Told>>>);

/// None: what is beyond [`MOST`].
type Key = Option<Source>;
/// Who, and why.
type Source = (Refusal, Option<IpAddr>, Option<Arc<str>>);

#[derive(Debug)]
struct Told {
    last: Instant,
    untold: u64,
}

impl Audit {
    /// Notes a refusal: of whom and from where, as far as that is known, and what was asked for: a method, an
    /// app, or a connection.
    pub fn refused(
        &self,
        refusal: Refusal,
        caller: Option<&Caller>,
        from: Option<IpAddr>,
        asked: &str,
    ) {
        let key = (
            refusal,
            from,
            caller.map(|caller| Arc::clone(&caller.0.name)),
        );
        let Some(untold) = self.line_due(key, Instant::now()) else {
            return;
        };
        let caller = caller.map(Caller::name);
        let from = from.map(tracing::field::display);
        let why = refusal.as_str();
        warn!(target: "audit", caller, from, why, asked, untold, "a caller was refused");
    }

    /// Whether to write a line now; and how many of its kind there were since the last one.
    fn line_due(&self, key: Source, now: Instant) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MOST && !told.contains_key(&Some(key.clone())) {
            told.retain(|_, told| now.duration_since(told.last) < EVERY);
        }
        let key = Some(key);
        let key = if told.len() < MOST || told.contains_key(&key) {
            key
        } else {
            None
        };
        let Some(known) = told.get_mut(&key) else {
            told.insert(
                key,
                Told {
                    last: now,
                    untold: 0,
                },
            );
            return Some(0);
        };
        if now.duration_since(known.last) < EVERY {
            known.untold += 1;
            return None;
        }
        known.last = now;
        Some(std::mem::take(&mut known.untold))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn from(number: u32) -> Source {
        (Refusal::NoKey, Some(Ipv4Addr::from(number).into()), None)
    }

    #[test]
    fn a_source_has_a_line_every_ten_seconds_and_is_counted_in_between() {
        let audit = Audit::default();
        let start = Instant::now();
        assert_eq!(audit.line_due(from(1), start), Some(0));
        for _ in 0..1000 {
            assert_eq!(audit.line_due(from(1), start + EVERY / 2), None);
        }
        // Another source, and another cause, have lines of their own.
        assert_eq!(audit.line_due(from(2), start), Some(0));
        let other = (Refusal::UnknownKey, from(1).1, None);
        assert_eq!(audit.line_due(other, start), Some(0));
        assert_eq!(audit.line_due(from(1), start + EVERY), Some(1000));
    }

    #[test]
    fn a_crowd_of_sources_shares_a_line_and_bounded_memory() {
        let audit = Audit::default();
        let start = Instant::now();
        let lines = (0..10_000).filter_map(|source| audit.line_due(from(source), start));
        assert_eq!(lines.count(), MOST + 1);
        assert_eq!(audit.0.lock().unwrap().len(), MOST + 1);
        // Sources that have gone make room.
        assert_eq!(audit.line_due(from(20_000), start + EVERY), Some(0));
        assert_eq!(audit.0.lock().unwrap().len(), 1);
    }
}
