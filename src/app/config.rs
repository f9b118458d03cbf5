//! The section `[apps.NAME]`: its settings, their checks, and the app they make.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use reqwest::Url;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{
    App, Quota, credentials,
    outside::{Outside, Place},
};
use crate::invalid::Field;

/// Long enough that new connections cost nothing, and no longer than people wait for DNS anyway.
const CONNECTION_AGE: Duration = Duration::from_secs(600);

/// One Easemob app.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the app's data centre is, as the Easemob console shows it: `https://a1.easemob.com`.
    /// Plain http only on loopback, or with `insecure_http`. Required.
    #[schemars(example = &"https://a1.easemob.com")]
    pub base_url: String,
    /// Base URL that recipients' devices use for files, where it differs from `base_url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"https://media.example.com")]
    pub public_base_url: Option<String>,
    /// Allows plain http to another host than loopback: the client secret and the tokens then cross
    /// the network in the clear, unless something else on the way encrypts them.
    pub insecure_http: bool,
    /// First half of the App Key `org_name#app_name`. Required, unless `app_id` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"acme")]
    pub org_name: Option<String>,
    /// Second half of the App Key. Required, unless `app_id` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"shop")]
    pub app_name: Option<String>,
    /// App ID of consoles that address apps as `/app-id/{app_id}` in place of `/{org}/{app}`. With
    /// `credentials = "agora"` it is required, and org_name and app_name may stand beside it: the path is
    /// then made of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"1a2b3c")]
    pub app_id: Option<String>,
    /// Kind of the app's credentials.
    pub credentials: CredentialKind,
    /// Client ID of the app's credentials. Required for `credentials = "easemob"`.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(example = &"YXA6example")]
    pub client_id: String,
    /// File that holds the client secret; white space around it is left out. Read again when it
    /// changes. Required for `credentials = "easemob"`, unless `client_secret_env` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/secrets/shop")]
    pub client_secret_file: Option<PathBuf>,
    /// Name of the environment variable that holds the client secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"SHOP_CLIENT_SECRET")]
    pub client_secret_env: Option<String>,
    /// The client secret itself: for `easemob-gateway dev` and tests. No file and no variable sets it.
    #[serde(skip)]
    #[schemars(skip)]
    pub client_secret: Option<SecretString>,
    /// File that holds the App Certificate; white space around it is left out. Read again when it
    /// changes. Required for `credentials = "agora"`, unless `app_certificate_env` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/secrets/shop-certificate")]
    pub app_certificate_file: Option<PathBuf>,
    /// Name of the environment variable that holds the App Certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"SHOP_APP_CERTIFICATE")]
    pub app_certificate_env: Option<String>,
    /// The App Certificate itself: for tests. No file and no variable sets it.
    #[serde(skip)]
    #[schemars(skip)]
    pub app_certificate: Option<SecretString>,
    /// With `credentials = "agora"`: has the token that the gateway makes exchanged for one of
    /// Easemob's, as older clients do, and not sent as it is.
    pub exchange_token: bool,
    /// Unit of `expires_in` in Easemob's token answers.
    pub token_unit: TokenUnit,
    /// Takes an Easemob answer of 503 as proof that nothing was sent. Only for those who have it in
    /// writing from Easemob: otherwise a 503 leaves the outcome of a send unknown.
    pub treat_503_as_not_sent: bool,
    /// HTTP proxy on the way to Easemob. Left out: none, whatever the environment says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"http://proxy.example.com:3128")]
    pub proxy_url: Option<ProxyUrl>,
    /// PEM file of the only certificate authorities to trust for this app. Left out: the system's. Read
    /// again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/ssl/easemob-ca.pem")]
    pub ca_file: Option<PathBuf>,
    /// Age at which connections to Easemob are replaced by new ones, for which its name is looked up
    /// again: so a change in DNS is followed within this time. What runs on an old one ends there. Left
    /// out: 10m.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", example = &"10m")]
    pub connection_age: Option<Duration>,
    /// Easemob's limits for this app.
    pub limits: Limits,
    /// Easemob's quotas for this app. 0 switches one off.
    pub quota: Quota,
    /// How long the calls to Easemob may take.
    pub timeouts: Timeouts,
}

/// URL of a proxy. It may hold a password, so its `Debug` text is a placeholder.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct ProxyUrl(pub String);

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyUrl([REDACTED])")
    }
}

/// Easemob's limits for one app.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest send request in bytes of JSON. A message with more recipients than fit goes out in
    /// several. 0 switches the limit off.
    pub request_bytes: usize,
    /// Largest content of a message, its body and extension together, in bytes of JSON. 0 switches
    /// the limit off. Newer Easemob pages say 5,120.
    pub content_bytes: usize,
    /// Largest file that may be uploaded, in bytes. 0 switches the limit off. Easemob takes 10 MB by
    /// default, and more where it has raised the app's limit.
    pub upload_bytes: u64,
    /// Most recipients of one request. It is the gateway's own limit: what is more than one call takes
    /// goes out in several.
    pub max_recipients: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: 5_120,
            content_bytes: 3_072,
            upload_bytes: 10 * 1024 * 1024,
            max_recipients: 10_000,
        }
    }
}

/// How long the calls to Easemob may take. The caller's deadline comes on top: whichever is first.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// For a new connection: DNS, TCP and TLS together.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub connect: Duration,
    /// For one attempt, from its start to the end of the answer. After it the connection is closed,
    /// and the outcome of the send is unknown.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub attempt: Duration,
    /// For all attempts of one call together, once it has its turn.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub call: Duration,
    /// For one token request.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub token: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            attempt: Duration::from_secs(10),
            call: Duration::from_secs(20),
            token: Duration::from_secs(5),
        }
    }
}

/// Kinds of credentials.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CredentialKind {
    /// Easemob's own: `client_id` and a client secret.
    #[default]
    Easemob,
    /// Those of Agora and Shengwang: `app_id` and an App Certificate, of which the gateway makes an
    /// AccessToken2 by itself.
    Agora,
}

/// Unit of the durations in Easemob's token answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenUnit {
    /// Seconds, as nearly all clusters have it.
    #[default]
    Seconds,
    /// Milliseconds, as on the VIP 5 cluster.
    Milliseconds,
}

/// Checks the settings of one app and makes the app.
pub(super) fn check(name: &str, config: &Config, field: Field<'_>) -> Option<App> {
    if name.is_empty()
        || !name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    {
        return field.refuse("may be named by a-z, 0-9, - and _ only");
    }
    let base_url = origin(
        &config.base_url,
        config.insecure_http,
        field.child("base_url"),
    );
    let public_base_url = match &config.public_base_url {
        // Recipients' devices decide what they accept.
        Some(url) => origin(url, true, field.child("public_base_url")),
        None => base_url.clone(),
    };
    let prefix = path_prefix(config, field);
    let credentials = credentials::check(config, field);
    check_timeouts(&config.timeouts, field.child("timeouts"));
    let connection_age = config.connection_age.unwrap_or(CONNECTION_AGE);
    if connection_age < Duration::from_secs(1) {
        let _refused: Option<()> = field
            .child("connection_age")
            .refuse("must be at least 1s: a new connection costs more than a call");
    }
    let proxy_ok = match &config.proxy_url {
        Some(ProxyUrl(url)) if reqwest::Proxy::all(url).is_err() => {
            field.child("proxy_url").refuse("is not a URL")
        }
        _ => Some(()),
    };
    let ca = config
        .ca_file
        .clone()
        .map(|path| Outside::new(Place::File(path), certificates));

    let credentials = credentials?;
    let (Some(base_url), Some(public_base_url), Some(prefix), Some(())) =
        (base_url, public_base_url, prefix, proxy_ok)
    else {
        // No app is made that could tell it later.
        super::note_unusable(super::outside(&credentials, ca.as_ref()), field);
        return None;
    };
    Some(App {
        name: Arc::from(name),
        base_url: format!("{base_url}{prefix}"),
        public_base_url: format!("{public_base_url}{prefix}"),
        credentials,
        limits: config.limits.clone(),
        quota: config.quota.clone(),
        timeouts: config.timeouts.clone(),
        connection_age,
        treat_503_as_not_sent: config.treat_503_as_not_sent,
        token_unit_ms: match config.token_unit {
            TokenUnit::Seconds => 1_000,
            TokenUnit::Milliseconds => 1,
        },
        proxy_url: config.proxy_url.clone(),
        ca,
    })
}

/// Timeouts that could not work. An app is made all the same: the caller looks at the violations.
fn check_timeouts(timeouts: &Timeouts, field: Field<'_>) {
    for (name, timeout) in [
        ("connect", timeouts.connect),
        ("attempt", timeouts.attempt),
        ("call", timeouts.call),
        ("token", timeouts.token),
    ] {
        if timeout.is_zero() {
            let _refused: Option<()> = field.child(name).refuse("must be longer than zero");
        }
    }
    if timeouts.attempt > timeouts.call {
        let _refused: Option<()> = field
            .child("attempt")
            .refuse("must not be longer than call, which bounds all attempts");
    }
}

/// Scheme, host and port as they were written, without a slash at the end.
fn origin(text: &str, insecure_http: bool, field: Field<'_>) -> Option<String> {
    if text.is_empty() {
        return field.refuse("is required: the app's REST host, such as https://a1.easemob.com");
    }
    let Ok(url) = Url::parse(text) else {
        return field.refuse("is not a URL such as https://a1.easemob.com");
    };
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return field.refuse("must start with https:// or http:// and a host");
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return field
            .refuse("must end after the host: the path follows from org_name and app_name");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return field.refuse("must not hold a user name or password");
    }
    if url.scheme() == "http" && !insecure_http && !is_loopback(&url) {
        return field.refuse(
            "is plain http: use https, or set insecure_http = true if something else on the way encrypts",
        );
    }
    Some(text.trim_end_matches('/').to_owned())
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn path_prefix(config: &Config, field: Field<'_>) -> Option<String> {
    match (&config.app_id, &config.org_name, &config.app_name) {
        (Some(_), Some(org), Some(app)) if config.credentials == CredentialKind::Agora => {
            org_and_app(org, app, field)
        }
        (Some(app_id), None, None) => Some(format!(
            "/app-id/{}",
            segment(app_id, field.child("app_id"))?
        )),
        (None, Some(org), Some(app)) => org_and_app(org, app, field),
        (Some(_), _, _) => field
            .child("app_id")
            .refuse("stands in place of org_name and app_name: set one or the other"),
        (None, org, _) => field
            .child(if org.is_none() {
                "org_name"
            } else {
                "app_name"
            })
            .refuse("is required: the App Key is org_name#app_name"),
    }
}

fn org_and_app(org: &str, app: &str, field: Field<'_>) -> Option<String> {
    let org = segment(org, field.child("org_name"));
    let app = segment(app, field.child("app_name"));
    Some(format!("/{}/{}", org?, app?))
}

/// A segment of the URL's path that can be nothing else.
fn segment<'t>(text: &'t str, field: Field<'_>) -> Option<&'t str> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if text.is_empty()
        || text.len() > 128
        || matches!(text, "." | "..")
        || !text.bytes().all(allowed)
    {
        return field.refuse("must be 1 to 128 of a-z A-Z 0-9 _ - and the full stop");
    }
    Some(text)
}

/// Certificates as PEM has them, at least one.
fn certificates(text: &str) -> Result<String, String> {
    let parsed = reqwest::Certificate::from_pem_bundle(text.as_bytes());
    match parsed {
        Ok(certificates) if !certificates.is_empty() => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err("holds no certificate in PEM".into()),
    }
}
