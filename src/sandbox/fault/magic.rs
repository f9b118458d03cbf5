//! Magic recipients: a user id that brings its own fault, for those who cannot call an API.

use bytes::Bytes;
use serde::Deserialize;

use super::super::endpoint::Endpoint;
use super::Fault;
use super::rule::{Kind, Wanted};

/// What every magic recipient begins with.
const PREFIX: &str = "fault-";

/// A magic recipient, and the fault that a send to it meets.
pub(in crate::sandbox) struct Magic {
    pub(in crate::sandbox) user: &'static str,
    kind: Kind,
    /// By name, see [`super::documented`].
    error: Option<&'static str>,
    status: Option<u16>,
}

const fn answer(user: &'static str, error: &'static str) -> Magic {
    Magic {
        user,
        kind: Kind::Status,
        error: Some(error),
        status: None,
    }
}

const fn other(user: &'static str, kind: Kind) -> Magic {
    Magic {
        user,
        kind,
        error: None,
        status: None,
    }
}

/// All of them; `docs/sandbox.md` has the same table for people.
pub(in crate::sandbox) const MAGIC: &[Magic] = &[
    answer("fault-400", "invalid_body"),
    answer("fault-too-large", "message_too_large"),
    answer("fault-401", "token_refused"),
    answer("fault-403", "daily_quota"),
    answer("fault-quota", "message_rate"),
    answer("fault-feature", "feature_off"),
    answer("fault-404", "app_not_found"),
    answer("fault-408", "request_timeout"),
    answer("fault-413", "request_too_large"),
    answer("fault-415", "media_type"),
    answer("fault-429", "call_rate"),
    answer("fault-plan", "plan_limit"),
    answer("fault-500", "internal"),
    answer("fault-502", "bad_gateway"),
    answer("fault-503", "unavailable"),
    answer("fault-504", "gateway_timeout"),
    other("fault-html", Kind::Html),
    Magic {
        status: Some(200),
        ..other("fault-html-200", Kind::Html)
    },
    other("fault-redirect", Kind::Redirect),
    other("fault-reset", Kind::ResetAfter),
    other("fault-close", Kind::Close),
    other("fault-silence", Kind::Silence),
    other("fault-late", Kind::Latency),
    other("fault-slow", Kind::Slow),
    other("fault-truncated", Kind::Truncated),
    other("fault-no-ids", Kind::WithoutIds),
    other("fault-oversized", Kind::Oversized),
];

/// The fault of the first magic recipient of a send, be it a target or a named member.
pub(in crate::sandbox) fn fault(endpoint: Endpoint, request: &Bytes) -> Option<Fault> {
    #[derive(Deserialize)]
    struct Recipients {
        #[serde(default)]
        to: Vec<String>,
        #[serde(default)]
        users: Vec<String>,
    }
    // Hardly any request names one: most are not worth a look at their fields.
    let prefix = PREFIX.as_bytes();
    let named = || {
        let mut words = request.windows(prefix.len());
        words.any(|word| word.eq_ignore_ascii_case(prefix))
    };
    if !Endpoint::SENDS.contains(&endpoint) || !named() {
        return None;
    }
    let Recipients { to, users } = serde_json::from_slice(request).ok()?;
    let found = to.iter().chain(&users).find_map(|user| {
        let is = |magic: &&Magic| magic.user.eq_ignore_ascii_case(user);
        MAGIC.iter().find(is)
    })?;
    found.fault()
}

impl Magic {
    fn fault(&self) -> Option<Fault> {
        let wanted = Wanted {
            status: self.status,
            name: self.error.map(ToOwned::to_owned),
            ..Wanted::of(self.kind)
        };
        wanted.fault().ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sandbox::testing::{send, start, text_to};

    fn meets(endpoint: Endpoint, message: &serde_json::Value) -> bool {
        fault(endpoint, &message.to_string().into()).is_some()
    }

    #[test]
    fn every_one_has_a_fault_and_is_documented() {
        let documented = include_str!("../../../docs/sandbox.md");
        for magic in MAGIC {
            assert!(magic.user.starts_with(PREFIX));
            assert!(magic.fault().is_some(), "{}", magic.user);
            let row = format!("| `{}` |", magic.user);
            assert!(documented.contains(&row), "{row}");
        }
    }

    #[test]
    fn a_recipient_is_one_and_a_text_is_none() {
        let users = Endpoint::SendToUsers;
        assert!(meets(users, &text_to(users, &["bob", "Fault-429"])));
        assert!(!meets(users, &text_to(users, &["bob", "fault-4290"])));
        let mut says = text_to(users, &["bob"]);
        says["body"]["msg"] = json!("fault-429");
        assert!(!meets(users, &says));
        let members = Endpoint::SendToGroupMembers;
        let mut named = text_to(members, &["7"]);
        named["users"] = json!(["fault-reset"]);
        assert!(meets(members, &named));
        assert!(!meets(Endpoint::Token, &text_to(users, &["fault-429"])));
    }

    #[test]
    fn it_answers_every_time_and_keeps_no_message() {
        let (sandbox, token) = start();
        let message = text_to(Endpoint::SendToUsers, &["fault-429"]);
        for _ in 0..2 {
            let reply = send(&sandbox, Endpoint::SendToUsers, &token, &message);
            assert_eq!(reply.error().1, "reach_limit");
        }
        assert_eq!(sandbox.messages().len(), 0);
    }
}
