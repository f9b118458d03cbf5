//! Whether the settings make sense together, and what is made of them.

use super::{AuthMode, Config, Errors, Loaded, Origin, Origins, Problem, schema};
use crate::{
    app::{App, Apps},
    invalid::{Field, Violation, Violations},
};

/// Settings that the gateway can run with.
#[derive(Debug)]
pub struct Checked {
    /// The settings.
    pub config: Config,
    /// The apps, with their secrets read.
    pub apps: Apps,
}

impl Loaded {
    /// Checks everything that can be known without a network: values against each other, files and
    /// variables that hold secrets. Either gives what the gateway starts from or all violations.
    pub fn check(self) -> Result<Checked, Errors> {
        let Self { config, origins } = self;
        let violations = Violations::default();
        let apps = check(&config, &origins, violations.root());
        let problems: Vec<_> = violations.into_vec();
        if !problems.is_empty() {
            let problems = problems
                .iter()
                .map(|violation| located(violation, &origins));
            return Err(Errors::new(problems.collect()));
        }
        let apps = Apps::new(apps, config.default_app.as_deref());
        Ok(Checked { config, apps })
    }
}

fn check(config: &Config, origins: &Origins, root: Field<'_>) -> Vec<App> {
    let names: Vec<_> = config.apps.keys().map(String::as_str).collect();
    if let Some(name) = &config.default_app
        && !config.apps.contains_key(name)
        && !names.is_empty()
    {
        let known = names.join(", ");
        let _refused: Option<()> = root
            .child("default_app")
            .refuse(format!("names no app; there is {known}"));
    }
    let _refused = check_server(config, root.child("server"));
    if !config.server.listen.ip().is_loopback()
        && config.auth.mode == AuthMode::None
        && *origins.get("auth.mode") == Origin::Default
    {
        let _refused: Option<()> = root.child("auth").child("mode").refuse(
            "must be written down where server.listen is not loopback: \"none\" lets everybody in \
             who reaches the port",
        );
    }
    config.telemetry.check(root.child("telemetry"));
    config.store.check(root.child("store"));

    let apps = root.child("apps");
    if config.apps.is_empty() {
        let _refused: Option<()> = apps.refuse("needs at least one app: a section [apps.NAME]");
    }
    let checked = config.apps.iter();
    checked
        .filter_map(|(name, app)| App::new(name, app, apps.child(name)))
        .collect()
}

fn check_server(config: &Config, field: Field<'_>) -> Option<()> {
    let server = &config.server;
    if server.default_deadline > server.max_deadline {
        let default = humantime::format_duration(server.default_deadline);
        let max = humantime::format_duration(server.max_deadline);
        field.child("default_deadline").refuse::<()>(format!(
            "is {default}, longer than server.max_deadline, which is {max}"
        ));
    }
    if server.listen == server.operations_listen && server.listen.port() != 0 {
        field
            .child("operations_listen")
            .refuse::<()>("is the same address as server.listen");
    }
    Some(())
}

/// A violation with the place that it came from; or the place where it could be put right.
fn located(violation: &Violation, origins: &Origins) -> Problem {
    // An element of a list has the origin of its list.
    let name = violation.field.split('[').next().unwrap_or_default();
    let text = violation.to_string();
    match origins.get(name) {
        Origin::Default => {
            let path: Vec<_> = name.split('.').map(str::to_owned).collect();
            let problem = Problem::new(text, origins.section(name));
            match schema::root().key(&path) {
                Some(key) => problem.note(match key.default() {
                    Some(default) => format!("not set; the default is {default}"),
                    None => format!("not set, neither here nor as {}", schema::variable(&path)),
                }),
                None => problem,
            }
        }
        origin => Problem::new(text, origin.clone()),
    }
}
