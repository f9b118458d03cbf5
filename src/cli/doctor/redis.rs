//! Redis, where replicas share a store: whether it is there, lets the gateway in, and keeps what it is given.

use super::finding::{Check, Fault, Finding};
use crate::store::{Config, Kind, Probe, ProbeError, probe};

const SUBJECT: &str = "redis";
/// The oldest that our scripts are tried with.
const OLDEST: u32 = 7;

/// Connects to Redis, and asks what it is.
pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let check = || Check::new(SUBJECT, "redis", "to reach Redis at store.url");
    if config.kind != Kind::Redis {
        return vec![check().skipped("store.kind is \"memory\": no Redis is used")];
    }
    match probe(config).await {
        Ok(redis) => vec![judge(check(), &redis)],
        Err(error) => {
            let (fault, change) = match error {
                ProbeError::Setup(_) => (Fault::Settings, "correct store.url or store.ca_file"),
                ProbeError::Refused => (
                    Fault::Settings,
                    "correct the user and password in store.url, or give that user its rights (docs/scaling.md names the commands)",
                ),
                ProbeError::NoConnection => (
                    Fault::Network,
                    "see whether Redis runs at that host and port, whether it wants TLS (rediss://), and whether a NetworkPolicy is in the way",
                ),
                ProbeError::Late => (
                    Fault::OtherSide,
                    "see why Redis is slow: sends with a request ID are refused while it is",
                ),
            };
            vec![check().problem(error.to_string(), fault, change)]
        }
    }
}

fn judge(check: Check<'_>, redis: &Probe) -> Finding {
    let version = &redis.version;
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    if major.is_none_or(|major: u32| major < OLDEST) {
        return check.warning(
            format!("it is version {version:?}, and ours are tried with {OLDEST} and newer"),
            Fault::OtherSide,
            format!("use Redis {OLDEST} or Valkey"),
        );
    }
    if let Some(policy) = redis
        .eviction
        .as_deref()
        .filter(|policy| *policy != "noeviction")
    {
        return check.warning(
            format!("its maxmemory-policy is {policy:?}: when it is full, it forgets request IDs"),
            Fault::OtherSide,
            "set maxmemory-policy noeviction: a repeat of what it forgot would be sent again",
        );
    }
    if redis.appends == Some(false) {
        return check.warning(
            "appendonly is off: after a restart it may have forgotten request IDs",
            Fault::OtherSide,
            "set appendonly yes, or take it as it is: a repeat across its restart may be sent again",
        );
    }
    check.ok(format!(
        "Redis {version} answers, and keeps what it is given"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Verdict;

    fn verdict(version: &str, eviction: &str, appends: bool) -> (Verdict, String) {
        let redis = Probe {
            version: version.to_owned(),
            eviction: Some(eviction.to_owned()),
            appends: Some(appends),
        };
        let finding = judge(Check::new(SUBJECT, "redis", "to look"), &redis);
        (finding.verdict, finding.found)
    }

    #[test]
    fn what_forgets_is_named() {
        assert_eq!(verdict("7.0.15", "noeviction", true).0, Verdict::Ok);
        for (redis, word) in [
            (verdict("6.2.1", "noeviction", true), "version"),
            (verdict("7.0.15", "allkeys-lru", true), "allkeys-lru"),
            (verdict("7.0.15", "noeviction", false), "appendonly"),
        ] {
            assert_eq!(redis.0, Verdict::Warning);
            assert!(redis.1.contains(word), "{redis:?}");
        }
    }
}
