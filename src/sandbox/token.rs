//! App tokens: issued, checked, expired, revoked.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use super::State;
use super::agora::{self, Flaw};
use super::answer::Answer;
use super::config::TokenUnit;
use super::locked;
use super::refusal::Refusal;

/// What every token of the API begins with.
const PREFIX: &str = "YWMt";

const EXPIRED: &str = "Unable to authenticate due to expired access token";
const CORRUPT: &str = "Unable to authenticate due to corrupt access token";

/// Most tokens known at once; the oldest are forgotten first.
const MOST: usize = 10_000;

/// Answers `POST /token`.
pub(super) fn issue(sandbox: &State, headers: &HeaderMap, body: &[u8]) -> Result<Answer, Refusal> {
    let config = &sandbox.config;
    let settings = sandbox.settings.load();
    let request = match Request::read(body, sandbox)? {
        Grant::ClientCredentials(request) => request,
        Grant::Agora => return exchange(sandbox, headers),
    };
    let lifetime = match (sandbox.tokens.forced_ttl(), request.ttl) {
        (Some(forced), _) => Some(forced),
        (None, None) => Some(settings.token_ttl),
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

/// One of our tokens for one that the client has made: good as long as that one.
fn exchange(sandbox: &State, headers: &HeaderMap) -> Result<Answer, Refusal> {
    let token = bearer(headers)?;
    let until = agora::verify(sandbox, token).map_err(refuse_agora)?;

    #[derive(Serialize)]
    struct Body<'a> {
        access_token: &'a str,
        expire_timestamp: u64,
    }
    Ok(Answer::json(
        StatusCode::OK,
        &Body {
            access_token: &sandbox.tokens.add(Some(until)),
            expire_timestamp: agora::timestamp_ms(sandbox, until),
        },
    ))
}

/// Lets a call pass that carries a token which is good now: one that we issued, or one that the client
/// has made by itself.
pub(super) fn check(sandbox: &State, headers: &HeaderMap) -> Result<(), Refusal> {
    let token = bearer(headers)?;
    if token.starts_with(agora::PREFIX) {
        return agora::verify(sandbox, token)
            .map(drop)
            .map_err(refuse_agora);
    }
    sandbox.tokens.check(token, sandbox.config.clock.now())
}

fn refuse(error: &'static str, text: &'static str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, error, text)
}

fn refuse_agora(flaw: Flaw) -> Refusal {
    match flaw {
        Flaw::Corrupt => refuse("auth_bad_access_token", CORRUPT),
        Flaw::Foreign => refuse("auth_bad_access_token", "Unable to authenticate"),
        Flaw::Expired => refuse("unauthorized", EXPIRED),
        Flaw::NoPrivilege => refuse("unauthorized", "No admin user access authorized"),
    }
}

/// The token that a call carries; empty where the header is none of ours.
fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let Some(authorization) = headers.get(AUTHORIZATION) else {
        // The same words as for an expired one.
        return Err(refuse("unauthorized", EXPIRED));
    };
    let authorization = authorization.to_str().unwrap_or_default();
    Ok(match authorization.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token,
        _ => "",
    })
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

/// What a client asks by.
enum Grant {
    ClientCredentials(Request),
    /// By a token that it has made, in the header.
    Agora,
}

/// What of a token request matters once it is found to be right.
struct Request {
    ttl: Option<u64>,
}

impl Request {
    fn read(body: &[u8], sandbox: &State) -> Result<Grant, Refusal> {
        let config = &sandbox.config;
        let fields: Map<String, Value> =
            serde_json::from_slice(body).map_err(|_| Refusal::invalid("not a JSON object"))?;
        let known = ["grant_type", "client_id", "client_secret", "ttl"];
        if let Some(field) = fields.keys().find(|name| !known.contains(&name.as_str()))
            && sandbox.settings.load().strict
        {
            return Err(Refusal::invalid(format!("unknown field {field:?}")));
        }
        let ttl = fields.get("ttl").map(ttl).transpose()?;
        let argument = |text| Refusal::new(StatusCode::BAD_REQUEST, "illegal_argument", text);
        let grant = |text| Refusal::new(StatusCode::BAD_REQUEST, "invalid_grant", text);
        match text(&fields, "grant_type")? {
            "client_credentials" => {}
            "agora" => return Ok(Grant::Agora),
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
            secret if secret != *locked(&sandbox.tokens.client_secret) => {
                return Err(grant("client_secret does not match"));
            }
            _ => {}
        }
        Ok(Grant::ClientCredentials(Self { ttl }))
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
    /// The one that is asked for.
    client_secret: Mutex<String>,
}

#[derive(Default)]
struct Issued {
    tokens: HashMap<String, Token>,
    order: VecDeque<String>,
}

struct Token {
    issued: SystemTime,
    /// By the sandbox's clock; `None` for never.
    expires: Option<Duration>,
    revoked: bool,
}

impl Tokens {
    pub(super) fn new(client_secret: &str) -> Self {
        Self {
            issued: Mutex::default(),
            forced_ttl: Mutex::new(None),
            client_secret: Mutex::new(client_secret.to_owned()),
        }
    }

    pub(super) fn set_client_secret(&self, secret: String) {
        *locked(&self.client_secret) = secret;
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
        let entry = Token {
            issued: SystemTime::now(),
            expires,
            revoked: false,
        };
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

    /// Refuses the token of this call from now on.
    pub(super) fn revoke(&self, headers: &HeaderMap) {
        let token = bearer(headers).unwrap_or_default();
        if let Some(token) = locked(&self.issued).tokens.get_mut(token) {
            token.revoked = true;
        }
    }

    /// The newest, oldest of them first.
    pub(super) fn list(&self, limit: usize, now: Duration) -> Vec<Listed> {
        let issued = locked(&self.issued);
        let newest = issued.order.iter().rev().take(limit);
        let mut listed: Vec<_> = newest
            .filter_map(|name| {
                let token = issued.tokens.get(name)?;
                let left = token.expires.map(|at| at.saturating_sub(now));
                Some(Listed {
                    token: shortened(name),
                    issued: humantime::format_rfc3339_millis(token.issued).to_string(),
                    seconds_left: left.map(|left| left.as_secs()),
                    good: !token.revoked && token.expires.is_none_or(|at| at > now),
                    revoked: token.revoked,
                })
            })
            .collect();
        listed.reverse();
        listed
    }

    /// Lets a token pass that was issued and is good now.
    fn check(&self, token: &str, now: Duration) -> Result<(), Refusal> {
        if !token.starts_with(PREFIX) {
            return Err(refuse("auth_bad_access_token", CORRUPT));
        }
        match locked(&self.issued).tokens.get(token) {
            // Issued by another cluster or for another app, as far as the API can tell.
            None => Err(refuse("auth_bad_access_token", "Unable to authenticate")),
            Some(token) if token.revoked => {
                Err(refuse("unauthorized", "Unable to authenticate (OAuth)"))
            }
            Some(Token {
                expires: Some(at), ..
            }) if *at <= now => Err(refuse("unauthorized", EXPIRED)),
            Some(_) => Ok(()),
        }
    }
}

/// A token as it is shown.
#[derive(Serialize)]
pub(super) struct Listed {
    token: String,
    issued: String,
    /// `None` for one that never expires.
    seconds_left: Option<u64>,
    good: bool,
    revoked: bool,
}

/// The token that a call carries, as much of it as tells it from others and is of no use.
pub(super) fn shown(headers: &HeaderMap) -> Option<String> {
    bearer(headers).ok().map(shortened)
}

fn shortened(token: &str) -> String {
    let (first, last) = (8, 4);
    if token.len() < 4 * (first + last) || !token.is_ascii() {
        return "…".to_owned();
    }
    format!("{}…{}", &token[..first], &token[token.len() - last..])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sandbox::testing::{ask_token, send, text_to, token, token_request};
    use crate::sandbox::{Clock, Config, Endpoint, Rate, Sandbox};

    const DAY: u64 = 24 * 60 * 60;

    fn frozen() -> Sandbox {
        start(Config::for_tests())
    }

    fn start(config: Config) -> Sandbox {
        let clock = Clock::frozen();
        Sandbox::start(Config { clock, ..config }).unwrap()
    }

    fn with(field: &str, value: Value) -> Value {
        let mut request = token_request();
        request[field] = value;
        request
    }

    /// The error of a send with this token; `None` where it is accepted.
    fn refused(sandbox: &Sandbox, token: &str) -> Option<(u16, String, String)> {
        let endpoint = Endpoint::SendToUsers;
        let reply = send(sandbox, endpoint, token, &text_to(endpoint, &["bob"]));
        (reply.status != 200).then(|| reply.error())
    }

    fn unauthorized(error: &str, description: &str) -> Option<(u16, String, String)> {
        Some((401, error.to_owned(), description.to_owned()))
    }

    #[test]
    fn a_token_answer_has_three_fields_and_no_envelope() {
        let sandbox = frozen();
        let reply = ask_token(&sandbox, &token_request());
        assert_eq!(reply.status, 200);
        let json = reply.json();
        let mut fields: Vec<_> = json.as_object().unwrap().keys().collect();
        fields.sort();
        assert_eq!(fields, ["access_token", "application", "expires_in"]);
        assert!(json["access_token"].as_str().unwrap().starts_with("YWMt"));
        assert_eq!(json["expires_in"], 60 * DAY);
    }

    #[test]
    fn ttl_is_a_number_or_a_string() {
        let sandbox = frozen();
        for ttl in [json!(90), json!("90")] {
            let reply = ask_token(&sandbox, &with("ttl", ttl));
            assert_eq!(reply.json()["expires_in"], 90);
        }
        for ttl in [json!(-1), json!(1.5), json!("soon"), json!(null), json!([])] {
            let (status, error, _) = ask_token(&sandbox, &with("ttl", ttl)).error();
            assert_eq!((status, error.as_str()), (400, "invalid_request_body"));
        }
    }

    #[test]
    fn a_token_of_ttl_0_never_expires_and_says_0() {
        let sandbox = frozen();
        let reply = ask_token(&sandbox, &with("ttl", json!(0))).json();
        assert_eq!(reply["expires_in"], 0);
        sandbox.advance(Duration::from_secs(1000 * DAY));
        assert_eq!(
            refused(&sandbox, reply["access_token"].as_str().unwrap()),
            None
        );
    }

    #[test]
    fn a_ttl_beyond_all_time_is_no_reason_to_fall_over() {
        let sandbox = frozen();
        let reply = ask_token(&sandbox, &with("ttl", json!(u64::MAX)));
        assert_eq!(reply.json()["expires_in"], u64::MAX);
    }

    #[test]
    fn the_unit_can_be_milliseconds() {
        let sandbox = start(Config {
            token_unit: TokenUnit::Milliseconds,
            ..Config::for_tests()
        });
        let reply = ask_token(&sandbox, &token_request()).json();
        assert_eq!(reply["expires_in"], 60 * DAY * 1000);
        let reply = ask_token(&sandbox, &with("ttl", json!(1500))).json();
        assert_eq!(reply["expires_in"], 1500);
        sandbox.advance(Duration::from_millis(1500));
        assert!(refused(&sandbox, reply["access_token"].as_str().unwrap()).is_some());
    }

    #[test]
    fn wrong_requests_get_the_documented_errors() {
        let sandbox = frozen();
        let invalid = "Request body is invalid. Please check body is correct.";
        let cases = [
            (
                with("client_id", json!("")),
                "illegal_argument",
                "client_id must be provided.",
            ),
            (
                with("client_secret", json!("")),
                "illegal_argument",
                "client_secret must be provided",
            ),
            (
                with("client_id", json!("x")),
                "invalid_grant",
                "client_id does not match",
            ),
            (
                with("client_secret", json!("x")),
                "invalid_grant",
                "client_secret does not match",
            ),
            (
                json!({"grant_type": "client_credentials"}),
                "illegal_argument",
                "client_id must be provided.",
            ),
            (with("client_id", json!(7)), "invalid_request_body", invalid),
            (with("scope", json!("all")), "invalid_request_body", invalid),
            (json!([]), "invalid_request_body", invalid),
        ];
        for (request, error, description) in cases {
            let expected = (400, error.to_owned(), description.to_owned());
            assert_eq!(ask_token(&sandbox, &request).error(), expected, "{request}");
        }
        for grant in [json!(""), json!("password")] {
            assert_eq!(ask_token(&sandbox, &with("grant_type", grant)).status, 400);
        }
    }

    #[test]
    fn a_new_token_leaves_the_others_alone() {
        let sandbox = frozen();
        let (first, second) = (token(&sandbox), token(&sandbox));
        assert_ne!(first, second);
        assert_eq!(refused(&sandbox, &first), None);
        assert_eq!(refused(&sandbox, &second), None);
    }

    #[test]
    fn a_token_is_good_until_it_expires() {
        let sandbox = frozen();
        let reply = ask_token(&sandbox, &with("ttl", json!(60))).json();
        let token = reply["access_token"].as_str().unwrap();
        sandbox.advance(Duration::from_secs(59));
        assert_eq!(refused(&sandbox, token), None);
        sandbox.advance(Duration::from_secs(1));
        let expired = "Unable to authenticate due to expired access token";
        assert_eq!(
            refused(&sandbox, token),
            unauthorized("unauthorized", expired)
        );
    }

    #[test]
    fn a_forced_ttl_wins_over_the_request() {
        let sandbox = frozen();
        sandbox.set_token_ttl(Duration::from_secs(5));
        let reply = ask_token(&sandbox, &with("ttl", json!(600))).json();
        assert_eq!(reply["expires_in"], 5);
        sandbox.set_token_ttl(None);
        let reply = ask_token(&sandbox, &with("ttl", json!(600))).json();
        assert_eq!(reply["expires_in"], 600);
    }

    #[test]
    fn revoked_tokens_are_refused_and_later_ones_are_not() {
        let sandbox = frozen();
        let old = token(&sandbox);
        sandbox.revoke_tokens();
        let refusal = unauthorized("unauthorized", "Unable to authenticate (OAuth)");
        assert_eq!(refused(&sandbox, &old), refusal);
        assert_eq!(refused(&sandbox, &token(&sandbox)), None);
    }

    #[test]
    fn a_token_that_was_never_issued_is_foreign_or_corrupt() {
        let sandbox = frozen();
        let foreign = unauthorized("auth_bad_access_token", "Unable to authenticate");
        assert_eq!(refused(&sandbox, "YWMtElsewhere"), foreign);
        let corrupt = "Unable to authenticate due to corrupt access token";
        let corrupt = unauthorized("auth_bad_access_token", corrupt);
        assert_eq!(refused(&sandbox, "nonsense"), corrupt);
        assert_eq!(refused(&sandbox, ""), corrupt);
    }

    #[test]
    fn no_token_at_all_counts_as_an_expired_one() {
        let refusal = bearer(&HeaderMap::new()).unwrap_err();
        assert_eq!(refusal.status, 401);
        assert_eq!(refusal.error, "unauthorized");
        let expired = "Unable to authenticate due to expired access token";
        assert_eq!(refusal.description, expired);
    }

    #[test]
    fn the_oldest_token_is_forgotten_when_there_are_too_many() {
        let tokens = Tokens::new("");
        let check = |token: &str| tokens.check(token, Duration::ZERO).is_ok();
        let first = tokens.add(None);
        let second = tokens.add(None);
        for _ in 0..MOST - 2 {
            tokens.add(None);
        }
        assert!(check(&first));
        tokens.add(None);
        assert!(!check(&first));
        assert!(check(&second));
    }

    #[test]
    fn token_calls_have_a_rate_of_their_own() {
        let mut config = Config::for_tests();
        config.quotas.token = Some(Rate::per_second(2));
        let sandbox = start(config);
        let ask = || ask_token(&sandbox, &token_request()).status;
        assert_eq!([ask(), ask(), ask()], [200, 200, 429]);
        sandbox.advance(Duration::from_secs(1));
        assert_eq!(ask(), 200);
    }
}
