//! The sections `[apps.NAME.quota.*]`: how much Easemob takes from an app in a time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Easemob's quotas for one app. They belong to the contract with Easemob; the defaults are those of a
/// new app. 0 switches a quota off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Messages to users.
    pub users: UserQuota,
    /// Messages to groups.
    pub groups: GroupQuota,
    /// Messages to chat rooms.
    pub chatrooms: TargetQuota,
    /// Messages to named members of a group or room.
    pub directed: TargetQuota,
    /// Uploads and downloads.
    pub files: FileQuota,
}

/// What Easemob takes for users.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UserQuota {
    /// Calls in any second.
    pub calls_per_second: u32,
    /// Messages in any 60 seconds; each recipient counts as one.
    pub messages_per_minute: u32,
}

impl Default for UserQuota {
    fn default() -> Self {
        Self {
            calls_per_second: 100,
            messages_per_minute: 6_000,
        }
    }
}

/// What Easemob takes for groups.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GroupQuota {
    /// Calls in any second.
    pub calls_per_second: u32,
    /// Messages in any second; each group counts as one.
    pub messages_per_second: u32,
}

impl Default for GroupQuota {
    fn default() -> Self {
        Self {
            calls_per_second: 20,
            messages_per_second: 20,
        }
    }
}

/// What Easemob takes for chat rooms, or for named members of a group or room.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TargetQuota {
    /// Calls in any second.
    pub calls_per_second: u32,
    /// Messages in any second; each room or group counts as one.
    pub messages_per_second: u32,
}

impl Default for TargetQuota {
    fn default() -> Self {
        Self {
            calls_per_second: 100,
            messages_per_second: 100,
        }
    }
}

/// What Easemob takes for files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FileQuota {
    /// Calls in any second.
    pub calls_per_second: u32,
}

impl Default for FileQuota {
    fn default() -> Self {
        Self {
            calls_per_second: 100,
        }
    }
}
