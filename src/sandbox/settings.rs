//! What of the configuration can be changed while the sandbox runs: `/sandbox/settings`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::{Config, Quotas, Rate};

/// The limits that hold now. Field by field as in [`Config`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) strict: bool,
    pub(super) content_bytes: usize,
    pub(super) request_bytes: usize,
    pub(super) file_bytes: u64,
    #[serde(with = "humantime_serde")]
    pub(super) file_retention: Duration,
    #[serde(with = "humantime_serde")]
    pub(super) token_ttl: Duration,
    #[serde(default = "Quotas::off")]
    pub(super) quotas: Quotas,
}

impl Settings {
    /// As the sandbox was started.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            strict: config.strict,
            content_bytes: config.content_bytes,
            request_bytes: config.request_bytes,
            file_bytes: config.file_bytes,
            file_retention: config.file_retention,
            token_ttl: config.token_ttl,
            quotas: config.quotas,
        }
    }

    /// With these fields changed: a JSON merge patch (RFC 7396). What is no setting is named in the
    /// error.
    pub(super) fn patched(&self, patch: Value) -> Result<Self, String> {
        if !patch.is_object() {
            return Err("not a JSON object".to_owned());
        }
        let mut settings = serde_json::to_value(self).map_err(|error| error.to_string())?;
        merge(&mut settings, patch);
        let settings: Self =
            serde_path_to_error::deserialize(settings).map_err(|error| error.to_string())?;
        let rates = settings.quotas.rates();
        if rates
            .into_iter()
            .flatten()
            .any(|rate| rate.window.is_zero())
        {
            return Err("a window cannot be 0s; null is no limit".to_owned());
        }
        Ok(settings)
    }
}

impl Quotas {
    fn rates(&self) -> [Option<Rate>; 11] {
        let Self {
            token,
            users,
            groups,
            chatrooms,
            directed,
            uploads,
            downloads,
        } = *self;
        [
            token,
            users.calls,
            users.messages,
            groups.calls,
            groups.messages,
            chatrooms.calls,
            chatrooms.messages,
            directed.calls,
            directed.messages,
            uploads,
            downloads,
        ]
    }
}

fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(&name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(patch: Value) -> Result<Settings, String> {
        Settings::new(&Config::default()).patched(patch)
    }

    #[test]
    fn a_patch_changes_what_it_names() {
        let settings = patched(json!({
            "content_bytes": 5000,
            "token_ttl": "90s",
            "quotas": {
                "users": {"messages": {"count": 5, "window": "1m"}},
                "groups": {"calls": null},
                "chatrooms": null,
            },
        }))
        .unwrap();
        assert_eq!(settings.content_bytes, 5000);
        assert_eq!(settings.request_bytes, 5120);
        assert_eq!(settings.token_ttl, Duration::from_secs(90));
        let quotas = settings.quotas;
        assert_eq!(quotas.users.messages, Some(Rate::per_minute(5)));
        assert_eq!(quotas.users.calls, Some(Rate::per_second(100)));
        assert_eq!(quotas.groups.calls, None);
        assert_eq!(quotas.groups.messages, Some(Rate::per_second(20)));
        assert_eq!(quotas.chatrooms.messages, None);
        let none = patched(json!({"quotas": null})).unwrap().quotas;
        assert!(none.rates().iter().all(Option::is_none));
    }

    #[test]
    fn what_is_no_setting_is_named() {
        for (patch, named) in [
            (json!([]), "object"),
            (json!({"contentbytes": 1}), "contentbytes"),
            (json!({"content_bytes": "much"}), "content_bytes"),
            (json!({"strict": null}), "strict"),
            (
                json!({"quotas": {"users": {"calls": 3}}}),
                "quotas.users.calls",
            ),
            (
                json!({"quotas": {"token": {"count": 3, "window": "0s"}}}),
                "window",
            ),
        ] {
            let error = patched(patch).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
