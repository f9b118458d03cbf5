//! A TLS handshake as the gateway would make it.

use std::sync::{Arc, PoisonError};

use rustls::{
    ClientConfig,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::{
    certificate::{self, Dates},
    distrust::wrong,
    finding::{Check, Fault, Finding},
    noting::{Noting, Seen},
    way::{Host, STEP},
};
use crate::easemob;

/// The authorities to trust: PEM and the setting that names it, or none for the system's.
pub(super) struct Trust<'a> {
    pub(super) pem: Option<&'a [u8]>,
    /// `apps.shop.ca_file`.
    pub(super) setting: &'a str,
}

/// Makes the handshake. None where whatever comes after it has no use.
pub(super) async fn shake_hands(
    socket: TcpStream,
    host: &Host<'_>,
    trust: &Trust<'_>,
    found: &mut Vec<Finding>,
) -> Option<()> {
    let trusting = match trust.pem {
        Some(_) => trust.setting,
        None => "the system's authorities",
    };
    let tried = format!(
        "a TLS handshake with {}:{}, trusting {trusting}",
        host.host, host.port
    );
    let check = Check::new(host.subject, "tls", tried);
    let unusable = |what: String, change: String| (what, Fault::Settings, change);
    let (what, fault, change) = match prepare(host, trust) {
        Err(what) => unusable(what, format!("correct {}", trust.setting)),
        Ok((config, name, seen)) => {
            let shaken = TlsConnector::from(Arc::new(config)).connect(name, socket);
            let shaken = timeout(STEP, shaken).await;
            let certificate = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
            match shaken {
                Ok(Ok(_stream)) => {
                    found.push(good(check, certificate.as_ref(), host));
                    return Some(());
                }
                Ok(Err(error)) => wrong(&error, certificate.as_ref(), host, trust),
                Err(_late) => (
                    format!("no end of the handshake within {} s", STEP.as_secs()),
                    Fault::Network,
                    format!(
                        "see whether {}:{} speaks TLS, and whether something on the way stops it",
                        host.host, host.port
                    ),
                ),
            }
        }
    };
    found.push(check.problem(what, fault, change));
    None
}

fn prepare(
    host: &Host<'_>,
    trust: &Trust<'_>,
) -> Result<(ClientConfig, ServerName<'static>, Seen), String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let provider = Arc::new(ring::default_provider());
    let inner = easemob::verifier(trust.pem)?;
    let seen = Seen::default();
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| text(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Noting {
            inner,
            seen: Arc::clone(&seen),
        }))
        .with_no_client_auth();
    let name = host.host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(name.to_owned()).map_err(|error| text(&error))?;
    Ok((config, name, seen))
}

fn good(check: Check<'_>, certificate: Option<&CertificateDer<'_>>, host: &Host<'_>) -> Finding {
    match certificate.map(certificate::dates) {
        Some(Dates::Good { until, soon: true }) => check.warning(
            format!("the certificate of {} ends soon: {until}", host.host),
            Fault::OtherSide,
            "have it renewed: calls will fail from then on",
        ),
        Some(Dates::Good { until, .. }) => check.ok(format!(
            "the certificate of {} is trusted, and good until {until}",
            host.host
        )),
        _ => check.ok(format!("the certificate of {} is trusted", host.host)),
    }
}
