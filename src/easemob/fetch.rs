//! One fetch of a token: asked for at Easemob, or made here, by the kind of the app's credentials.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::HeaderValue;
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    FirstByte,
    access_token::{self, Claims},
    endpoint::Endpoint,
    error::{self, Error, Kind},
    record,
    token::Fetched,
    transport::{self, Call, Transport},
};
use crate::{
    app::{App, Credentials, Outside},
    metrics::{self, Fetches},
};

/// What tokens of an app are fetched with.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) app: Arc<App>,
    pub(super) transport: Transport,
    pub(super) endpoint: Endpoint,
    pub(super) attempts: metrics::Endpoint,
    pub(super) fetches: Fetches,
}

/// What one fetch of a token shows.
#[derive(Debug)]
pub struct Probe {
    /// The token's lifetime, where Easemob tells it; or why there is no token.
    pub outcome: Result<Option<Duration>, Error>,
    /// The `Date` of the answer.
    pub date: Option<HeaderValue>,
}

#[derive(Serialize)]
#[serde(tag = "grant_type", rename_all = "snake_case")]
enum Request<'a> {
    ClientCredentials {
        client_id: &'a str,
        client_secret: &'a str,
    },
    Agora,
}

#[derive(Deserialize)]
struct Reply {
    access_token: String,
    #[serde(default)]
    expires_in: serde_json::Value,
    /// In milliseconds since 1970: what an exchanged token has in place of `expires_in`.
    #[serde(default)]
    expire_timestamp: serde_json::Value,
}

impl Source {
    /// A new token.
    pub(super) async fn fetch(self: Arc<Self>) -> Result<Fetched, Error> {
        let new_credentials = self.read_again().await;
        let fetched = self.get().await.map(|fetched| Fetched {
            new_credentials,
            ..fetched
        });
        let outcome = fetched.as_ref().map(|_token| ());
        self.fetches
            .ended(outcome.map_err(|error| error.kind.name()));
        fetched
    }

    async fn get(&self) -> Result<Fetched, Error> {
        match &self.app.credentials {
            Credentials::Easemob {
                client_id,
                client_secret,
            } => {
                let client_secret = present(client_secret)?;
                let request = Request::ClientCredentials {
                    client_id,
                    client_secret: client_secret.expose_secret(),
                };
                self.ask(&request, None).await
            }
            Credentials::Agora {
                app_id,
                app_certificate,
                exchange,
            } => {
                let token = access_token(app_id, present(app_certificate)?.expose_secret())?;
                let authorization = bearer(&token)?;
                if *exchange {
                    return self.ask(&Request::Agora, Some(authorization)).await;
                }
                Ok(Fetched {
                    authorization,
                    lifetime: Some(access_token::LIFETIME),
                    new_credentials: false,
                })
            }
        }
    }

    /// A secret may have changed since anybody looked: whether it has. Where it cannot be read, the one before
    /// serves.
    async fn read_again(&self) -> bool {
        let app = Arc::clone(&self.app);
        // Files are read where they block nobody.
        let read = tokio::task::spawn_blocking(move || {
            let mut changed = false;
            for (setting, outside) in app.outside() {
                match outside.reload() {
                    Ok(new) => changed |= new,
                    Err(what) => tracing::warn!(app = &*app.name, "{setting} {what}"),
                }
            }
            changed
        });
        // It cannot panic, and if it could, the one before would serve as well.
        read.await.unwrap_or_default()
    }

    async fn ask(
        &self,
        request: &Request<'_>,
        authorization: Option<HeaderValue>,
    ) -> Result<Fetched, Error> {
        let attempt = self.attempts.attempt();
        let reply = self.post(request, authorization).await;
        let fetched = reply.and_then(|reply| self.read(&reply));
        record(attempt, &fetched);
        fetched
    }

    /// One fetch that nobody waits for, as `doctor` makes it: what became of it, and the time by the clock of
    /// whoever answered. A token that is made here is exchanged in any case, which shows whether it is taken.
    pub(super) async fn probe(&self) -> Probe {
        let reply = match &self.app.credentials {
            Credentials::Easemob {
                client_id,
                client_secret,
            } => match present(client_secret) {
                Ok(client_secret) => {
                    let client_secret = client_secret.expose_secret();
                    let request = Request::ClientCredentials {
                        client_id,
                        client_secret,
                    };
                    self.post(&request, None).await
                }
                Err(error) => Err(error),
            },
            Credentials::Agora {
                app_id,
                app_certificate,
                ..
            } => {
                let token = present(app_certificate)
                    .and_then(|certificate| access_token(app_id, certificate.expose_secret()))
                    .and_then(|token| bearer(&token));
                match token {
                    Ok(token) => self.post(&Request::Agora, Some(token)).await,
                    Err(error) => Err(error),
                }
            }
        };
        let date = reply.as_ref().ok().and_then(|reply| reply.date.clone());
        let fetched = reply.and_then(|reply| self.read(&reply));
        Probe {
            outcome: fetched.map(|fetched| fetched.lifetime),
            date,
        }
    }

    async fn post(
        &self,
        request: &Request<'_>,
        authorization: Option<HeaderValue>,
    ) -> Result<transport::Reply, Error> {
        let call = Call {
            endpoint: &self.endpoint,
            authorization,
            json: serde_json::to_vec(request).expect("strings always serialise"),
            first_byte: FirstByte::default(),
            began: Instant::now(),
            timeout: self.app.timeouts.token,
        };
        // Whatever becomes of this call, no message was sent by it.
        let reply = self.transport.post(call).await;
        reply.map_err(|broken| unreachable(broken.what))
    }

    fn read(&self, reply: &transport::Reply) -> Result<Fetched, Error> {
        if reply.status != 200 {
            return Err(error::of_token(reply));
        }
        let token = serde_json::from_slice(&reply.body)
            .ok()
            .filter(|token: &Reply| !token.access_token.is_empty())
            .ok_or_else(|| unreachable("Easemob's answer has none that can be read"))?;
        Ok(Fetched {
            authorization: bearer(&token.access_token)?,
            lifetime: lifetime(&token.expires_in, self.app.token_unit_ms)
                .or_else(|| until(&token.expire_timestamp)),
            new_credentials: false,
        })
    }
}

/// A secret that could be read.
fn present(secret: &Outside) -> Result<Arc<SecretString>, Error> {
    secret.get().ok_or_else(|| {
        // Its place is told to the operator, in the log, and is no business of callers.
        Error::new(
            Kind::CredentialsMissing,
            "no token: the gateway cannot read the secret of this app's credentials",
        )
    })
}

fn access_token(app_id: &str, app_certificate: &str) -> Result<String, Error> {
    let fault = |what: &str| unreachable(format!("none can be made: {what}"));
    let now = since_1970().ok_or_else(|| fault("the clock is wrong"))?;
    let mut salt = [0; 4];
    SystemRandom::new()
        .fill(&mut salt)
        .map_err(|_| fault("there are no random numbers"))?;
    let claims = Claims {
        app_id,
        app_certificate,
        issued_at: u32::try_from(now.as_secs()).map_err(|_| fault("the clock is wrong"))?,
        salt: u32::from_le_bytes(salt),
    };
    claims.sign().ok_or_else(|| fault("the App ID is too long"))
}

fn bearer(token: &str) -> Result<HeaderValue, Error> {
    let mut authorization = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| unreachable("Easemob's token is no header value"))?;
    authorization.set_sensitive(true);
    Ok(authorization)
}

fn unreachable(what: impl std::fmt::Display) -> Error {
    Error::new(Kind::Unreachable, format!("no token: {what}"))
}

/// The lifetime that an answer tells. None where it tells none, or one that cannot be: 0 stands for a
/// token that never expires.
fn lifetime(expires_in: &serde_json::Value, unit_ms: u64) -> Option<Duration> {
    let units = match expires_in {
        serde_json::Value::Number(number) => number.as_f64(),
        serde_json::Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }?;
    #[expect(clippy::cast_precision_loss, reason = "1 or 1,000")]
    let seconds = units * (unit_ms as f64) / 1_000.0;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|lifetime| !lifetime.is_zero())
}

/// The time that is left until an instant, by our clock.
fn until(timestamp: &serde_json::Value) -> Option<Duration> {
    Duration::from_millis(timestamp.as_u64()?).checked_sub(since_1970()?)
}

fn since_1970() -> Option<Duration> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn odd_lifetimes_are_none_or_what_they_say() {
        let seconds = |value| lifetime(&value, 1_000).map(|lifetime| lifetime.as_secs());
        assert_eq!(seconds(json!(86_400)), Some(86_400));
        assert_eq!(seconds(json!("86400")), Some(86_400));
        assert_eq!(seconds(json!(1u64 << 40)), Some(1 << 40));
        for none in [
            json!(0),
            json!(-1),
            json!(null),
            json!("soon"),
            json!([1]),
            json!(1e300),
        ] {
            assert_eq!(seconds(none), None);
        }
        assert_eq!(
            lifetime(&json!(86_400_000), 1),
            Some(Duration::from_secs(86_400))
        );
    }

    #[test]
    fn odd_ends_of_a_life_are_none() {
        let now = u64::try_from(since_1970().unwrap().as_millis()).unwrap();
        let left = until(&json!(now + 60_000)).unwrap();
        assert!(left > Duration::from_secs(50) && left <= Duration::from_secs(60));
        for none in [
            json!(0),
            json!(now - 1),
            json!(-1),
            json!("soon"),
            json!(null),
        ] {
            assert_eq!(until(&none), None);
        }
    }
}
