//! A fault as it is asked for over HTTP: `POST /sandbox/faults`.

use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::answer::Answer;
use super::super::endpoint::Endpoint;
use super::super::refusal::Refusal;
use super::documented::Documented;
use super::{Effect, Fault};

/// The longest that a fault may take.
const LONGEST: Duration = Duration::from_secs(300);

/// More than any client should read of an answer.
const OVERSIZED: usize = 2 << 20;

/// What a fault is asked to be; what is left out has its default.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::sandbox) struct Wanted {
    #[serde(default)]
    pub(in crate::sandbox) endpoint: Scope,
    pub(in crate::sandbox) kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error_code: Option<u32>,
    #[serde(
        default,
        with = "humantime_serde",
        skip_serializing_if = "Option::is_none"
    )]
    pub(in crate::sandbox) delay: Option<Duration>,
    #[serde(default = "always")]
    pub(in crate::sandbox) probability: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::sandbox) count: Option<u32>,
}

fn always() -> f64 {
    1.0
}

/// Which calls it happens to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Scope {
    All,
    #[default]
    Sends,
    Token,
    Users,
    Groups,
    Chatrooms,
    GroupMembers,
    ChatroomMembers,
    Upload,
    Download,
}

impl Scope {
    pub(super) fn includes(self, endpoint: Endpoint) -> bool {
        let one = match self {
            Self::All => return true,
            Self::Sends => return Endpoint::SENDS.contains(&endpoint),
            Self::Token => Endpoint::Token,
            Self::Users => Endpoint::SendToUsers,
            Self::Groups => Endpoint::SendToGroups,
            Self::Chatrooms => Endpoint::SendToChatrooms,
            Self::GroupMembers => Endpoint::SendToGroupMembers,
            Self::ChatroomMembers => Endpoint::SendToChatroomMembers,
            Self::Upload => Endpoint::Upload,
            Self::Download => Endpoint::Download,
        };
        one == endpoint
    }
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Kind {
    /// An error answer: a documented one by its name, or any.
    Status,
    /// The normal answer, late.
    Latency,
    /// RST before the body is read.
    ResetBefore,
    /// RST after it.
    ResetAfter,
    /// FIN after it, without an answer.
    Close,
    /// No answer at all.
    Silence,
    /// Half of the normal answer.
    Truncated,
    /// A proxy's error page.
    Html,
    /// A 302.
    Redirect,
    /// A 200 without the id of any recipient.
    WithoutIds,
    /// A 200 of two megabytes.
    Oversized,
    /// The normal answer, byte by byte.
    Slow,
    /// The call's token is revoked, and then answered for.
    TokenRevoked,
    /// Nobody listens for a while.
    Outage,
}

impl Wanted {
    pub(super) fn of(kind: Kind) -> Self {
        Self {
            endpoint: Scope::default(),
            kind,
            name: None,
            status: None,
            error: None,
            description: None,
            error_code: None,
            delay: None,
            probability: always(),
            count: None,
        }
    }

    /// The fault, or what is wrong with it.
    pub(in crate::sandbox) fn fault(&self) -> Result<Fault, String> {
        self.check()?;
        let fault = match self.kind {
            Kind::Status => Fault::refusal(self.refusal()?),
            Kind::Latency => return Ok(Fault::delay(self.delay_or(3000))),
            Kind::Slow => return Ok(Fault::drip(self.delay_or(10))),
            Kind::ResetBefore => Fault::reset_before_read(),
            Kind::ResetAfter => Fault::reset_after_read(),
            Kind::Close => Fault::close_after_read(),
            Kind::Silence => Fault::silence(),
            Kind::Truncated => Fault::truncated(),
            Kind::Html => Fault::html(self.status.unwrap_or(502)),
            Kind::Redirect => Fault::redirect(self.status.unwrap_or(302), "/elsewhere"),
            Kind::WithoutIds => Fault::of(Effect::Say(without_ids())),
            Kind::Oversized => Fault::of(Effect::Say(oversized())),
            Kind::TokenRevoked => Fault {
                revoke: true,
                ..Fault::default()
            },
            Kind::Outage => Fault::default(),
        };
        Ok(fault.after(self.delay.unwrap_or_default()))
    }

    /// How long an outage lasts.
    pub(in crate::sandbox) fn outage(&self) -> Option<Duration> {
        (self.kind == Kind::Outage).then(|| self.delay_or(5000))
    }

    fn delay_or(&self, milliseconds: u64) -> Duration {
        self.delay.unwrap_or(Duration::from_millis(milliseconds))
    }

    fn check(&self) -> Result<(), String> {
        if !(self.probability > 0.0 && self.probability <= 1.0) {
            return Err("probability: above 0, at most 1".to_owned());
        }
        if self.count == Some(0) {
            return Err("count: at least 1, or left out for until it is removed".to_owned());
        }
        if self.delay.is_some_and(|delay| delay > LONGEST) {
            return Err("delay: 5m at most".to_owned());
        }
        let of_status = [
            ("name", self.name.is_some()),
            ("error", self.error.is_some()),
            ("description", self.description.is_some()),
            ("error_code", self.error_code.is_some()),
        ];
        if let Some((field, _)) = of_status.iter().find(|(_, given)| *given)
            && self.kind != Kind::Status
        {
            return Err(format!("{field}: goes with kind status"));
        }
        let has_status = matches!(self.kind, Kind::Status | Kind::Html | Kind::Redirect);
        match self.status {
            Some(_) if !has_status => Err("status: goes with kinds status, html, redirect".into()),
            Some(status) if !(200..600).contains(&status) => Err("status: 200 to 599".into()),
            _ => Ok(()),
        }
    }

    fn refusal(&self) -> Result<Refusal, String> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        match (&self.name, self.status) {
            (Some(name), None) if self.error.is_none() && self.description.is_none() => {
                let documented = Documented::named(name).ok_or_else(|| {
                    format!("name: {name:?} is none of those at /sandbox/faults/errors")
                })?;
                Ok(documented.into())
            }
            (None, Some(status)) => {
                let refusal = Refusal::new(
                    StatusCode::from_u16(status).map_err(|error| error.to_string())?,
                    text(&self.error),
                    text(&self.description),
                );
                Ok(match self.error_code {
                    Some(code) => refusal.with_code(code),
                    None => refusal,
                })
            }
            _ => Err("kind status takes a documented error's name, or a status".to_owned()),
        }
    }
}

/// Says that all is well, and of nobody that it was sent.
fn without_ids() -> Answer {
    Answer::json(StatusCode::OK, &json!({"data": {}, "entities": []}))
}

fn oversized() -> Answer {
    let body: Bytes = vec![b' '; OVERSIZED].into();
    Answer::typed(StatusCode::OK, "application/json;charset=UTF-8", body)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn asked(json: Value) -> Result<Fault, String> {
        let wanted: Wanted = serde_json::from_value(json).map_err(|error| error.to_string())?;
        wanted.fault()
    }

    #[test]
    fn each_kind_can_be_asked_for_by_its_name_alone() {
        for kind in [
            "latency",
            "reset_before",
            "reset_after",
            "close",
            "silence",
            "truncated",
            "html",
            "redirect",
            "without_ids",
            "oversized",
            "slow",
            "token_revoked",
            "outage",
        ] {
            asked(json!({"kind": kind})).unwrap();
        }
        asked(json!({"kind": "status", "name": "plan_limit"})).unwrap();
        asked(json!({"kind": "status", "status": 418, "error": "teapot"})).unwrap();
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (wrong, named) in [
            (json!({}), "kind"),
            (json!({"kind": "explode"}), "explode"),
            (json!({"kind": "status"}), "name"),
            (json!({"kind": "status", "name": "teapot"}), "teapot"),
            (
                json!({"kind": "status", "name": "internal", "status": 500}),
                "name",
            ),
            (json!({"kind": "status", "status": 99}), "status"),
            (json!({"kind": "silence", "status": 500}), "status"),
            (json!({"kind": "silence", "error": "x"}), "error"),
            (json!({"kind": "close", "probability": 0}), "probability"),
            (json!({"kind": "close", "probability": 1.5}), "probability"),
            (json!({"kind": "close", "count": 0}), "count"),
            (json!({"kind": "latency", "delay": "1h"}), "delay"),
            (json!({"kind": "latency", "delay": "soon"}), "duration"),
            (json!({"kind": "close", "endpoint": "moon"}), "moon"),
            (json!({"kind": "close", "colour": "red"}), "colour"),
        ] {
            let error = asked(wrong.clone()).unwrap_err();
            assert!(error.contains(named), "{wrong}: {error}");
        }
    }
}
