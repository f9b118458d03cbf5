//! The messages that were accepted, for as long as they fit.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bytes::Bytes;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::config::Keep;
use super::data::Data;
use super::endpoint::Endpoint;
use super::locked;
use super::ring::Ring;

/// A message that the sandbox gave ids to.
pub struct Message {
    /// Its place among all messages since the start, from 0.
    pub sequence: u64,
    /// Target and message id, in the order of `to`; targets as the answer spells them.
    pub ids: Vec<(String, String)>,
    /// Where it was sent.
    pub endpoint: Endpoint,
    /// The sender; `admin` where the request named none.
    pub from: String,
    /// Targets as the request spelt them.
    pub to: Vec<String>,
    /// Whom a message to a group or room was meant for, if not for all.
    pub members: Vec<String>,
    /// The type as REST calls it: `txt`, `img`, …
    pub kind: String,
    /// The request as it was sent.
    pub request: Bytes,
    /// Some of the request's headers, never the token.
    pub headers: Vec<(&'static str, String)>,
    /// The token it came with, shortened: no one can use it.
    pub token: Option<String>,
    /// The path it was sent to.
    pub path: String,
    /// When it was accepted.
    pub received: SystemTime,
    pub(super) body: Box<RawValue>,
    pub(super) ext: Option<Box<RawValue>>,
}

impl Message {
    /// The whole request as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.request).unwrap_or_default()
    }

    /// `body` as JSON.
    pub fn body(&self) -> Value {
        serde_json::from_str(self.body.get()).unwrap_or_default()
    }

    /// `ext` as JSON.
    pub fn ext(&self) -> Option<Value> {
        let ext = self.ext.as_ref()?;
        Some(serde_json::from_str(ext.get()).unwrap_or_default())
    }

    fn size(&self) -> usize {
        let content = self.body.get().len() + self.ext.as_ref().map_or(0, |ext| ext.get().len());
        // An allowance for the value itself, and for the name and id of each target.
        640 + self.request.len() + content + 128 * (self.ids.len() + self.members.len())
    }
}

/// Without what is in it.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("endpoint", &self.endpoint)
            .field("type", &self.kind)
            .field("ids", &self.ids)
            .finish_non_exhaustive()
    }
}

impl Message {
    /// The trace that the call was part of, by its `traceparent`.
    pub fn trace_id(&self) -> Option<&str> {
        let (_, parent) = self
            .headers
            .iter()
            .find(|(name, _)| *name == "traceparent")?;
        let id = parent.split('-').nth(1)?;
        (id.len() == 32).then_some(id)
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let request: &RawValue =
            serde_json::from_slice(&self.request).map_err(serde::ser::Error::custom)?;
        let mut message = serializer.serialize_struct("Message", 14)?;
        message.serialize_field("sequence", &self.sequence)?;
        message.serialize_field("ids", &Pairs(&self.ids))?;
        message.serialize_field("endpoint", self.endpoint.path())?;
        message.serialize_field("from", &self.from)?;
        message.serialize_field("to", &self.to)?;
        message.serialize_field("members", &self.members)?;
        message.serialize_field("type", &self.kind)?;
        message.serialize_field("body", &self.body)?;
        message.serialize_field("ext", &self.ext)?;
        message.serialize_field("request", request)?;
        message.serialize_field("headers", &Pairs(&self.headers))?;
        message.serialize_field("path", &self.path)?;
        message.serialize_field("token", &self.token)?;
        message.serialize_field("trace_id", &self.trace_id())?;
        let received = humantime::format_rfc3339_millis(self.received);
        message.serialize_field("received", &received.to_string())?;
        message.end()
    }
}

/// A list of pairs as a JSON object that keeps their order.
pub(super) struct Pairs<'a, K>(pub(super) &'a [(K, String)]);

impl<K: Serialize> Serialize for Pairs<'_, K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// Which messages are asked for; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Reached this user: by itself, or as a named member of a group or room. Ignores case.
    pub user: Option<String>,
    /// Sent to this group.
    pub group: Option<String>,
    /// Sent to this chat room.
    pub chatroom: Option<String>,
    /// Sent to this target of any kind.
    pub to: Option<String>,
    /// Sent by this user. Ignores case.
    pub from: Option<String>,
    /// Of this type, as REST calls it: `txt`, `img`, …
    pub kind: Option<String>,
    /// Came before the message of this [`Message::sequence`].
    pub before: Option<u64>,
}

impl Filter {
    /// Every message.
    pub fn all() -> Self {
        Self::default()
    }

    /// Messages that reached this user.
    pub fn user(id: &str) -> Self {
        Self {
            user: Some(id.to_owned()),
            ..Self::default()
        }
    }

    /// Messages to this group.
    pub fn group(id: &str) -> Self {
        Self {
            group: Some(id.to_owned()),
            ..Self::default()
        }
    }

    /// Messages to this chat room.
    pub fn chatroom(id: &str) -> Self {
        Self {
            chatroom: Some(id.to_owned()),
            ..Self::default()
        }
    }

    /// Whether the message is one of those asked for.
    pub fn matches(&self, message: &Message) -> bool {
        use Endpoint::{
            SendToChatroomMembers, SendToChatrooms, SendToGroupMembers, SendToGroups, SendToUsers,
        };
        let sent_to = |id: &String, endpoints: &[Endpoint]| {
            endpoints.contains(&message.endpoint) && holds(&message.to, id)
        };
        let groups = [SendToGroups, SendToGroupMembers];
        let chatrooms = [SendToChatrooms, SendToChatroomMembers];
        let asked = |wanted: &Option<String>, found: &dyn Fn(&String) -> bool| {
            wanted.as_ref().is_none_or(found)
        };
        asked(&self.user, &|id| {
            sent_to(id, &[SendToUsers]) || holds(&message.members, id)
        }) && asked(&self.group, &|id| sent_to(id, &groups))
            && asked(&self.chatroom, &|id| sent_to(id, &chatrooms))
            && asked(&self.to, &|id| holds(&message.to, id))
            && asked(&self.from, &|id| id.eq_ignore_ascii_case(&message.from))
            && asked(&self.kind, &|kind| *kind == message.kind)
            && self.before.is_none_or(|before| message.sequence < before)
    }
}

fn holds(ids: &[String], id: &str) -> bool {
    ids.iter().any(|one| one.eq_ignore_ascii_case(id))
}

/// What a reader is told next.
pub(super) struct News {
    pub(super) messages: Vec<Arc<Message>>,
    /// Where it is then.
    pub(super) next: u64,
    /// Messages before these that it was not told of.
    pub(super) skipped: u64,
    /// Messages there are.
    pub(super) kept: usize,
}

/// The messages kept.
pub(super) struct Messages {
    kept: Mutex<Ring<Arc<Message>>>,
    /// Changes with every message and every clearing; counts the clearings.
    arrived: watch::Sender<u64>,
    data: Option<Arc<Data>>,
}

impl Messages {
    /// Begins with the messages of an earlier run; `data` keeps all for the next.
    pub(super) fn new(keep: Keep, earlier: Vec<Message>, data: Option<Arc<Data>>) -> Self {
        let mut messages = Self {
            kept: Mutex::new(Ring::new(keep.messages, keep.message_bytes)),
            arrived: watch::Sender::new(0),
            data: None,
        };
        for message in earlier {
            messages.push(message);
        }
        messages.data = data;
        messages
    }

    pub(super) fn push(&self, mut message: Message) {
        {
            let mut kept = locked(&self.kept);
            message.sequence = kept.pushed();
            let size = message.size();
            let message = Arc::new(message);
            if let Some(data) = &self.data {
                data.message(&message);
            }
            kept.push(size, message);
        }
        self.arrived.send_modify(|_| ());
    }

    /// Tells of every message and every clearing.
    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.arrived.subscribe()
    }

    /// What a reader who has been at `position` has not seen: the next few; or, where that would
    /// leave it too far behind, the newest few.
    pub(super) fn news(&self, position: u64, few: usize, behind: u64) -> News {
        let kept = locked(&self.kept);
        let pushed = kept.pushed();
        let newest = pushed.saturating_sub(few as u64);
        let from = match pushed.saturating_sub(position) > behind {
            true => newest,
            false => position,
        };
        let messages: Vec<_> = kept.since(from).take(few).cloned().collect();
        let first = messages.first().map_or(pushed, |message| message.sequence);
        News {
            next: first + messages.len() as u64,
            skipped: first.saturating_sub(position),
            kept: kept.len(),
            messages,
        }
    }

    /// The newest that match, oldest of them first.
    pub(super) fn newest(&self, filter: &Filter, limit: usize) -> Vec<Arc<Message>> {
        let kept = locked(&self.kept);
        let matching = kept.iter().rev().filter(|message| filter.matches(message));
        let mut newest: Vec<_> = matching.take(limit).cloned().collect();
        newest.reverse();
        newest
    }

    pub(super) fn clear(&self) {
        {
            let mut kept = locked(&self.kept);
            if let Some(data) = &self.data {
                data.clear_messages();
            }
            kept.clear();
        }
        self.arrived.send_modify(|clearings| *clearings += 1);
    }

    /// The first that matches: one that is here, else the next to come.
    pub(super) async fn first(&self, filter: &Filter) -> Arc<Message> {
        let mut arrived = self.arrived.subscribe();
        let mut seen = 0;
        loop {
            {
                let kept = locked(&self.kept);
                let mut new = kept.since(seen);
                if let Some(message) = new.find(|message| filter.matches(message)) {
                    return Arc::clone(message);
                }
                seen = kept.pushed();
            }
            if arrived.changed().await.is_err() {
                // The sender is our own field, so it is there as long as we are.
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn message(endpoint: Endpoint, from: &str, to: &[&str], members: &[&str]) -> Message {
        let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let body = json!({"msg": "hello"});
        Message {
            sequence: 0,
            ids: vec![
                ("b".to_owned(), "2".to_owned()),
                ("a".to_owned(), "1".to_owned()),
            ],
            endpoint,
            from: from.to_owned(),
            to: owned(to),
            members: owned(members),
            kind: "txt".to_owned(),
            request: json!({"to": to, "type": "txt", "body": body})
                .to_string()
                .into(),
            headers: vec![("traceparent", "00-01".to_owned())],
            token: Some("YWMtabcd…wxyz".to_owned()),
            path: "/sandbox/demo/messages/users".to_owned(),
            received: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            body: serde_json::value::to_raw_value(&body).unwrap(),
            ext: None,
        }
    }

    fn to_user(user: &str) -> Message {
        message(Endpoint::SendToUsers, "admin", &[user], &[])
    }

    fn roomy() -> Messages {
        Messages::new(Keep::default(), Vec::new(), None)
    }

    fn users(messages: &[Arc<Message>]) -> Vec<&str> {
        messages
            .iter()
            .map(|message| message.to[0].as_str())
            .collect()
    }

    #[test]
    fn a_filter_asks_for_all_it_names() {
        let user = message(Endpoint::SendToUsers, "Amy", &["Bob", "carol"], &[]);
        let group = message(Endpoint::SendToGroups, "amy", &["7"], &[]);
        let directed = message(Endpoint::SendToGroupMembers, "amy", &["7"], &["Bob"]);
        let room = message(Endpoint::SendToChatrooms, "eve", &["7"], &[]);
        let all = [&user, &group, &directed, &room];
        let found = |filter: &Filter| all.map(|message| filter.matches(message));

        assert_eq!(found(&Filter::all()), [true; 4]);
        assert_eq!(found(&Filter::user("bob")), [true, false, true, false]);
        assert_eq!(found(&Filter::user("7")), [false; 4]);
        assert_eq!(found(&Filter::group("7")), [false, true, true, false]);
        assert_eq!(found(&Filter::chatroom("7")), [false, false, false, true]);
        let to = Filter {
            to: Some("7".into()),
            ..Filter::all()
        };
        assert_eq!(found(&to), [false, true, true, true]);
        let from = Filter {
            from: Some("amy".into()),
            ..Filter::all()
        };
        assert_eq!(found(&from), [true, true, true, false]);
        let both = Filter {
            from: Some("amy".into()),
            ..Filter::user("bob")
        };
        assert_eq!(found(&both), [true, false, true, false]);
        let kind = Filter {
            kind: Some("img".into()),
            ..Filter::all()
        };
        assert_eq!(found(&kind), [false; 4]);
    }

    #[test]
    fn the_newest_come_last_and_the_limit_cuts_the_oldest() {
        let messages = roomy();
        for user in ["a", "b", "c"] {
            messages.push(to_user(user));
        }
        assert_eq!(users(&messages.newest(&Filter::all(), 2)), ["b", "c"]);
        assert_eq!(users(&messages.newest(&Filter::user("a"), 2)), ["a"]);
        messages.clear();
        assert_eq!(messages.newest(&Filter::all(), 2).len(), 0);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_or_too_large() {
        let keeping = |keep| Messages::new(keep, Vec::new(), None);
        let few = keeping(Keep {
            messages: 2,
            ..Keep::default()
        });
        let size = to_user("a").size();
        let small = keeping(Keep {
            message_bytes: 2 * size,
            ..Keep::default()
        });
        for messages in [few, small] {
            for user in ["a", "b", "c"] {
                messages.push(to_user(user));
            }
            assert_eq!(users(&messages.newest(&Filter::all(), 9)), ["b", "c"]);
        }
    }

    #[test]
    fn the_first_match_is_waited_for() {
        let messages = roomy();
        messages.push(to_user("amy"));
        let mut cx = Context::from_waker(Waker::noop());
        let filter = Filter::user("bob");
        let mut first = pin!(messages.first(&filter));
        assert!(first.as_mut().poll(&mut cx).is_pending());
        messages.push(to_user("carol"));
        assert!(first.as_mut().poll(&mut cx).is_pending());
        messages.push(to_user("bob"));
        match first.as_mut().poll(&mut cx) {
            Poll::Ready(message) => assert_eq!(message.to, ["bob"]),
            Poll::Pending => panic!("a match is there"),
        }
    }

    #[test]
    fn what_is_here_is_not_waited_for() {
        let messages = roomy();
        messages.push(to_user("bob"));
        let mut cx = Context::from_waker(Waker::noop());
        let filter = Filter::user("bob");
        assert!(pin!(messages.first(&filter)).poll(&mut cx).is_ready());
    }

    #[test]
    fn a_message_is_shown_whole() {
        let message = message(Endpoint::SendToGroupMembers, "amy", &["7"], &["bob"]);
        let shown = serde_json::to_string(&message).unwrap();
        assert!(
            shown.starts_with(r#"{"sequence":0,"ids":{"b":"2","a":"1"},"#),
            "{shown}"
        );
        assert_eq!(
            serde_json::from_str::<Value>(&shown).unwrap(),
            json!({
                "sequence": 0,
                "ids": {"a": "1", "b": "2"},
                "endpoint": "/messages/chatgroups/users",
                "from": "amy",
                "to": ["7"],
                "members": ["bob"],
                "type": "txt",
                "body": {"msg": "hello"},
                "ext": null,
                "request": {"to": ["7"], "type": "txt", "body": {"msg": "hello"}},
                "headers": {"traceparent": "00-01"},
                "path": "/sandbox/demo/messages/users",
                "token": "YWMtabcd…wxyz",
                "trace_id": null,
                "received": "2023-11-14T22:13:20.123Z",
            })
        );
    }
}
