//! The faults asked for over HTTP, and whose turn it is.

use std::sync::Mutex;

use serde::Serialize;
use tokio::sync::watch;

use super::super::endpoint::Endpoint;
use super::super::locked;
use super::Fault;
use super::rule::Wanted;

/// Most rules at once.
const MOST: usize = 100;

/// A fault that was asked for.
#[derive(Debug, Clone, Serialize)]
pub(in crate::sandbox) struct Rule {
    pub(in crate::sandbox) id: u64,
    #[serde(flatten)]
    pub(in crate::sandbox) wanted: Wanted,
    /// How often it happened.
    pub(in crate::sandbox) fired: u64,
    /// How often it still will; `None` for until it is removed.
    pub(in crate::sandbox) left: Option<u32>,
    #[serde(skip)]
    fault: Fault,
}

/// All rules, oldest first.
pub(in crate::sandbox) struct Rules {
    kept: Mutex<Kept>,
    /// Changes with every rule, and when one happens.
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Kept {
    rules: Vec<Rule>,
    last_id: u64,
}

impl Rules {
    pub(in crate::sandbox) fn new() -> Self {
        Self {
            kept: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// Adds a rule behind the others; used-up ones make room for it.
    pub(in crate::sandbox) fn add(&self, wanted: Wanted) -> Result<Rule, String> {
        let fault = wanted.fault()?;
        let mut kept = locked(&self.kept);
        if kept.rules.len() >= MOST {
            kept.rules.retain(|rule| rule.left != Some(0));
        }
        if kept.rules.len() >= MOST {
            return Err(format!("there are {MOST} faults already: remove some"));
        }
        kept.last_id += 1;
        // An outage happens when it is asked for.
        let now = wanted.outage().is_some();
        let rule = Rule {
            id: kept.last_id,
            fired: u64::from(now),
            left: if now { Some(0) } else { wanted.count },
            wanted,
            fault,
        };
        kept.rules.push(rule.clone());
        self.changed.send_replace(());
        Ok(rule)
    }

    pub(in crate::sandbox) fn list(&self) -> Vec<Rule> {
        locked(&self.kept).rules.clone()
    }

    /// Whether it was there.
    pub(in crate::sandbox) fn remove(&self, id: u64) -> bool {
        let mut kept = locked(&self.kept);
        let before = kept.rules.len();
        kept.rules.retain(|rule| rule.id != id);
        self.changed.send_replace(());
        kept.rules.len() < before
    }

    pub(in crate::sandbox) fn clear(&self) {
        locked(&self.kept).rules.clear();
        self.changed.send_replace(());
    }

    pub(in crate::sandbox) fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The fault of the first rule that is for this call and has its chance now.
    pub(super) fn next(&self, endpoint: Endpoint) -> Option<Fault> {
        let mut kept = locked(&self.kept);
        let rule = kept.rules.iter_mut().find(|rule| {
            rule.wanted.endpoint.includes(endpoint)
                && rule.left != Some(0)
                && (rule.wanted.probability >= 1.0 || fastrand::f64() < rule.wanted.probability)
        })?;
        rule.fired += 1;
        if let Some(left) = &mut rule.left {
            *left -= 1;
        }
        self.changed.send_replace(());
        Some(rule.fault.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn add(rules: &Rules, rule: Value) -> u64 {
        rules.add(serde_json::from_value(rule).unwrap()).unwrap().id
    }

    fn happens(rules: &Rules, endpoint: Endpoint) -> bool {
        rules.next(endpoint).is_some()
    }

    #[test]
    fn a_count_is_used_up_and_stays_in_the_list() {
        let rules = Rules::new();
        add(&rules, json!({"kind": "close", "count": 2}));
        let users = Endpoint::SendToUsers;
        let happened = [(); 3].map(|()| happens(&rules, users));
        assert_eq!(happened, [true, true, false]);
        let rule = &rules.list()[0];
        assert_eq!((rule.fired, rule.left), (2, Some(0)));
    }

    #[test]
    fn a_rule_is_for_its_endpoint_alone() {
        let rules = Rules::new();
        add(&rules, json!({"kind": "close", "endpoint": "upload"}));
        let happened = Endpoint::ALL.map(|endpoint| happens(&rules, endpoint));
        assert_eq!(happened.iter().filter(|happened| **happened).count(), 1);
        assert!(happened[Endpoint::Upload.index()]);
        rules.clear();
        add(&rules, json!({"kind": "close"}));
        for endpoint in Endpoint::ALL {
            let is_send = Endpoint::SENDS.contains(&endpoint);
            assert_eq!(happens(&rules, endpoint), is_send, "{endpoint:?}");
        }
    }

    #[test]
    fn a_chance_is_taken_about_as_often_as_it_says() {
        let rules = Rules::new();
        add(&rules, json!({"kind": "close", "probability": 0.3}));
        let calls = 0..10_000;
        let happened = calls.filter(|_| happens(&rules, Endpoint::SendToUsers));
        // Thirty standard deviations to either side.
        assert!((1_600..4_400).contains(&happened.count()));
    }

    #[test]
    fn rules_are_removed_by_their_id_and_bounded() {
        let rules = Rules::new();
        let first = add(&rules, json!({"kind": "close", "count": 1}));
        assert!(rules.remove(first));
        assert!(!rules.remove(first));
        add(&rules, json!({"kind": "close", "count": 1}));
        for _ in 1..MOST {
            add(&rules, json!({"kind": "silence"}));
        }
        let more = || serde_json::from_value(json!({"kind": "silence"})).unwrap();
        assert!(rules.add(more()).is_err());
        assert!(happens(&rules, Endpoint::SendToUsers));
        assert!(rules.add(more()).is_ok(), "the used-up one made room");
    }
}
