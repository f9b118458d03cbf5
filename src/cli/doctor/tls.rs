//! A TLS handshake as the gateway would make it, and what is wrong with the certificate in words.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::{
    certificate::{self, Dates},
    finding::{Check, Fault, Finding},
    way::{Host, STEP},
};

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

type Seen = Arc<Mutex<Option<CertificateDer<'static>>>>;

fn prepare(
    host: &Host<'_>,
    trust: &Trust<'_>,
) -> Result<(ClientConfig, ServerName<'static>, Seen), String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let provider = Arc::new(ring::default_provider());
    let inner: Arc<dyn ServerCertVerifier> = match trust.pem {
        None => Arc::new(
            rustls_platform_verifier::Verifier::new(Arc::clone(&provider))
                .map_err(|error| format!("the system's authorities cannot be used: {error}"))?,
        ),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|_| "it holds no certificate in PEM")?;
                roots.add(certificate).map_err(|error| text(&error))?;
            }
            let builder =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            builder.build().map_err(|error| text(&error))?
        }
    };
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

/// What was wrong, whose fault it is, and what to change.
fn wrong(
    error: &io::Error,
    certificate: Option<&CertificateDer<'_>>,
    host: &Host<'_>,
    trust: &Trust<'_>,
) -> (String, Fault, String) {
    let Host {
        host: name,
        setting,
        ..
    } = host;
    let error = error.get_ref().and_then(|inner| inner.downcast_ref());
    match error {
        Some(Error::InvalidCertificate(reason)) => bad(reason, certificate, host, trust),
        Some(Error::InvalidMessage(_)) => (
            "what answers there does not speak TLS: plain HTTP, as it seems".into(),
            Fault::Settings,
            format!("correct the port in {setting}, or its https:// to http:// if that is meant"),
        ),
        Some(error) => (
            format!("the handshake failed: {error}"),
            Fault::OtherSide,
            format!(
                "see whether {name} offers TLS 1.2 or 1.3 to this machine, and correct {setting} if it is another host"
            ),
        ),
        None => (
            "the connection was closed in the handshake".into(),
            Fault::Network,
            format!(
                "see whether {name} speaks TLS there, and whether something on the way closes it"
            ),
        ),
    }
}

fn bad(
    reason: &CertificateError,
    certificate: Option<&CertificateDer<'_>>,
    host: &Host<'_>,
    trust: &Trust<'_>,
) -> (String, Fault, String) {
    let Host {
        host: name,
        setting,
        ..
    } = host;
    let of = format!("the certificate of {name}");
    let clock = "have it renewed; first see whether the clock of this machine is right";
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            let at = match certificate.map(certificate::dates) {
                Some(Dates::Expired { at }) => format!(" at {at}"),
                _ => String::new(),
            };
            (
                format!("{of} has expired{at}"),
                Fault::OtherSide,
                clock.into(),
            )
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            format!("{of} is not valid yet"),
            Fault::OtherSide,
            clock.into(),
        ),
        CertificateError::NotValidForName => (
            format!("{of} is for another host"),
            Fault::Settings,
            format!("correct {setting}"),
        ),
        CertificateError::NotValidForNameContext { presented, .. } => (
            format!("{of} is for another host: {}", presented.join(", ")),
            Fault::Settings,
            format!(
                "correct {setting} to a name that the certificate has, unless something on the way answers in its place"
            ),
        ),
        CertificateError::Other(other)
            if other.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity) =>
        {
            (
                format!("{of} is that of an authority, self-signed or not, and no server's"),
                Fault::OtherSide,
                "have one made for the server itself: with basicConstraints CA:FALSE".into(),
            )
        }
        _ if certificate.is_some_and(certificate::is_self_signed) => (
            format!("{of} is self-signed: no authority vouches for it"),
            Fault::OtherSide,
            format!(
                "correct {setting} if this is the wrong host; if it is meant, put its certificate into a file and name it by {}",
                trust.setting
            ),
        ),
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            format!("{of} is by an authority that is not trusted here"),
            Fault::Settings,
            format!(
                "name its authority by {}, or have ca-certificates installed on this machine; a proxy that looks into TLS \
                 has an authority of its own",
                trust.setting
            ),
        ),
        other => (
            format!("{of} is not accepted: {other}"),
            Fault::OtherSide,
            "have it replaced".into(),
        ),
    }
}

/// A verifier that notes the certificate it is shown. It decides nothing.
#[derive(Debug)]
struct Noting {
    inner: Arc<dyn ServerCertVerifier>,
    seen: Seen,
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seen = Some(end_entity.clone().into_owned());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        self.inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
