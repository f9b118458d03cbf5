//! The settings of the gateway: the one reader of the settings file and of the environment.
//!
//! Each module declares its own section and never looks here. What a section's type says about its
//! keys (names, types, documentation, defaults) is read from its schema, and serves everything in
//! this module: unknown keys, the types of values in the environment, `config reference` and
//! `config print`.

#[cfg(test)]
mod chart;
mod check;
mod environment;
mod error;
mod file;
mod nearest;
mod print;
mod reference;
mod schema;
mod settings;
#[cfg(test)]
mod tests;
mod value_type;

use std::{collections::BTreeMap, path::Path};

use schemars::JsonSchema;
use serde::Deserialize;

pub use self::{
    check::Checked,
    environment::environment,
    error::{Errors, Origin},
    reference::reference,
    settings::Origins,
};
use self::{error::Problem, settings::Settings};
use crate::{app, caller, delivery, media, server, store, telemetry};

/// All settings of the gateway.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The app of requests that name none. Left out: the app there is, if there is only one; with
    /// several, each request has to name its app.
    #[schemars(example = &"shop")]
    pub default_app: Option<String>,
    /// Where the gateway listens, and how much of it one caller may take.
    pub server: server::Config,
    /// Who may call the gateway.
    pub auth: caller::Config,
    /// One Easemob app: a section `[apps.NAME]` for each, where NAME is what requests and telemetry
    /// call the app (a-z, 0-9, - and _). At least one is required.
    #[schemars(extend("x-name" = "shop"))]
    pub apps: BTreeMap<String, app::Config>,
    /// How much is sent at once.
    pub delivery: delivery::Config,
    /// Bounds of uploads and downloads.
    pub media: media::Config,
    /// Where request IDs are remembered, and for how long.
    pub store: store::Config,
    /// What the process tells about itself.
    pub telemetry: telemetry::Config,
}

/// Settings that could be read. Whether they make sense together is still to be checked.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Where each of them was set.
    pub origins: Origins,
}

impl Config {
    /// Reads the settings: the environment wins over the file, and the file over the defaults.
    /// Either gives the settings or everything that stands in their way.
    pub fn load(
        path: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Loaded, Errors> {
        let mut settings = Settings::default();
        if let Some(path) = path {
            file::read(path, &mut settings)?;
        }
        Self::finish(settings, env)
    }

    fn finish(
        mut settings: Settings,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Loaded, Errors> {
        environment::read(env, &mut settings);
        let (config, origins) = settings.finish()?;
        Ok(Loaded { config, origins })
    }
}

impl Loaded {
    /// The effective settings as TOML, each with its origin in a comment. Passwords within URLs are
    /// hidden; secrets are never among the settings.
    pub fn print(&self) -> String {
        print::print(&self.origins)
    }
}
