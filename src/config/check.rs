//! Whether the settings make sense together, and what is made of them.

use std::net::SocketAddr;

use super::{Config, Errors, Loaded, Origin, Origins, Problem, schema};
use crate::{
    app::{App, Apps},
    caller::{Callers, Mode},
    invalid::{Field, Violation, Violations},
};

/// Settings that the gateway can run with.
#[derive(Debug)]
pub struct Checked {
    /// The settings.
    pub config: Config,
    /// The apps, with their secrets read.
    pub apps: Apps,
    /// What the settings name and cannot be used, such as a file with a secret. The gateway starts all the
    /// same: the app concerned cannot be used until this is put right, and the others can.
    pub unusable: Option<Errors>,
    /// Who may call.
    pub callers: Callers,
}

impl Loaded {
    /// Checks everything that can be known without a network: values against each other, files and
    /// variables that hold secrets. Either gives what the gateway starts from or all violations.
    pub fn check(self) -> Result<Checked, Errors> {
        let Self { config, origins } = self;
        let violations = Violations::default();
        let apps = check(&config, violations.root());
        let callers = check_auth(&config, violations.root());
        let outside = Violations::default();
        for app in &apps {
            let (root, name) = (outside.root(), &app.name);
            app.check_outside(root.child("apps").child(name));
        }
        let (violations, outside) = (violations.into_vec(), outside.into_vec());
        let errors = |violations: &[Violation]| {
            let located = violations.iter().map(|one| located(one, &origins));
            Errors::new(located.collect())
        };
        if !violations.is_empty() {
            // All at once, for whoever puts it right.
            return Err(errors(&[violations, outside].concat()));
        }
        let unusable = (!outside.is_empty()).then(|| errors(&outside));
        let apps = Apps::new(apps, config.default_app.as_deref());
        Ok(Checked {
            config,
            apps,
            unusable,
            callers: callers.unwrap_or_default(),
        })
    }
}

fn check(config: &Config, root: Field<'_>) -> Vec<App> {
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

fn check_auth(config: &Config, root: Field<'_>) -> Option<Callers> {
    let (auth, tls) = (&config.auth, &config.server.tls);
    let field = root.child("auth");
    if auth.mode == Mode::None
        && !auth.allow_anonymous
        && let Some((port, _)) = config.server.beyond_loopback()
    {
        return field.child("mode").refuse(format!(
            "is \"none\", which lets everybody in who reaches {port}, and that is not loopback: set \
             \"api_key\" or \"mtls\", or auth.allow_anonymous = true",
        ));
    }
    if auth.mode == Mode::Mtls && tls.client_ca_file.is_none() {
        let _refused: Option<()> = field.child("mode").refuse(
            "is \"mtls\", which needs server.tls.client_ca_file: the authorities that vouch for callers",
        );
    }
    auth.check(&|app| config.apps.contains_key(app), field)
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
    let same = |one: SocketAddr, other| one == other && one.port() != 0;
    if same(server.listen, server.operations_listen) {
        field
            .child("operations_listen")
            .refuse::<()>("is the same address as server.listen");
    }
    let web = field.child("grpc_web");
    if let Some(listen) = server.grpc_web.listen
        && (same(listen, server.listen) || same(listen, server.operations_listen))
    {
        web.child("listen").refuse::<()>(
            "is the address of another port: browsers speak HTTP/1.1, and have one of their own",
        );
    }
    server.grpc_web.check(web);
    server.tls.check(field.child("tls"))
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
