//! Where a message goes: which endpoint, which recipients, and what that endpoint takes besides.

use hashbrown::HashSet;
use serde::Serialize;

use crate::{
    id::{RecipientId, UserId, has_uppercase},
    invalid::Field,
    proto,
};

/// Most members that one directed message names.
const MAX_MEMBERS: usize = 20;

/// Which of Easemob's five send endpoints takes the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One-to-one messages.
    Users,
    /// A message to whole groups.
    Groups,
    /// A message to named members of one group.
    GroupMembers,
    /// A message to whole chat rooms.
    Chatrooms,
    /// A message to named members of one chat room.
    ChatroomMembers,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Users,
        Self::Groups,
        Self::GroupMembers,
        Self::Chatrooms,
        Self::ChatroomMembers,
    ];

    /// Name in metrics and spans.
    pub fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Groups => "groups",
            Self::GroupMembers => "group_members",
            Self::Chatrooms => "chatrooms",
            Self::ChatroomMembers => "chatroom_members",
        }
    }

    /// Path of the endpoint below the app's base URL.
    pub fn path(self) -> &'static str {
        match self {
            Self::Users => "/messages/users",
            Self::Groups => "/messages/chatgroups",
            Self::GroupMembers => "/messages/chatgroups/users",
            Self::Chatrooms => "/messages/chatrooms",
            Self::ChatroomMembers => "/messages/chatrooms/users",
        }
    }

    /// Most recipients that one call takes.
    pub fn max_recipients(self) -> usize {
        match self {
            Self::Users => 600,
            Self::Groups => 3,
            Self::Chatrooms => 10,
            Self::GroupMembers | Self::ChatroomMembers => 1,
        }
    }

    /// Whether two spellings of a recipient's ID are the same recipient. Easemob answers user IDs in
    /// lower case.
    pub fn ignores_case(self) -> bool {
        self == Self::Users
    }

    /// Word for one recipient, for error texts.
    fn recipient(self) -> &'static str {
        match self {
            Self::Users => "user",
            Self::Groups | Self::GroupMembers => "group",
            Self::Chatrooms | Self::ChatroomMembers => "chat room",
        }
    }
}

/// Recipients of one message.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The endpoint.
    pub kind: Kind,
    /// User, group or room IDs, as the caller spelled them. Never empty, no duplicates.
    pub recipients: Vec<RecipientId>,
    pub(super) options: Options,
}

/// What goes beside the recipients in the request, where it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Options {
    // The named members of a directed message.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    users: Vec<UserId>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    need_group_ack: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    chatroom_msg_level: Option<&'static str>,
}

impl Target {
    /// Checks a target that may have so many recipients, in as many calls as it takes.
    pub(super) fn check(
        target: proto::message::Target,
        most: usize,
        at: Field<'_>,
    ) -> Option<Self> {
        match target {
            proto::message::Target::Users(users) => check_users(users, most, at.child("users")),
            proto::message::Target::Groups(groups) => {
                check_groups(groups, most, at.child("groups"))
            }
            proto::message::Target::Chatrooms(rooms) => {
                check_chatrooms(rooms, most, at.child("chatrooms"))
            }
        }
    }
}

fn check_users(users: proto::Users, most: usize, at: Field<'_>) -> Option<Target> {
    let kind = Kind::Users;
    Some(Target {
        kind,
        recipients: check_recipients(users.user_ids, kind, most, at.child("user_ids"))?,
        options: Options::default(),
    })
}

fn check_groups(groups: proto::Groups, most: usize, at: Field<'_>) -> Option<Target> {
    let proto::Groups {
        group_ids,
        member_ids,
        need_read_receipt,
    } = groups;
    let kind = if member_ids.is_empty() {
        Kind::Groups
    } else {
        Kind::GroupMembers
    };
    let need_group_ack = if kind == Kind::GroupMembers && need_read_receipt {
        at.child("need_read_receipt")
            .refuse("cannot be combined with member_ids")
    } else {
        Some(need_read_receipt)
    };
    let recipients = check_recipients(group_ids, kind, most, at.child("group_ids"));
    let users = check_members(member_ids, at.child("member_ids"));
    Some(Target {
        kind,
        recipients: recipients?,
        options: Options {
            users: users?,
            need_group_ack: need_group_ack?,
            chatroom_msg_level: None,
        },
    })
}

fn check_chatrooms(rooms: proto::Chatrooms, most: usize, at: Field<'_>) -> Option<Target> {
    let proto::Chatrooms {
        chatroom_ids,
        member_ids,
        priority,
    } = rooms;
    let kind = if member_ids.is_empty() {
        Kind::Chatrooms
    } else {
        Kind::ChatroomMembers
    };
    let level = match proto::ChatroomPriority::try_from(priority) {
        Ok(proto::ChatroomPriority::Unspecified) => Some(None),
        Ok(proto::ChatroomPriority::High) => Some(Some("high")),
        Ok(proto::ChatroomPriority::Normal) => Some(Some("normal")),
        Ok(proto::ChatroomPriority::Low) => Some(Some("low")),
        Err(_) => at.child("priority").refuse("is not a known priority"),
    };
    let recipients = check_recipients(chatroom_ids, kind, most, at.child("chatroom_ids"));
    let users = check_members(member_ids, at.child("member_ids"));
    Some(Target {
        kind,
        recipients: recipients?,
        options: Options {
            users: users?,
            need_group_ack: false,
            chatroom_msg_level: level?,
        },
    })
}

fn check_recipients(
    ids: Vec<String>,
    kind: Kind,
    most: usize,
    at: Field<'_>,
) -> Option<Vec<RecipientId>> {
    if ids.is_empty() {
        return at.refuse(format!("must name at least one {}", kind.recipient()));
    }
    // A directed message names its members for one group or room: it is never split.
    match kind {
        Kind::GroupMembers if ids.len() > 1 => {
            return at.refuse("must name exactly one group where member_ids is given");
        }
        Kind::ChatroomMembers if ids.len() > 1 => {
            return at.refuse("must name exactly one chat room where member_ids is given");
        }
        _ if ids.len() > most => {
            return at.refuse(format!(
                "names {} recipients: one request takes at most {most}",
                ids.len()
            ));
        }
        _ => {}
    }
    unique(&ids, kind.ignores_case(), at)?;
    check_each(ids, at, RecipientId::check)
}

fn check_members(ids: Vec<String>, at: Field<'_>) -> Option<Vec<UserId>> {
    if ids.len() > MAX_MEMBERS {
        return at.refuse("names more than 20 members");
    }
    unique(&ids, true, at)?;
    check_set(ids, at)
}

/// Checks users whose order means nothing, and puts them into one: however they are listed, it is the same
/// request.
pub(super) fn check_set(ids: Vec<String>, at: Field<'_>) -> Option<Vec<UserId>> {
    let mut users = check_each(ids, at, UserId::check)?;
    users.sort_by_cached_key(|id| (id.as_str().to_ascii_lowercase(), id.clone().into_string()));
    Some(users)
}

/// Checks each ID; all are checked before the list is given up.
fn check_each<T>(
    ids: Vec<String>,
    at: Field<'_>,
    check: impl Fn(String, Field<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let count = ids.len();
    let checked: Vec<T> = ids
        .into_iter()
        .enumerate()
        .filter_map(|(i, id)| check(id, at.index(i)))
        .collect();
    (checked.len() == count).then_some(checked)
}

/// Refuses an ID that stands there twice: the second would be a message sent twice.
fn unique(ids: &[String], ignore_case: bool, at: Field<'_>) -> Option<()> {
    let mut found = Some(());
    if ids.len() < 2 {
        return found;
    }
    let mut seen = HashSet::with_capacity(ids.len());
    for (i, id) in ids.iter().enumerate() {
        let fresh = if ignore_case && has_uppercase(id) {
            seen.insert(std::borrow::Cow::Owned(id.to_ascii_lowercase()))
        } else {
            seen.insert(std::borrow::Cow::Borrowed(id.as_str()))
        };
        if !fresh {
            found = at.index(i).refuse(if ignore_case {
                "is a duplicate: case does not tell user IDs apart"
            } else {
                "is a duplicate"
            });
        }
    }
    found
}
