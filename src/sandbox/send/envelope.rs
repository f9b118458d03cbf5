//! What surrounds the content: from, to, type and the options of each endpoint.

use serde_json::value::RawValue;

use super::body;
use super::field::{Fields, Type, ids, text};
use crate::sandbox::endpoint::Endpoint;
use crate::sandbox::refusal::Refusal;

/// Most users that a message may name in `users` or `roam_ignore_users`.
const MOST_NAMED: usize = 20;

/// A send request that is as documented.
pub(super) struct Envelope<'a> {
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) kind: String,
    pub(super) body: &'a RawValue,
    pub(super) ext: Option<&'a RawValue>,
    pub(super) members: Vec<String>,
}

impl<'a> Envelope<'a> {
    pub(super) fn read(
        endpoint: Endpoint,
        request: &'a [u8],
        strict: bool,
    ) -> Result<Self, Refusal> {
        let fields: Fields<'a> = serde_json::from_slice(request)
            .map_err(|_| Refusal::invalid("not a JSON object, or a field is given twice"))?;
        let from = from(&fields)?;
        let to = to(endpoint, &fields)?;
        let kind = kind(&fields)?;
        let Some(body) = fields.get("body") else {
            return Err(Refusal::message("param body can't be empty"));
        };
        body::check(&kind, body, strict)?;
        let ext = fields.get("ext");
        if ext.is_some_and(|ext| !ext.get().starts_with('{')) {
            return Err(Refusal::message("param ext must be JSONObject"));
        }
        let members = members(endpoint, &fields)?;
        options(endpoint, &fields, strict)?;
        Ok(Self {
            from,
            to,
            kind,
            body,
            ext,
            members,
        })
    }

    /// The size that counts: both fields as they were written.
    pub(super) fn content_bytes(&self) -> usize {
        self.body.get().len() + self.ext.map_or(0, |ext| ext.get().len())
    }
}

fn from(fields: &Fields<'_>) -> Result<String, Refusal> {
    let Some(from) = fields.get("from") else {
        return Ok("admin".to_owned());
    };
    match text(from.get()) {
        None => Err(Refusal::invalid("from is not a string")),
        Some(from) if from.is_empty() => Err(Refusal::message("param from can't be empty")),
        Some(from) => Ok(from),
    }
}

fn to(endpoint: Endpoint, fields: &Fields<'_>) -> Result<Vec<String>, Refusal> {
    let to = match fields.get("to") {
        Some(to) => ids(to.get())
            .ok_or_else(|| Refusal::invalid("to is not an array of non-empty strings"))?,
        None => Vec::new(),
    };
    let most = most_targets(endpoint);
    if to.is_empty() {
        return Err(Refusal::message("param to can't be empty"));
    }
    if to.len() > most {
        let text = format!("params to's size can't exceed limit {most}");
        return Err(Refusal::message(text));
    }
    Ok(to)
}

fn most_targets(endpoint: Endpoint) -> usize {
    match endpoint {
        Endpoint::SendToUsers => 600,
        Endpoint::SendToGroups => 3,
        Endpoint::SendToChatrooms => 10,
        _ => 1,
    }
}

fn kind(fields: &Fields<'_>) -> Result<String, Refusal> {
    let kind = match fields.get("type") {
        Some(kind) => text(kind.get()).ok_or_else(|| Refusal::invalid("type is not a string"))?,
        None => String::new(),
    };
    if kind.is_empty() {
        return Err(Refusal::message("param type can't be empty"));
    }
    Ok(kind)
}

fn members(endpoint: Endpoint, fields: &Fields<'_>) -> Result<Vec<String>, Refusal> {
    if !is_directed(endpoint) {
        return Ok(Vec::new());
    }
    let users = match fields.get("users") {
        Some(users) => ids(users.get())
            .ok_or_else(|| Refusal::invalid("users is not an array of non-empty strings"))?,
        None => Vec::new(),
    };
    if users.is_empty() {
        return Err(Refusal::message("param users can't be empty"));
    }
    if users.len() > MOST_NAMED {
        let text = format!("params users's size can't exceed limit {MOST_NAMED}");
        return Err(Refusal::message(text));
    }
    Ok(users)
}

fn is_directed(endpoint: Endpoint) -> bool {
    use Endpoint::{SendToChatroomMembers, SendToGroupMembers};
    matches!(endpoint, SendToGroupMembers | SendToChatroomMembers)
}

/// Checks the fields that no message needs, and that there are no others.
fn options(endpoint: Endpoint, fields: &Fields<'_>, strict: bool) -> Result<(), Refusal> {
    for (name, value) in &fields.0 {
        if matches!(name.as_str(), "from" | "to" | "type" | "body" | "ext") {
            continue;
        }
        if is_directed(endpoint) && name == "users" {
            continue;
        }
        match option(endpoint, name) {
            Some(holds) => holds.check(name, value)?,
            None if strict => {
                let reason = format!("{name} is not a field of {}", endpoint.path());
                return Err(Refusal::invalid(reason));
            }
            None => {}
        }
    }
    Ok(())
}

/// What an optional field holds, where the endpoint has it by the newest pages.
fn option(endpoint: Endpoint, name: &str) -> Option<Type> {
    use Endpoint::{SendToChatroomMembers, SendToChatrooms, SendToGroups, SendToUsers};
    match (name, endpoint) {
        ("sync_device", SendToUsers) | ("need_group_ack", SendToGroups) => Some(Type::Bool),
        ("routetype", SendToUsers | SendToGroups) => Some(Type::OneOf(&["ROUTE_ONLINE"])),
        ("roam_ignore_users", SendToUsers | SendToGroups | SendToChatrooms) => {
            Some(Type::Ids(MOST_NAMED))
        }
        ("chatroom_msg_level", SendToChatrooms | SendToChatroomMembers) => {
            Some(Type::OneOf(&["high", "normal", "low"]))
        }
        ("env", _) => Some(Type::Word {
            most: 8,
            allowed: |byte| byte.is_ascii_alphanumeric(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::sandbox::testing::text_to;
    use Endpoint::{
        SendToChatroomMembers, SendToChatrooms, SendToGroupMembers, SendToGroups, SendToUsers,
    };

    const SENDS: [Endpoint; 5] = [
        SendToUsers,
        SendToGroups,
        SendToChatrooms,
        SendToGroupMembers,
        SendToChatroomMembers,
    ];

    /// `None` where the request is as documented.
    fn refused(endpoint: Endpoint, message: &Value, strict: bool) -> Option<Refusal> {
        Envelope::read(endpoint, message.to_string().as_bytes(), strict).err()
    }

    fn with(endpoint: Endpoint, field: &str, value: Value) -> Value {
        let mut message = text_to(endpoint, &["1"]);
        message[field] = value;
        message
    }

    fn without(endpoint: Endpoint, field: &str) -> Value {
        let mut message = text_to(endpoint, &["1"]);
        message.as_object_mut().unwrap().remove(field);
        message
    }

    #[track_caller]
    fn assert_refused(endpoint: Endpoint, message: &Value, description: &str) {
        let refusal = refused(endpoint, message, true).expect("a refusal");
        assert_eq!(refusal.status, 400);
        assert_eq!(refusal.error, "message_send_error", "{message}");
        assert_eq!(refusal.description, description, "{message}");
    }

    #[track_caller]
    fn assert_invalid(endpoint: Endpoint, message: &Value) {
        let refusal = refused(endpoint, message, true).expect("a refusal");
        assert_eq!(refusal.status, 400);
        assert_eq!(refusal.error, "invalid_request_body", "{message}");
        let text = "Request body is invalid. Please check body is correct.";
        assert_eq!(refusal.description, text);
    }

    #[test]
    fn what_is_empty_or_missing_has_a_text_of_its_own() {
        for endpoint in SENDS {
            let cases = [
                (
                    with(endpoint, "from", json!("")),
                    "param from can't be empty",
                ),
                (with(endpoint, "to", json!([])), "param to can't be empty"),
                (without(endpoint, "to"), "param to can't be empty"),
                (
                    with(endpoint, "type", json!("")),
                    "param type can't be empty",
                ),
                (without(endpoint, "type"), "param type can't be empty"),
                (
                    with(endpoint, "body", json!({})),
                    "param body can't be empty",
                ),
                (without(endpoint, "body"), "param body can't be empty"),
                (
                    with(endpoint, "ext", json!(null)),
                    "param ext must be JSONObject",
                ),
                (
                    with(endpoint, "ext", json!("{}")),
                    "param ext must be JSONObject",
                ),
                (
                    with(endpoint, "ext", json!([])),
                    "param ext must be JSONObject",
                ),
            ];
            for (message, description) in cases {
                assert_refused(endpoint, &message, description);
            }
        }
        for endpoint in [SendToGroupMembers, SendToChatroomMembers] {
            let text = "param users can't be empty";
            assert_refused(endpoint, &with(endpoint, "users", json!([])), text);
            assert_refused(endpoint, &without(endpoint, "users"), text);
        }
    }

    #[test]
    fn nothing_is_null_or_of_another_type() {
        for endpoint in SENDS {
            for field in ["from", "to", "type", "body", "env"] {
                for wrong in [json!(null), json!(7), json!([7])] {
                    assert_invalid(endpoint, &with(endpoint, field, wrong));
                }
            }
            assert_invalid(endpoint, &json!([]));
            assert_invalid(endpoint, &with(endpoint, "to", json!([""])));
        }
    }

    #[test]
    fn each_endpoint_has_its_most_targets() {
        let limits = [600, 3, 10, 1, 1];
        for (endpoint, most) in SENDS.into_iter().zip(limits) {
            let to = |count: usize| {
                let ids: Vec<_> = (0..count).map(|id| id.to_string()).collect();
                with(endpoint, "to", json!(ids))
            };
            assert!(refused(endpoint, &to(most), true).is_none());
            let text = format!("params to's size can't exceed limit {most}");
            assert_refused(endpoint, &to(most + 1), &text);
        }
    }

    #[test]
    fn at_most_twenty_members_are_named() {
        for endpoint in [SendToGroupMembers, SendToChatroomMembers] {
            let users = |count| with(endpoint, "users", json!(vec!["amy"; count]));
            assert!(refused(endpoint, &users(20), true).is_none());
            assert_refused(
                endpoint,
                &users(21),
                "params users's size can't exceed limit 20",
            );
        }
    }

    #[test]
    fn options_are_taken_only_where_the_reference_lists_them() {
        let options = [
            (
                "sync_device",
                json!(true),
                [true, false, false, false, false],
            ),
            (
                "routetype",
                json!("ROUTE_ONLINE"),
                [true, true, false, false, false],
            ),
            (
                "roam_ignore_users",
                json!(["amy"]),
                [true, true, true, false, false],
            ),
            (
                "need_group_ack",
                json!(true),
                [false, true, false, false, false],
            ),
            (
                "chatroom_msg_level",
                json!("low"),
                [false, false, true, false, true],
            ),
            ("users", json!(["amy"]), [false, false, false, true, true]),
            ("env", json!("dev1"), [true; 5]),
            ("ext", json!({"a": null}), [true; 5]),
            ("from", json!("amy"), [true; 5]),
            ("surprise", json!(1), [false; 5]),
        ];
        for (field, value, listed) in options {
            for (endpoint, listed) in SENDS.into_iter().zip(listed) {
                let message = with(endpoint, field, value.clone());
                let strict = refused(endpoint, &message, true);
                assert_eq!(strict.is_none(), listed, "{field} for {endpoint:?}");
                let lenient = refused(endpoint, &message, false);
                assert!(lenient.is_none(), "{field} for {endpoint:?}");
            }
        }
    }

    #[test]
    fn options_have_their_values() {
        let wrong = [
            (SendToUsers, "sync_device", json!("true")),
            (SendToUsers, "routetype", json!("ROUTE_ALL")),
            (SendToUsers, "roam_ignore_users", json!("amy")),
            (SendToUsers, "roam_ignore_users", json!(vec!["amy"; 21])),
            (SendToGroups, "need_group_ack", json!(1)),
            (SendToChatrooms, "chatroom_msg_level", json!("urgent")),
            (SendToUsers, "env", json!("")),
            (SendToUsers, "env", json!("ninechars")),
            (SendToUsers, "env", json!("a-b")),
            (SendToUsers, "sync_device", json!(null)),
        ];
        for (endpoint, field, value) in wrong {
            assert_invalid(endpoint, &with(endpoint, field, value));
        }
    }

    #[test]
    fn what_is_no_json_is_invalid() {
        for text in ["", "{", "{} {}", "hello", "{\"to\":[\"1\"],\"to\":[\"1\"]}"] {
            let refusal = Envelope::read(SendToUsers, text.as_bytes(), false)
                .err()
                .unwrap();
            assert_eq!(refusal.error, "invalid_request_body", "{text}");
        }
        let latin = b"{\"to\":[\"\xe9\"],\"type\":\"txt\",\"body\":{\"msg\":\"\"}}";
        assert!(Envelope::read(SendToUsers, latin, false).is_err());
    }

    #[test]
    fn content_is_measured_as_it_was_written() {
        let text = r#"{"to":["1"],"type":"txt","body": {"msg": "你"} ,"ext": { }}"#;
        let envelope = Envelope::read(SendToUsers, text.as_bytes(), true).unwrap();
        assert_eq!(
            envelope.content_bytes(),
            r#"{"msg": "你"}"#.len() + "{ }".len()
        );
        assert_eq!(envelope.from, "admin");
    }
}
