//! App tokens: issued, checked, expired, revoked.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use super::State;
use super::answer::Answer;
use super::config::{Config, TokenUnit};
use super::locked;
use super::refusal::Refusal;

/// What every token of the API begins with.
const PREFIX: &str = "YWMt";

/// Most tokens known at once; the oldest are forgotten first.
const MOST: usize = 10_000;

/// Answers `POST /token`.
pub(super) fn issue(sandbox: &State, body: &[u8]) -> Result<Answer, Refusal> {
    let config = &sandbox.config;
    let request = Request::read(body, config)?;
    let lifetime = match (sandbox.tokens.forced_ttl(), request.ttl) {
        (Some(forced), _) => Some(forced),
        (None, None) => Some(config.token_ttl),
        (None, Some(0)) => None,
        (None, Some(ttl)) => Some(config.token_unit.duration(ttl)),
    };
    let now = sandbox.config.clock.now();
    let expires = lifetime.and_then(|lifetime| now.checked_add(lifetime));

    #[derive(Serialize)]
    struct Body<'a> {
        access_token: &'a str,
        expires_in: u64,
        application: &'a str,
    }
    Ok(Answer::json(
        StatusCode::OK,
        &Body {
            access_token: &sandbox.tokens.add(expires),
            // What a token that never expires is given here is not documented; 0 is the answer
            // that a careless client takes for an expired one.
            expires_in: lifetime.map_or(0, |lifetime| config.token_unit.count(lifetime)),
            application: &sandbox.application,
        },
    ))
}

impl TokenUnit {
    fn duration(self, count: u64) -> Duration {
        match self {
            Self::Seconds => Duration::from_secs(count),
            Self::Milliseconds => Duration::from_millis(count),
        }
    }

    fn count(self, duration: Duration) -> u64 {
        match self {
            Self::Seconds => duration.as_secs(),
            Self::Milliseconds => u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// What of a token request matters once it is found to be right.
struct Request {
    ttl: Option<u64>,
}

impl Request {
    fn read(body: &[u8], config: &Config) -> Result<Self, Refusal> {
        let fields: Map<String, Value> =
            serde_json::from_slice(body).map_err(|_| Refusal::invalid("not a JSON object"))?;
        let known = ["grant_type", "client_id", "client_secret", "ttl"];
        if let Some(field) = fields.keys().find(|name| !known.contains(&name.as_str()))
            && config.strict
        {
            return Err(Refusal::invalid(format!("unknown field {field:?}")));
        }
        let ttl = fields.get("ttl").map(ttl).transpose()?;
        let argument = |text| Refusal::new(StatusCode::BAD_REQUEST, "illegal_argument", text);
        let grant = |text| Refusal::new(StatusCode::BAD_REQUEST, "invalid_grant", text);
        match text(&fields, "grant_type")? {
            "client_credentials" => {}
            "" => return Err(argument("grant_type must be provided.")),
            _ => return Err(grant("grant_type must be client_credentials")),
        }
        match text(&fields, "client_id")? {
            "" => return Err(argument("client_id must be provided.")),
            id if id != config.client_id => return Err(grant("client_id does not match")),
            _ => {}
        }
        match text(&fields, "client_secret")? {
            // Without a full stop, unlike its neighbour.
            "" => return Err(argument("client_secret must be provided")),
            secret if secret != config.client_secret => {
                return Err(grant("client_secret does not match"));
            }
            _ => {}
        }
        Ok(Self { ttl })
    }
}

/// A string field; empty where it is missing.
fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a str, Refusal> {
    match fields.get(name) {
        None => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Refusal::invalid(format!("{name} is not a string"))),
    }
}

/// A number in most examples, a string in one.
fn ttl(value: &Value) -> Result<u64, Refusal> {
    let ttl = match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64(),
    };
    ttl.ok_or_else(|| Refusal::invalid("ttl is not a whole number from 0 up"))
}

/// The tokens that were issued.
pub(super) struct Tokens {
    issued: Mutex<Issued>,
    forced_ttl: Mutex<Option<Duration>>,
}

#[derive(Default)]
struct Issued {
    tokens: HashMap<String, Token>,
    order: VecDeque<String>,
}

struct Token {
    /// `None` for never.
    expires: Option<Duration>,
    revoked: bool,
}

impl Tokens {
    pub(super) fn new() -> Self {
        Self {
            issued: Mutex::default(),
            forced_ttl: Mutex::new(None),
        }
    }

    /// Makes every token from now on live so long, whatever the request asks for.
    pub(super) fn force_ttl(&self, ttl: Option<Duration>) {
        *locked(&self.forced_ttl) = ttl;
    }

    fn forced_ttl(&self) -> Option<Duration> {
        *locked(&self.forced_ttl)
    }

    fn add(&self, expires: Option<Duration>) -> String {
        let random = std::iter::repeat_with(fastrand::alphanumeric).take(64);
        let token: String = PREFIX.chars().chain(random).collect();
        let mut issued = locked(&self.issued);
        let revoked = false;
        let entry = Token { expires, revoked };
        issued.tokens.insert(token.clone(), entry);
        issued.order.push_back(token.clone());
        if issued.order.len() > MOST
            && let Some(oldest) = issued.order.pop_front()
        {
            issued.tokens.remove(&oldest);
        }
        token
    }

    pub(super) fn revoke_all(&self) {
        for token in locked(&self.issued).tokens.values_mut() {
            token.revoked = true;
        }
    }

    /// Lets a call pass that carries a token which is good now.
    pub(super) fn check(&self, headers: &HeaderMap, now: Duration) -> Result<(), Refusal> {
        let refuse = |error, text| Err(Refusal::new(StatusCode::UNAUTHORIZED, error, text));
        let expired = "Unable to authenticate due to expired access token";
        let Some(authorization) = headers.get(AUTHORIZATION) else {
            // The same words as for an expired one.
            return refuse("unauthorized", expired);
        };
        let authorization = authorization.to_str().unwrap_or_default();
        let token = match authorization.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token,
            _ => "",
        };
        if !token.starts_with(PREFIX) {
            let corrupt = "Unable to authenticate due to corrupt access token";
            return refuse("auth_bad_access_token", corrupt);
        }
        match locked(&self.issued).tokens.get(token) {
            // Issued by another cluster or for another app, as far as the API can tell.
            None => refuse("auth_bad_access_token", "Unable to authenticate"),
            Some(token) if token.revoked => {
                refuse("unauthorized", "Unable to authenticate (OAuth)")
            }
            Some(Token {
                expires: Some(at), ..
            }) if *at <= now => refuse("unauthorized", expired),
            Some(_) => Ok(()),
        }
    }
}
