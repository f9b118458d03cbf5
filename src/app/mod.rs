//! One Easemob app as configured: where it is, its limits, and the URLs that follow from it.

mod config;
mod credentials;
mod outside;
mod quota;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub use self::{
    config::{Config, CredentialKind, Limits, ProxyUrl, Timeouts},
    credentials::Credentials,
    outside::Outside,
    quota::{FileQuota, GroupQuota, Quota, TargetQuota, UserQuota},
};
use crate::{id::FileId, invalid::Field};

/// One Easemob app. Everything that is the same for all its calls is made once, here.
#[derive(Debug)]
pub struct App {
    /// Name in the settings, in requests and in telemetry.
    pub name: Arc<str>,
    /// Where the app's REST API starts: `https://a1.easemob.com/acme/shop`, without a slash at the end.
    pub base_url: String,
    /// Where recipients' devices reach the same, as a prefix of file URLs.
    public_base_url: String,
    /// What it proves itself by.
    pub credentials: Credentials,
    /// What Easemob takes from this app.
    pub limits: Limits,
    /// How much of it in a time.
    pub quota: Quota,
    /// How long its calls may take.
    pub timeouts: Timeouts,
    /// How old connections to Easemob may get.
    pub connection_age: Duration,
    /// Whether Easemob's 503 is taken as proof that nothing was sent.
    pub treat_503_as_not_sent: bool,
    /// How long one unit of `expires_in` in Easemob's token answers is, in milliseconds.
    pub token_unit_ms: u64,
    /// Proxy on the way to Easemob.
    pub proxy_url: Option<ProxyUrl>,
    /// PEM of the only certificate authorities that are trusted for this app.
    pub ca: Option<Outside>,
}

impl App {
    /// Makes the app from its settings. Everything wrong with them is noted at `field`. Its secret and
    /// its certificates are read here, and may be missing: see [`App::check_outside`].
    pub fn new(name: &str, config: &Config, field: Field<'_>) -> Option<Self> {
        config::check(name, config, field)
    }

    /// Notes what stands outside of the settings and cannot be used: the secret, the certificates. The app
    /// works as soon as they can be, and until then harms no other.
    pub fn check_outside(&self, field: Field<'_>) {
        note_unusable(self.outside(), field);
    }

    /// What stands outside of the settings, each with the setting that names it.
    pub fn outside(&self) -> impl Iterator<Item = (&'static str, &Outside)> {
        outside(&self.credentials, self.ca.as_ref())
    }

    /// The URL under which recipients find a file that was uploaded to this app. Made from the
    /// settings and never from an answer's `uri`, which may name an internal host.
    pub fn file_url(&self, file: &FileId) -> String {
        format!("{}/chatfiles/{file}", self.public_base_url)
    }
}

fn outside<'a>(
    credentials: &'a Credentials,
    ca: Option<&'a Outside>,
) -> impl Iterator<Item = (&'static str, &'a Outside)> {
    let secret = (credentials.setting(), credentials.secret());
    std::iter::once(secret).chain(ca.map(|ca| ("ca_file", ca)))
}

fn note_unusable<'a>(outside: impl Iterator<Item = (&'static str, &'a Outside)>, field: Field<'_>) {
    for (setting, outside) in outside {
        if let Err(what) = outside.reload() {
            let _refused: Option<()> = field.child(setting).refuse(what);
        }
    }
}

/// All apps of the gateway, by name.
#[derive(Debug)]
pub struct Apps {
    by_name: BTreeMap<Arc<str>, Arc<App>>,
    default: Option<Arc<App>>,
}

impl Apps {
    /// The apps, and the one that a request without a name means.
    pub fn new(apps: impl IntoIterator<Item = App>, default: Option<&str>) -> Self {
        let by_name: BTreeMap<_, _> = apps
            .into_iter()
            .map(|app| (Arc::clone(&app.name), Arc::new(app)))
            .collect();
        let default = match default {
            Some(name) => by_name.get(name).cloned(),
            None if by_name.len() == 1 => by_name.values().next().cloned(),
            None => None,
        };
        Self { by_name, default }
    }

    /// The app of this name; the default app where the name is empty.
    pub fn get(&self, name: &str) -> Option<&Arc<App>> {
        match name {
            "" => self.default.as_ref(),
            name => self.by_name.get(name),
        }
    }

    /// Name of the app that a request without a name means.
    pub fn default_name(&self) -> Option<&str> {
        self.default.as_ref().map(|app| &*app.name)
    }

    /// Every app.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<App>> {
        self.by_name.values()
    }
}
