//! `/sandbox/events`: server-sent events of messages and faults, as they come.
//!
//! A watcher holds a position and nothing else: what it is sent is read from the messages kept, so many at
//! a time. One that falls behind by more than [`BEHIND`] is told how many it was not shown.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::{Mistake, each};
use crate::sandbox::State;
use crate::sandbox::messages::Message;

/// Most watchers at once.
pub(in crate::sandbox) const WATCHERS: usize = 32;

/// Most messages of one event.
const FEW: usize = 200;

/// How far a watcher may be behind; who comes new begins so far back.
const BEHIND: u64 = 1_000;

/// The least time between two events to a watcher.
const GAP: Duration = Duration::from_millis(100);

pub(super) async fn events(sandbox: Shared<Arc<State>>, headers: HeaderMap) -> Response {
    let sandbox = sandbox.0;
    let Ok(place) = Arc::clone(&sandbox.watchers).try_acquire_owned() else {
        let error = format!("{WATCHERS} are watching already");
        return (StatusCode::SERVICE_UNAVAILABLE, Json(Mistake { error })).into_response();
    };
    let seen = headers.get("last-event-id");
    let seen = seen.and_then(|id| Seen::parse(id.to_str().ok()?, &sandbox));
    let events = watch(sandbox, seen, place);
    Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response()
}

#[derive(Serialize)]
struct Batch {
    #[serde(serialize_with = "each")]
    messages: Vec<Arc<Message>>,
    /// Older messages that this watcher was not shown, for it was too slow.
    skipped: u64,
    /// How many messages there are.
    kept: usize,
}

/// How far a watcher is; its text is the id of each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    position: u64,
    clearings: u64,
}

impl Seen {
    fn id(self, sandbox: &State) -> String {
        let Self {
            position,
            clearings,
        } = self;
        format!("{}.{clearings}.{position}", sandbox.application)
    }

    /// `None` where the id is of another run, or of before a clearing: then everything begins anew.
    fn parse(id: &str, sandbox: &State) -> Option<Self> {
        let mut parts = id.split('.');
        let run = parts.next()?;
        let clearings = parts.next()?.parse().ok()?;
        let position = parts.next()?.parse().ok()?;
        let now = *sandbox.messages.changed().borrow();
        let same = run == sandbox.application && clearings == now;
        same.then_some(Self {
            position,
            clearings,
        })
    }
}

fn event<T: Serialize>(name: &str, data: &T, seen: Seen, sandbox: &State) -> Event {
    let event = Event::default().event(name).id(seen.id(sandbox));
    event.json_data(data).unwrap_or_default()
}

fn watch(
    sandbox: Arc<State>,
    seen: Option<Seen>,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    async_stream::stream! {
        let _place = place;
        let mut messages = sandbox.messages.changed();
        let mut rules = sandbox.script.rules.changed();
        let mut outage = sandbox.outage.subscribe();
        rules.mark_changed();
        let mut seen = match seen {
            Some(seen) => seen,
            None => {
                let seen = Seen {
                    position: sandbox.messages.news(u64::MAX, 0, 0).next.saturating_sub(BEHIND),
                    clearings: *messages.borrow_and_update(),
                };
                yield Ok(event("hello", &(), seen, &sandbox));
                seen
            }
        };
        messages.mark_changed();
        loop {
            tokio::select! {
                Ok(()) = messages.changed() => {
                    let clearings = *messages.borrow_and_update();
                    if clearings != seen.clearings {
                        seen.clearings = clearings;
                        yield Ok(event("cleared", &(), seen, &sandbox));
                    }
                    let news = sandbox.messages.news(seen.position, FEW, BEHIND);
                    seen.position = news.next;
                    if news.messages.len() == FEW {
                        // There may be more.
                        messages.mark_changed();
                    }
                    let batch = Batch {
                        messages: news.messages,
                        skipped: news.skipped,
                        kept: news.kept,
                    };
                    yield Ok(event("messages", &batch, seen, &sandbox));
                }
                Ok(()) = rules.changed() => {
                    rules.borrow_and_update();
                    let rules = sandbox.script.rules.list();
                    yield Ok(event("faults", &rules, seen, &sandbox));
                }
                // Nobody is here to watch it.
                _ = outage.changed() => break,
            }
            tokio::select! {
                () = tokio::time::sleep(GAP) => {}
                _ = outage.changed() => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpStream;

    use serde_json::Value;

    use super::*;
    use crate::sandbox::testing::{call, connect, get, send, start, text_to};
    use crate::sandbox::{Endpoint, Sandbox};

    /// A watcher that reads event by event.
    struct Watcher(BufReader<TcpStream>);

    impl Watcher {
        fn new(sandbox: &Sandbox, last: Option<&str>) -> Self {
            let mut stream = connect(sandbox);
            let last = last.map_or(String::new(), |id| format!("last-event-id: {id}\r\n"));
            let request =
                format!("GET /sandbox/events HTTP/1.1\r\nhost: sandbox.test\r\n{last}\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            Self(BufReader::new(stream))
        }

        /// The next event of this name: its id and its data.
        fn next(&mut self, name: &str) -> (String, Value) {
            let (mut event, mut id, mut data) = (String::new(), String::new(), String::new());
            loop {
                let mut line = String::new();
                assert!(self.0.read_line(&mut line).unwrap() > 0, "it ended");
                if let Some((field, value)) = line.trim_end().split_once(": ") {
                    match field {
                        "event" => event = value.to_owned(),
                        "id" => id = value.to_owned(),
                        "data" => data = value.to_owned(),
                        _ => {}
                    }
                } else if line.trim_end().is_empty() && event == name {
                    return (id, serde_json::from_str(&data).unwrap());
                }
            }
        }

        /// Targets of messages, until so many came; and the last event's id.
        fn targets(&mut self, count: usize) -> (String, Vec<String>) {
            let mut targets = Vec::new();
            loop {
                let (id, data) = self.next("messages");
                for message in data["messages"].as_array().unwrap() {
                    targets.push(message["to"][0].as_str().unwrap().to_owned());
                }
                if targets.len() >= count {
                    return (id, targets);
                }
            }
        }
    }

    fn send_to(sandbox: &Sandbox, token: &str, user: &str) {
        let message = text_to(Endpoint::SendToUsers, &[user]);
        assert_eq!(
            send(sandbox, Endpoint::SendToUsers, token, &message).status,
            200
        );
    }

    #[test]
    fn a_watcher_sees_what_is_here_and_what_comes() {
        let (sandbox, token) = start();
        send_to(&sandbox, &token, "amy");
        let mut watcher = Watcher::new(&sandbox, None);
        watcher.next("hello");
        assert_eq!(watcher.targets(1).1, ["amy"]);
        send_to(&sandbox, &token, "bob");
        assert_eq!(watcher.targets(1).1, ["bob"]);
        call(&sandbox, "DELETE", "/sandbox/messages", &[], "");
        watcher.next("cleared");
        let rule = r#"{"kind": "close"}"#;
        call(&sandbox, "POST", "/sandbox/faults", &[], rule);
        let (_, faults) = watcher.next("faults");
        assert_eq!(faults[0]["kind"], "close");
    }

    #[test]
    fn who_comes_back_goes_on_where_it_was() {
        let (sandbox, token) = start();
        send_to(&sandbox, &token, "amy");
        let (id, _) = Watcher::new(&sandbox, None).targets(1);
        send_to(&sandbox, &token, "bob");
        let (next, targets) = Watcher::new(&sandbox, Some(&id)).targets(1);
        assert_eq!(targets, ["bob"]);
        // After a clearing, or a restart, there is nothing to go on from.
        call(&sandbox, "DELETE", "/sandbox/messages", &[], "");
        for id in [next.as_str(), "elsewhere.0.1", "nonsense"] {
            Watcher::new(&sandbox, Some(id)).next("hello");
        }
    }

    #[test]
    fn who_is_too_far_behind_is_told_so() {
        let (sandbox, token) = start();
        send_to(&sandbox, &token, "amy");
        let (id, _) = Watcher::new(&sandbox, None).targets(1);
        let first = &sandbox.messages()[0];
        for _ in 0..=BEHIND {
            let message = Message {
                sequence: 0,
                ids: first.ids.clone(),
                to: first.to.clone(),
                from: first.from.clone(),
                endpoint: first.endpoint,
                members: Vec::new(),
                kind: first.kind.clone(),
                request: first.request.clone(),
                headers: Vec::new(),
                token: None,
                path: first.path.clone(),
                received: first.received,
                body: first.body.clone(),
                ext: None,
            };
            sandbox.state.messages.push(message);
        }
        let (_, batch) = Watcher::new(&sandbox, Some(&id)).next("messages");
        assert_eq!(batch["messages"].as_array().unwrap().len(), FEW);
        assert_eq!(batch["skipped"], BEHIND + 1 - FEW as u64);
        assert_eq!(batch["kept"], BEHIND + 2);
    }

    #[test]
    fn watchers_are_bounded() {
        let (sandbox, _) = start();
        let mut watching: Vec<_> = (0..WATCHERS)
            .map(|_| Watcher::new(&sandbox, None))
            .collect();
        for watcher in &mut watching {
            watcher.next("hello");
        }
        assert_eq!(get(&sandbox, "/sandbox/events").status, 503);
    }
}
