//! One message: its envelope, and the table of Easemob's message types. A value of these types has
//! passed every check, and serialises to what Easemob documents; each type's file tells all about it.

mod audio;
mod canonical;
mod command;
mod custom;
mod ext;
mod file;
mod file_ref;
mod fingerprint;
mod image;
mod location;
mod media;
mod order;
mod request;
mod target;
mod text;
mod video;

use serde::Serialize;

pub use self::fingerprint::{Files, Fingerprint, Fingerprints};
pub use self::media::MediaMessage;
pub use self::order::Places;
pub use self::target::{Kind, Target};
use self::{
    audio::Audio,
    command::Command,
    custom::Custom,
    file::File,
    image::Image,
    location::Location,
    request::{Envelope, Request},
    text::Text,
    video::Video,
};
use crate::{
    app::App,
    id::UserId,
    invalid::Field,
    proto::{self, message::Content},
};

/// Most users that are left out of the roaming history.
const MAX_ROAM_IGNORE_USERS: usize = 20;
/// Longest name of a callback environment.
const MAX_ENV_BYTES: usize = 8;

/// A message that has passed every check but that of its size.
#[derive(Debug, Clone)]
pub struct Message {
    /// Who receives it.
    pub target: Target,
    // Serialised once: every part of a message has the same.
    envelope: Envelope,
}

/// What a message says: the table of types.
#[derive(Clone, PartialEq, Serialize)]
#[serde(untagged)]
enum Body {
    Text(Text),
    Image(Image),
    Audio(Audio),
    Video(Video),
    File(File),
    Location(Location),
    Command(Command),
    Custom(Custom),
}

impl Body {
    fn check(content: Content, app: &App, at: Field<'_>) -> Option<Self> {
        Some(match content {
            Content::Text(text) => Self::Text(Text::check(text, at.child("text"))?),
            Content::Image(image) => Self::Image(Image::check(image, app, at.child("image"))?),
            Content::Audio(audio) => Self::Audio(Audio::check(audio, app, at.child("audio"))?),
            Content::Video(video) => Self::Video(Video::check(video, app, at.child("video"))?),
            Content::File(file) => Self::File(File::check(file, app, at.child("file"))?),
            Content::Location(location) => {
                Self::Location(Location::check(location, at.child("location"))?)
            }
            Content::Command(command) => {
                Self::Command(Command::check(command, at.child("command"))?)
            }
            Content::Custom(custom) => Self::Custom(Custom::check(custom, at.child("custom"))?),
        })
    }

    /// Name of the type in REST.
    fn type_tag(&self) -> &'static str {
        match self {
            Self::Text(_) => "txt",
            Self::Image(_) => "img",
            Self::Audio(_) => "audio",
            Self::Video(_) => "video",
            Self::File(_) => "file",
            Self::Location(_) => "loc",
            Self::Command(_) => "cmd",
            Self::Custom(_) => "custom",
        }
    }
}

impl Message {
    /// Checks a message for an app. Everything that is wrong with it is noted at `field`.
    pub fn check(message: proto::Message, app: &App, field: Field<'_>) -> Option<Self> {
        let proto::Message {
            from_user_id,
            silent,
            sync_device,
            route_type,
            roam_ignore_user_ids,
            env,
            target,
            content,
            extension,
        } = message;
        let has = Receives::of(target.as_ref());

        let from = match from_user_id {
            Some(id) => UserId::check(id, field.child("from_user_id")).map(Some),
            None => Some(None),
        };
        let target = match target {
            Some(target) => Target::check(target, app.limits.max_recipients, field),
            None => field
                .child("target")
                .refuse("is required: users, groups or chatrooms"),
        };
        let body = match content {
            Some(content) => Body::check(content, app, field),
            None => field
                .child("content")
                .refuse("is required: one of the eight message types"),
        };
        let ext = ext::check(extension, silent, field);
        let sync_device = has.check_sync_device(sync_device, field.child("sync_device"));
        let online_only = has.check_route_type(route_type, field.child("route_type"));
        let roam_ignore_users =
            has.check_roam_ignore(roam_ignore_user_ids, field.child("roam_ignore_user_ids"));
        let env = check_env(env, field.child("env"));

        let (body, ext, target) = (body?, ext?, target?);
        let json = serde_json::value::to_raw_value(&body).ok()?;
        let envelope = Envelope::new(&Request {
            from: from?.as_ref(),
            type_tag: body.type_tag(),
            body: &json,
            ext: ext.as_deref(),
            options: &target.options,
            sync_device: sync_device?,
            routetype: online_only?.then_some("ROUTE_ONLINE"),
            roam_ignore_users: &roam_ignore_users?,
            env: env?.as_deref(),
        });
        Some(Self { target, envelope })
    }
}

/// What the kind of target allows in the envelope.
struct Receives {
    users: bool,
    chatrooms: bool,
    named_members: bool,
}

impl Receives {
    fn of(target: Option<&proto::message::Target>) -> Self {
        use proto::message::Target::{Chatrooms, Groups, Users};
        Self {
            users: matches!(target, Some(Users(_))),
            chatrooms: matches!(target, Some(Chatrooms(_))),
            named_members: match target {
                Some(Groups(groups)) => !groups.member_ids.is_empty(),
                Some(Chatrooms(rooms)) => !rooms.member_ids.is_empty(),
                Some(Users(_)) | None => false,
            },
        }
    }

    fn check_sync_device(&self, sync_device: bool, at: Field<'_>) -> Option<bool> {
        if sync_device && !self.users {
            return at.refuse("is for messages to users only");
        }
        Some(sync_device)
    }

    fn check_route_type(&self, route_type: i32, at: Field<'_>) -> Option<bool> {
        match proto::RouteType::try_from(route_type) {
            Ok(proto::RouteType::Unspecified) => Some(false),
            Ok(proto::RouteType::OnlineOnly) if self.chatrooms => {
                at.refuse("is for messages to users and groups only")
            }
            Ok(proto::RouteType::OnlineOnly) if self.named_members => {
                at.refuse("cannot be combined with member_ids")
            }
            Ok(proto::RouteType::OnlineOnly) => Some(true),
            Err(_) => at.refuse("is not a known route type"),
        }
    }

    fn check_roam_ignore(&self, ids: Vec<String>, at: Field<'_>) -> Option<Vec<UserId>> {
        if self.named_members && !ids.is_empty() {
            return at.refuse("cannot be combined with member_ids");
        }
        if ids.len() > MAX_ROAM_IGNORE_USERS {
            return at.refuse("names more than 20 users");
        }
        target::check_set(ids, at)
    }
}

fn check_env(env: String, at: Field<'_>) -> Option<Option<String>> {
    if env.is_empty() {
        return Some(None);
    }
    if env.len() > MAX_ENV_BYTES || !env.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return at.refuse("must be at most 8 of a-z A-Z 0-9");
    }
    Some(Some(env))
}

#[cfg(test)]
mod tests;
