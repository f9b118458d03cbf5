//! Recipients → parts: as many to a call as Easemob takes, by number, by size and by quota.

use std::ops::Range;

use crate::{app::Limits, message::Message};

/// Which of a message's recipients each part has, in their order. Every part has at least one: whether
/// the message fits with a single recipient is checked before.
pub fn split(message: &Message, limits: &Limits, quota: usize) -> Vec<Range<usize>> {
    let most = message.target.kind.max_recipients().min(quota);
    let room = match limits.request_bytes {
        0 => usize::MAX,
        // The first recipient needs no comma.
        limit => (limit + 1).saturating_sub(message.envelope_bytes()),
    };
    let mut parts = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (i, recipient) in message.target.recipients.iter().enumerate() {
        let more = Message::recipient_bytes(recipient);
        if i > begin && (i - begin == most || bytes + more > room) {
            parts.push(begin..i);
            (begin, bytes) = (i, 0);
        }
        bytes += more;
    }
    parts.push(begin..message.target.recipients.len());
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        app,
        invalid::Violations,
        proto::{self, message::Content, message::Target},
    };

    fn checked(target: Target) -> Message {
        let config = app::Config {
            base_url: "http://127.0.0.1:1".into(),
            org_name: Some("o".into()),
            app_name: Some("a".into()),
            client_id: "id".into(),
            client_secret: Some("secret".into()),
            ..app::Config::default()
        };
        let violations = Violations::default();
        let app = app::App::new("shop", &config, violations.root()).expect("right settings");
        let text = Content::Text(proto::TextContent { text: "hi".into() });
        let message = proto::Message {
            target: Some(target),
            content: Some(text),
            ..Default::default()
        };
        Message::check(message, &app, violations.root()).expect("a right message")
    }

    fn users(ids: impl IntoIterator<Item = String>) -> Message {
        let user_ids = ids.into_iter().collect();
        checked(Target::Users(proto::Users { user_ids }))
    }

    fn limit(request_bytes: usize) -> Limits {
        Limits {
            request_bytes,
            ..Limits::default()
        }
    }

    fn lengths(message: &Message) -> Vec<usize> {
        let parts = split(message, &limit(0), usize::MAX);
        parts.into_iter().map(|part| part.len()).collect()
    }

    #[test]
    fn each_kind_has_its_own_number_to_a_call() {
        let ids = |n: usize| (0..n).map(|i| format!("{i}")).collect::<Vec<_>>();
        assert_eq!(lengths(&users(ids(600))), [600]);
        assert_eq!(lengths(&users(ids(1_201))), [600, 600, 1]);
        let groups = checked(Target::Groups(proto::Groups {
            group_ids: ids(7),
            ..Default::default()
        }));
        assert_eq!(lengths(&groups), [3, 3, 1]);
        let rooms = checked(Target::Chatrooms(proto::Chatrooms {
            chatroom_ids: ids(20),
            ..Default::default()
        }));
        assert_eq!(lengths(&rooms), [10, 10]);
        let directed = checked(Target::Groups(proto::Groups {
            group_ids: ids(1),
            member_ids: ids(20),
            ..Default::default()
        }));
        assert_eq!(lengths(&directed), [1]);
    }

    proptest! {
        #[test]
        fn no_part_is_larger_than_the_limit_and_none_could_take_one_more(
            lengths in prop::collection::vec(4_usize..=64, 1..300),
            request_bytes in 200_usize..2_000,
        ) {
            let ids = lengths.iter().enumerate().map(|(i, &length)| format!("{i:0>length$}"));
            let message = users(ids);
            let parts = split(&message, &limit(request_bytes), usize::MAX);
            let recipients = &message.target.recipients;
            let mut next = 0;
            for part in parts {
                prop_assert_eq!(part.start, next);
                prop_assert!(!part.is_empty());
                prop_assert!(message.to_json(&recipients[part.clone()]).len() <= request_bytes);
                next = part.end;
                if next < recipients.len() {
                    let more = message.to_json(&recipients[part.start..=next]).len();
                    prop_assert!(more > request_bytes);
                }
            }
            prop_assert_eq!(next, recipients.len());
        }
    }
}
