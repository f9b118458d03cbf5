//! `impl Client`: `POST /messages/{users,chatgroups,chatrooms}`, and the two for named members.

use std::{borrow::Cow, fmt, time::Duration};

use hashbrown::HashMap;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use tokio::time::Instant;

use super::{Call, Client, Error, FirstByte, Kind, Token, error, record, transport::Broken};
use crate::{
    id::RecipientId,
    message::{Kind as TargetKind, Message},
};

/// What Easemob accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The message ID of each recipient, in the order in which they were asked for; none where the
    /// answer has none.
    pub message_ids: Vec<Option<String>>,
    /// Easemob's clock when it answered, in milliseconds since 1970; left out where it does not tell.
    pub timestamp_ms: Option<i64>,
}

impl Client {
    /// Sends a message to some of its recipients in one call, which begins `now`. It is given up at `until`, and before that
    /// after the time that the app grants each attempt.
    pub async fn send(
        &self,
        message: &Message,
        recipients: &[RecipientId],
        token: &Token,
        first_byte: &FirstByte,
        now: Instant,
        until: Instant,
    ) -> Result<Accepted, Error> {
        let attempt = self.metrics.sends[message.target.kind as usize].attempt_since(now);
        let timeout = until.saturating_duration_since(now);
        let timeout = timeout.min(self.app.timeouts.attempt);
        let outcome = self
            .send_once(message, recipients, token, first_byte, now, timeout)
            .await;
        record(attempt, &outcome);
        outcome
    }

    async fn send_once(
        &self,
        message: &Message,
        recipients: &[RecipientId],
        token: &Token,
        first_byte: &FirstByte,
        began: Instant,
        timeout: Duration,
    ) -> Result<Accepted, Error> {
        let kind = message.target.kind;
        let call = Call {
            endpoint: &self.sends[kind as usize],
            authorization: Some(token.authorization.clone()),
            json: message.to_json(recipients),
            first_byte: first_byte.clone(),
            began,
            timeout,
        };
        let reply = self
            .transport
            .post(call)
            .await
            .map_err(|broken| of_broken(broken, first_byte))?;
        if reply.status != 200 {
            return Err(error::of_send(&reply, kind, self.app.treat_503_as_not_sent));
        }
        let unreadable = || {
            Error::in_doubt(
                "Easemob answered 200, but its answer cannot be read",
                Some(200),
            )
        };
        // As a whole: text by text it costs far more.
        let text = std::str::from_utf8(&reply.body).map_err(|_| unreadable())?;
        let body: Body<'_> = serde_json::from_str(text).map_err(|_| unreadable())?;
        Ok(Accepted {
            message_ids: by_recipient(kind, recipients, body.data),
            timestamp_ms: body.timestamp.0,
        })
    }
}

/// The message ID of each recipient, however Easemob spells the recipients.
fn by_recipient(kind: TargetKind, recipients: &[RecipientId], ids: Ids<'_>) -> Vec<Option<String>> {
    let mut ids: HashMap<_, _> = ids.0.into_iter().collect();
    // Nobody is named twice.
    let found = recipients
        .iter()
        .map(|recipient| ids.get_mut(recipient.as_str())?.0.take());
    let mut found: Vec<_> = found.collect();
    // Most are spelled alike on both sides.
    if kind.ignores_case() && found.iter().any(Option::is_none) {
        let lower = |id: &str| id.to_ascii_lowercase();
        let left = ids.into_iter().filter(|(_, message)| message.0.is_some());
        let mut left: HashMap<_, _> = left.map(|(id, message)| (lower(&id), message)).collect();
        for (recipient, found) in recipients.iter().zip(&mut found) {
            if found.is_none() {
                let id = left.get_mut(&lower(recipient.as_str()));
                *found = id.and_then(|message| message.0.take());
            }
        }
    }
    found
}

/// A call without an answer was not sent, if the socket never asked for it.
fn of_broken(broken: Broken, first_byte: &FirstByte) -> Error {
    if first_byte.end_attempt() {
        return Error::in_doubt(broken.what, broken.http_status);
    }
    Error::new(Kind::Unreachable, broken.what).with_retry_after(Duration::from_secs(1))
}

/// The part of an answer that matters. Any other field may be missing, new, or of another type.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    data: Ids<'a>,
    #[serde(default)]
    timestamp: Milliseconds,
}

#[derive(Default)]
struct Milliseconds(Option<i64>);

impl<'de> Deserialize<'de> for Milliseconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(Self(value.as_i64().filter(|&ms| ms > 0)))
    }
}

/// Recipient → message ID, in Easemob's own spelling and order.
struct Ids<'a>(Vec<(Cow<'a, str>, MessageId)>);

impl<'de: 'a, 'a> Deserialize<'de> for Ids<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(IdsVisitor).map(Self)
    }
}

struct IdsVisitor;

impl<'de> Visitor<'de> for IdsVisitor {
    type Value = Vec<(Cow<'de, str>, MessageId)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("message IDs by recipient")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut ids = Vec::with_capacity(map.size_hint().unwrap_or(1));
        while let Some((Spelled(recipient), id)) = map.next_entry()? {
            ids.push((recipient, id));
        }
        Ok(ids)
    }
}

/// A text, without a copy where it stands in the answer as it is.
#[derive(Deserialize)]
#[serde(transparent)]
struct Spelled<'a>(#[serde(borrow)] Cow<'a, str>);

/// A message ID: text, or an integer of up to 19 digits without a detour through a double. Anything
/// else is none.
struct MessageId(Option<String>);

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MessageIdVisitor).map(Self)
    }
}

struct MessageIdVisitor;

impl<'de> Visitor<'de> for MessageIdVisitor {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message ID")
    }

    fn visit_str<E>(self, id: &str) -> Result<Self::Value, E> {
        Ok(Some(id.to_owned()).filter(|id| !id.is_empty()))
    }

    fn visit_u64<E>(self, id: u64) -> Result<Self::Value, E> {
        Ok(Some(id.to_string()))
    }

    fn visit_i64<E>(self, _negative: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _fraction: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _flag: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalid::Violations;

    fn id(json: &str) -> Option<String> {
        serde_json::from_str::<MessageId>(json).unwrap().0
    }

    #[test]
    fn a_recipient_has_its_id_whoever_spells_it_how() {
        let found = |kind, recipients: &[&str], data: &str| {
            let violations = Violations::default();
            let recipients = recipients.iter().map(|id| {
                let id = RecipientId::check((*id).to_owned(), violations.root());
                id.expect("a right ID")
            });
            let recipients: Vec<_> = recipients.collect();
            by_recipient(kind, &recipients, serde_json::from_str(data).unwrap())
        };
        let ids = |ids: [&str; 3]| ids.map(|id| Some(id.to_owned()).filter(|id| !id.is_empty()));
        let users = ["Bob", "amy", "zoe"];
        for (data, expected) in [
            (r#"{"zoe":"3","amy":"2","bob":"1"}"#, ["1", "2", "3"]),
            (
                r#"{"BOB":"1","AMY":"2","Zoe":"3","other":"4"}"#,
                ["1", "2", "3"],
            ),
            (r#"{"amy":"","bob":"1"}"#, ["1", "", ""]),
            (r#"{"Bob":"1","bob":"4"}"#, ["1", "", ""]),
        ] {
            assert_eq!(
                found(TargetKind::Users, &users, data),
                ids(expected),
                "{data}"
            );
        }
        let data = r#"{"BOB":"1","amy":"2"}"#;
        assert_eq!(found(TargetKind::Groups, &users, data), ids(["", "2", ""]));
    }

    #[test]
    fn ids_are_text_or_whole_numbers() {
        assert_eq!(
            id("\"1029457500870543736\"").unwrap(),
            "1029457500870543736"
        );
        assert_eq!(id("1029457500870543736").unwrap(), "1029457500870543736");
        assert_eq!(id("\"success\"").unwrap(), "success");
        for none in ["\"\"", "null", "true", "1.5", "-1", "[1]", "{\"a\":1}"] {
            assert_eq!(id(none), None, "{none}");
        }
    }
}
