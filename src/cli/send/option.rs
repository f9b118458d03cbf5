//! The options that every content takes: who receives it, how it is delivered, which gateway sends it.

use clap::{Args, ValueEnum};

use crate::{
    cli::gateway::Gateway,
    proto::{self, message, message::Extension},
};

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) recipients: Recipients,
    #[command(flatten)]
    pub(super) delivery: Delivery,
    #[command(flatten)]
    pub(super) gateway: Gateway,
    /// Writes one JSON object to standard output, errors included (docs/cli.md has its shape).
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Recipients")]
pub(super) struct Recipients {
    #[command(flatten)]
    target: Target,
    /// Delivers to this member of the one group or room alone; repeatable, or comma-separated.
    #[arg(
        long = "member",
        value_name = "USER",
        value_delimiter = ',',
        conflicts_with = "to"
    )]
    members: Vec<String>,
    /// Asks for read receipts. Groups only.
    #[arg(long, conflicts_with_all = ["to", "chatroom"])]
    read_receipt: bool,
    /// Which messages are dropped last while a room is busy. Chat rooms only.
    #[arg(long, conflicts_with_all = ["to", "group"])]
    priority: Option<Priority>,
}

#[derive(Args)]
#[group(id = "target", required = true, multiple = false)]
struct Target {
    /// User ID; repeatable, or comma-separated.
    #[arg(long, value_name = "USER", value_delimiter = ',')]
    to: Vec<String>,
    /// Group ID; repeatable, or comma-separated.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    group: Vec<String>,
    /// Chat room ID; repeatable, or comma-separated.
    #[arg(long, visible_alias = "room", value_name = "ID", value_delimiter = ',')]
    chatroom: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Priority {
    High,
    Normal,
    Low,
}

impl From<Priority> for proto::ChatroomPriority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::High => Self::High,
            Priority::Normal => Self::Normal,
            Priority::Low => Self::Low,
        }
    }
}

impl From<Recipients> for message::Target {
    fn from(recipients: Recipients) -> Self {
        let Target {
            to,
            group,
            chatroom,
        } = recipients.target;
        if !group.is_empty() {
            return Self::Groups(proto::Groups {
                group_ids: group,
                member_ids: recipients.members,
                need_read_receipt: recipients.read_receipt,
            });
        }
        if !chatroom.is_empty() {
            let priority = recipients.priority.map(proto::ChatroomPriority::from);
            return Self::Chatrooms(proto::Chatrooms {
                chatroom_ids: chatroom,
                member_ids: recipients.members,
                priority: priority.unwrap_or_default().into(),
            });
        }
        Self::Users(proto::Users { user_ids: to })
    }
}

#[derive(Args)]
#[command(next_help_heading = "Delivery")]
pub(super) struct Delivery {
    /// User ID of the sender. Left out, Easemob sends as "admin".
    #[arg(long, value_name = "USER")]
    from: Option<String>,
    /// Name of an app in the gateway's settings. Left out: its default app.
    #[arg(long, value_name = "NAME", default_value_t, hide_default_value = true)]
    app: String,
    /// Extension attributes, one JSON object, passed on digit for digit.
    #[arg(long, value_name = "JSON")]
    ext: Option<String>,
    /// Gives a recipient who is offline no push notification.
    #[arg(long)]
    silent: bool,
    /// Also delivers to the sender's own devices. Users only.
    #[arg(long)]
    sync_device: bool,
    /// Only for recipients who are online. Users and groups only.
    #[arg(long)]
    online_only: bool,
    /// User ID who does not get the message when pulling history; repeatable, or comma-separated.
    #[arg(long, value_name = "USER", value_delimiter = ',')]
    roam_ignore: Vec<String>,
    /// Environment that selects Easemob's callback rule.
    #[arg(long, default_value_t, hide_default_value = true)]
    env: String,
    /// Names this message, so that the gateway can tell a repeat of it from a new one. 1 to 128
    /// printable ASCII characters.
    #[arg(long, value_name = "ID", default_value_t, hide_default_value = true)]
    request_id: String,
    /// Lets the gateway send again what may have been sent: a recipient may get it twice.
    #[arg(long)]
    resend_maybe_sent: bool,
}

impl Delivery {
    /// The request that delivers this content to these recipients.
    pub(super) fn into_request(
        self,
        recipients: Recipients,
        content: message::Content,
    ) -> proto::SendMessageRequest {
        let route_type = if self.online_only {
            proto::RouteType::OnlineOnly
        } else {
            proto::RouteType::Unspecified
        };
        let message = proto::Message {
            from_user_id: self.from,
            target: Some(recipients.into()),
            content: Some(content),
            extension: self.ext.map(Extension::ExtJson),
            silent: self.silent,
            sync_device: self.sync_device,
            route_type: route_type.into(),
            roam_ignore_user_ids: self.roam_ignore,
            env: self.env,
        };
        proto::SendMessageRequest {
            app: self.app,
            message: Some(message),
            request_id: self.request_id,
            resend_maybe_sent: self.resend_maybe_sent,
        }
    }
}
