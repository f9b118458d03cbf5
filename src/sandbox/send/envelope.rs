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
