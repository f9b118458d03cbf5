//! Who may come in: which methods need a caller, and how a call proves whose it is.

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use http::HeaderValue;

use super::{Peer, layer::is_ours};
use crate::{
    caller::{Audit, Caller, Callers, Config, Mode, Reflection, Refusal, key},
    proto::messaging_service_server::SERVICE_NAME,
};

/// The rules of the door, shared by all shards.
#[derive(Debug, Clone)]
pub struct Auth {
    mode: Mode,
    reflection: Reflection,
    callers: Arc<ArcSwap<Callers>>,
    audit: Audit,
}

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Everybody.
    Open,
    /// A caller who has proved who it is.
    Caller,
    /// Nobody: it is switched off.
    Off,
}

impl Auth {
    /// By these settings, for these callers.
    pub fn new(config: &Config, callers: Callers) -> Self {
        Self {
            mode: config.mode,
            reflection: config.reflection,
            callers: Arc::new(ArcSwap::from_pointee(callers)),
            audit: Audit::default(),
        }
    }

    /// Lets everybody use everything, as `auth.mode = "none"` does.
    pub fn anonymous() -> Self {
        Self::new(&Config::default(), Callers::default())
    }

    /// Takes over another list of callers, for calls from now on.
    pub fn replace(&self, callers: Callers) {
        self.callers.store(Arc::new(callers));
    }

    /// Whoever is not known learns nothing, not even which methods there are: what is not named here needs
    /// a caller.
    pub(super) fn rule(&self, path: &str) -> Rule {
        if is_ours(path) {
            return Rule::Caller;
        }
        let service = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        match service.map_or("", |(service, _method)| service) {
            // Probes and load balancers have no keys, and it tells only whether the process is ready.
            "grpc.health.v1.Health" => Rule::Open,
            "grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection" => {
                match self.reflection {
                    Reflection::Open => Rule::Open,
                    Reflection::Callers => Rule::Caller,
                    Reflection::Off => Rule::Off,
                }
            }
            _ => Rule::Caller,
        }
    }

    /// Whose call it is. The metadata is believed in one point, the key, and the certificate is the one that
    /// was verified on this very connection: what proxies say in headers of theirs anybody can say.
    pub(super) fn caller(
        &self,
        authorization: Option<&HeaderValue>,
        peer: &Peer,
    ) -> Result<Caller, Refusal> {
        let callers = self.callers.load();
        match self.mode {
            Mode::None => Ok(Caller::anonymous()),
            Mode::ApiKey => {
                let header = authorization.ok_or(Refusal::NoKey)?.as_bytes();
                if let Some(caller) = peer.last_key.of(header, &callers) {
                    return Ok(caller);
                }
                let key = bearer(header).ok_or(Refusal::NoKey)?;
                let caller = callers.by_key(key).ok_or(Refusal::UnknownKey)?;
                peer.last_key.was(header, &callers, caller);
                Ok(caller.clone())
            }
            Mode::Mtls => {
                let identity = peer.identity.as_ref().ok_or(Refusal::NoCertificate)?;
                let caller = callers.by_identity(identity);
                Ok(caller.ok_or(Refusal::UnknownCertificate)?.clone())
            }
        }
    }

    /// Notes that a call was refused, for whoever watches the door.
    pub(super) fn refused(&self, refusal: Refusal, from: Option<IpAddr>, path: &str) {
        // A path is the peer's own text; the names of our methods are ours.
        let method = path
            .strip_prefix('/')
            .and_then(|path| path.strip_prefix(SERVICE_NAME))
            .and_then(|method| method.strip_prefix('/'))
            .filter(|method| method.len() < 40 && method.bytes().all(|b| b.is_ascii_alphabetic()));
        self.audit
            .refused(refusal, None, from, method.unwrap_or("another service"));
    }

    /// Notes that a caller was refused an app.
    pub(super) fn refused_app(&self, caller: &Caller, app: &str) {
        // What cannot be a name is the caller's own text.
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
        let is_name = app.len() <= 64 && app.bytes().all(allowed);
        let app = if is_name { app } else { "no name of an app" };
        self.audit.refused(Refusal::App, Some(caller), None, app);
    }
}

/// The key in a header.
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = header.split_at_checked("Bearer ".len())?;
    let is_key = scheme.eq_ignore_ascii_case(b"Bearer ")
        && !key.is_empty()
        && key.len() <= key::MAX_BYTES
        // All of it, which is many bytes at once.
        && key.iter().fold(true, |all, b| all & b.is_ascii_graphic());
    is_key.then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_bearer_token() {
        let key = |header: &str| {
            let key = bearer(header.as_bytes());
            key.map(|key| String::from_utf8(key.to_vec()).unwrap())
        };
        assert_eq!(key("Bearer egk_1").as_deref(), Some("egk_1"));
        assert_eq!(key("bearer egk_1").as_deref(), Some("egk_1"));
        let long = format!("Bearer {}", "x".repeat(key::MAX_BYTES + 1));
        for wrong in [
            "",
            "egk_1",
            "Basic egk_1",
            "Bearer ",
            "Bearer",
            "Bearer a b",
            &long,
        ] {
            assert_eq!(key(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_not_known_needs_a_caller() {
        let auth = |reflection| {
            let config = Config {
                reflection,
                ..Config::default()
            };
            Auth::new(&config, Callers::default())
        };
        let open = auth(Reflection::Open);
        assert_eq!(open.rule("/grpc.health.v1.Health/Check"), Rule::Open);
        for path in [
            "",
            "/",
            "*",
            "/Health",
            "/x.Health/Check",
            "/grpc.health.v1.Healthy/Check",
        ] {
            assert_eq!(open.rule(path), Rule::Caller, "{path}");
        }
        let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        assert_eq!(open.rule(reflection), Rule::Open);
        assert_eq!(auth(Reflection::Callers).rule(reflection), Rule::Caller);
        assert_eq!(auth(Reflection::Off).rule(reflection), Rule::Off);
    }
}
