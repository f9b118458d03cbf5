//! The section `[auth]`: how callers prove who they are, and what each may use.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    num::NonZeroU32,
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Caller, Callers, file, is_uri, key};
use crate::invalid::{Field, Violations};

/// Who may call the gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How callers prove who they are.
    pub mode: Mode,
    /// With `mode = "none"`: lets whoever reaches `server.listen` use every app, even where that is
    /// no loopback address.
    pub allow_anonymous: bool,
    /// Who may ask for the contract by gRPC reflection, as grpcurl and Postman do.
    pub reflection: Reflection,
    /// TOML file with further callers, a section `[NAME]` for each, with the keys of `auth.callers.NAME`.
    /// It is read again whenever it changes, so a caller comes, goes or changes its key without a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/secrets/callers.toml")]
    pub callers_file: Option<PathBuf>,
    /// One caller: a section `[auth.callers.NAME]` for each, where NAME is what logs and telemetry call it
    /// (a-z, 0-9, - and _).
    #[schemars(extend("x-name" = "billing"))]
    pub callers: BTreeMap<String, CallerConfig>,
}

/// How callers prove who they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Not at all: whoever reaches the port may use every app.
    #[default]
    None,
    /// By a key in the metadata of each call: `authorization: Bearer KEY`.
    ApiKey,
    /// By a certificate that an authority of `server.tls.client_ca_file` vouches for.
    Mtls,
}

/// Who may use reflection. It tells what stands in the published proto files, and nothing else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reflection {
    /// Callers who have proved who they are.
    #[default]
    Callers,
    /// Everybody.
    Open,
    /// Nobody.
    Off,
}

/// One caller.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CallerConfig {
    /// With `mode = "api_key"`: SHA-256 of the caller's keys, in hexadecimal, as `easemob-gateway key new`
    /// prints it. Several while a key is being exchanged.
    #[schemars(example = ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])]
    pub key_sha256: Vec<String>,
    /// With `mode = "mtls"`: what the caller's certificate says it is: a URI, such as a SPIFFE ID, or a DNS
    /// name, among its subject alternative names.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"spiffe://acme.example/billing")]
    pub identity: Option<String>,
    /// The apps that it may use. Required.
    #[schemars(example = ["shop"])]
    pub apps: Vec<String>,
    /// Its share of an app's quota, beside the weights of the other callers.
    #[schemars(range(min = 1, max = 1000))]
    pub weight: NonZeroU32,
}

impl Default for CallerConfig {
    fn default() -> Self {
        Self {
            key_sha256: Vec::new(),
            identity: None,
            apps: Vec::new(),
            weight: NonZeroU32::MIN,
        }
    }
}

impl Config {
    /// The callers, those of the file included. Everything wrong is noted at `field`, which is `auth`.
    pub fn check(&self, knows_app: &dyn Fn(&str) -> bool, field: Field<'_>) -> Option<Callers> {
        let contents = match &self.callers_file {
            None => None,
            Some(path) => match fs::read(path) {
                Ok(contents) => Some(contents),
                Err(error) => {
                    return field.child("callers_file").refuse(format!(
                        "names a file that cannot be read: {}: {error}",
                        path.display()
                    ));
                }
            },
        };
        self.collect(contents.as_deref(), knows_app, field)
    }

    /// The callers, once the file of callers holds this.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, in words that quote none of it.
    pub fn reload(
        &self,
        contents: &[u8],
        knows_app: &dyn Fn(&str) -> bool,
    ) -> anyhow::Result<Callers> {
        let violations = Violations::default();
        let callers = self.collect(Some(contents), knows_app, violations.root());
        callers.ok_or_else(|| {
            let wrong = violations.into_vec();
            let wrong: Vec<_> = wrong.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("{}", wrong.join("; "))
        })
    }

    fn collect(
        &self,
        contents: Option<&[u8]>,
        knows_app: &dyn Fn(&str) -> bool,
        field: Field<'_>,
    ) -> Option<Callers> {
        let mut collected = Collected {
            mode: self.mode,
            knows_app,
            callers: Callers::default(),
            taken: BTreeSet::new(),
        };
        let section = field.child("callers");
        let mut good = true;
        for (name, config) in &self.callers {
            good &= collected.add(name, config, section.child(name)).is_some();
        }
        if let Some(contents) = contents {
            good &= self.collect_file(contents, &mut collected, field).is_some();
        }
        if self.mode == Mode::None {
            if collected.callers.count() > 0 {
                return field.child("mode").refuse(
                    "is \"none\", which lets everybody in, but there are callers: set it to \"api_key\" or \"mtls\"",
                );
            }
        } else if good && collected.callers.count() == 0 {
            return section.refuse("has to name at least one caller, or nobody gets in");
        }
        good.then_some(collected.callers)
    }

    /// What is wrong with the file is told at the key that names it: it has no keys of its own in the settings.
    fn collect_file(
        &self,
        contents: &[u8],
        collected: &mut Collected<'_>,
        field: Field<'_>,
    ) -> Option<()> {
        let field = field.child("callers_file");
        let callers = match file::parse(contents) {
            Ok(callers) => callers,
            Err(wrong) => return field.refuse(format!("names a file that is wrong: {wrong}")),
        };
        let violations = Violations::default();
        let root = violations.root();
        for (name, config) in &callers {
            if self.callers.contains_key(name) {
                let _refused: Option<()> = root
                    .child(name)
                    .refuse("stands in auth.callers as well: leave one of them out");
                continue;
            }
            let _noted = collected.add(name, config, root.child(name));
        }
        let wrong = violations.into_vec();
        for violation in &wrong {
            let _refused: Option<()> =
                field.refuse(format!("names a file that is wrong: {violation}"));
        }
        wrong.is_empty().then_some(())
    }
}

/// The callers that have been checked so far.
struct Collected<'a> {
    mode: Mode,
    knows_app: &'a dyn Fn(&str) -> bool,
    callers: Callers,
    /// Digests and identities that have an owner.
    taken: BTreeSet<String>,
}

impl Collected<'_> {
    fn add(&mut self, name: &str, config: &CallerConfig, field: Field<'_>) -> Option<()> {
        if !is_name(name) {
            return field.refuse(
                "may be named by a-z, 0-9, - and _ only, at most 64 of them, and not as keys begin",
            );
        }
        let apps = self.apps(&config.apps, field.child("apps"));
        let keys = self.keys(&config.key_sha256, field.child("key_sha256"));
        let identity = self.identity(config.identity.as_deref(), field.child("identity"));
        let (_, keys, identity) = (apps?, keys?, identity?);
        let caller = Caller::new(name, &config.apps, config.weight);
        self.callers.add(&caller, keys, identity);
        Some(())
    }

    fn apps(&self, apps: &[String], field: Field<'_>) -> Option<()> {
        if apps.is_empty() {
            return field.refuse("is required: the apps that the caller may use");
        }
        let mut good = Some(());
        for (index, app) in apps.iter().enumerate() {
            if !(self.knows_app)(app) {
                good = field.index(index).refuse("names no app");
            }
        }
        good
    }

    fn keys(&mut self, keys: &[String], field: Field<'_>) -> Option<Vec<[u8; 32]>> {
        if keys.is_empty() && self.mode == Mode::ApiKey {
            return field.refuse("is required with auth.mode \"api_key\"");
        }
        let mut digests = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let field = field.index(index);
            // The value is not shown: it may be a key, put here by mistake.
            match key::parse_sha256(key) {
                None => {
                    let _refused: Option<()> = field.refuse(
                        "is not 64 hexadecimal digits: the SHA-256 of a key, not the key itself",
                    );
                }
                Some(digest) if !self.taken.insert(key::hex(&digest)) => {
                    let _refused: Option<()> = field.refuse("is the digest of another key here");
                }
                Some(digest) => digests.push(digest),
            }
        }
        (digests.len() == keys.len()).then_some(digests)
    }

    fn identity(&mut self, identity: Option<&str>, field: Field<'_>) -> Option<Option<String>> {
        let Some(identity) = identity else {
            return match self.mode {
                Mode::Mtls => field.refuse("is required with auth.mode \"mtls\""),
                _ => Some(None),
            };
        };
        let identity = if is_uri(identity) {
            identity.to_owned()
        } else {
            identity.to_ascii_lowercase()
        };
        let is_name =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
        if identity.is_empty() || !(is_uri(&identity) || identity.bytes().all(is_name)) {
            return field.refuse("is neither a URI, such as spiffe://…, nor a DNS name");
        }
        if !self.taken.insert(identity.clone()) {
            return field.refuse("is the identity of another caller");
        }
        Some(Some(identity))
    }
}

/// Whether a caller may have this name. A key may not, since names go into logs.
pub(super) fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with(key::PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(key: &str) -> String {
        key::hex(&key::sha256(key.as_bytes()))
    }

    fn caller(keys: &[&str]) -> CallerConfig {
        CallerConfig {
            key_sha256: keys.iter().map(|key| digest(key)).collect(),
            apps: vec!["shop".into()],
            ..CallerConfig::default()
        }
    }

    fn wrong(config: &Config, file: Option<&str>) -> Vec<String> {
        let violations = Violations::default();
        let root = violations.root();
        let callers = config.collect(
            file.map(str::as_bytes),
            &|app| app == "shop",
            root.child("auth"),
        );
        let wrong: Vec<_> = violations
            .into_vec()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(callers.is_none(), !wrong.is_empty());
        wrong
    }

    fn config(mode: Mode, callers: &[(&str, CallerConfig)]) -> Config {
        let callers = callers.iter().cloned();
        Config {
            mode,
            callers: callers.map(|(name, c)| (name.to_owned(), c)).collect(),
            ..Config::default()
        }
    }

    #[test]
    fn callers_come_from_the_settings_and_the_file() {
        let config = config(Mode::ApiKey, &[("a", caller(&["1"]))]);
        let file = format!("[b]\nkey_sha256 = ['{}']\napps = ['shop']", digest("2"));
        let callers = config
            .reload(file.as_bytes(), &|app| app == "shop")
            .unwrap();
        assert_eq!(callers.count(), 2);
        let name = |key: &[u8]| callers.by_key(key).map(Caller::name);
        assert_eq!((name(b"1"), name(b"2")), (Some("a"), Some("b")));
        let b = callers.by_key(b"2").unwrap();
        assert!(b.may_use("shop") && !b.may_use("other") && !b.may_use(""));
        assert_eq!(b.weight(), NonZeroU32::MIN);
    }

    #[test]
    fn callers_that_nobody_could_mean_are_refused() {
        let named = |identity: &str| CallerConfig {
            identity: Some(identity.into()),
            ..caller(&[])
        };
        let no_apps = CallerConfig {
            apps: Vec::new(),
            ..caller(&["1"])
        };
        let other_app = CallerConfig {
            apps: vec!["shop".into(), "other".into()],
            ..caller(&["1"])
        };
        let raw_key = CallerConfig {
            key_sha256: vec!["egk_0123".into()],
            ..caller(&[])
        };
        for (mode, callers, expected) in [
            (
                Mode::ApiKey,
                vec![],
                "auth.callers has to name at least one caller",
            ),
            (
                Mode::None,
                vec![("a", caller(&["1"]))],
                "auth.mode is \"none\", which lets everybody in",
            ),
            (
                Mode::ApiKey,
                vec![("a", caller(&[]))],
                "auth.callers.a.key_sha256 is required",
            ),
            (
                Mode::ApiKey,
                vec![("a", no_apps)],
                "auth.callers.a.apps is required",
            ),
            (
                Mode::ApiKey,
                vec![("a", other_app)],
                "auth.callers.a.apps[1] names no app",
            ),
            (
                Mode::ApiKey,
                vec![("a", raw_key)],
                "auth.callers.a.key_sha256[0] is not 64 hexadecimal digits",
            ),
            (
                Mode::ApiKey,
                vec![("a", caller(&["1"])), ("b", caller(&["1"]))],
                "auth.callers.b.key_sha256[0] is the digest of another key here",
            ),
            (
                Mode::ApiKey,
                vec![("A", caller(&["1"]))],
                "auth.callers.A may be named by",
            ),
            (
                Mode::Mtls,
                vec![("a", caller(&["1"]))],
                "auth.callers.a.identity is required",
            ),
            (
                Mode::Mtls,
                vec![("a", named("two words"))],
                "auth.callers.a.identity is neither",
            ),
            (
                Mode::Mtls,
                vec![("a", named("X.y")), ("b", named("x.Y"))],
                "auth.callers.b.identity is the identity of another caller",
            ),
        ] {
            let wrong = wrong(&config(mode, &callers), None);
            assert!(
                wrong
                    .first()
                    .is_some_and(|first| first.starts_with(expected)),
                "{expected}: {wrong:?}"
            );
            assert!(!wrong.concat().contains("0123"), "{wrong:?}");
        }
    }

    #[test]
    fn a_file_that_is_wrong_is_refused_as_a_whole() {
        let settings = config(Mode::ApiKey, &[("a", caller(&["1"]))]);
        let good = digest("2");
        for (file, expected) in [
            ("[b]", "b.apps is required"),
            ("b = 'egk_0123'", "line 1: b must be a section"),
            ("\negk_0123 = 1", "line 2: a caller may be named"),
            ("[egk_0123]\napps = 1", "line 1: a caller may be named"),
            ("[b]\napps = 'egk_0123'", "b.apps: wrong type"),
            ("[b]\nkeys = ['egk_0123']", "b: unknown key"),
            ("[b]\napps = ['shop", "line 2"),
            ("[b]\nkey_sha256 = [\"egk_0123\nx", "not TOML"),
            (
                &format!("[a]\nkey_sha256 = ['{good}']\napps = ['shop']"),
                "a stands in auth.callers as well",
            ),
        ] {
            let wrong = wrong(&settings, Some(file)).concat();
            assert!(
                wrong.contains("auth.callers_file") && wrong.contains(expected),
                "{file}: {wrong}"
            );
            assert!(!wrong.contains("0123"), "{wrong}");
        }
    }
}
