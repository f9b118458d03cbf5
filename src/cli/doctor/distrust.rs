//! A failed TLS handshake in words: what was wrong, whose fault it is, and what to change.

use std::io;

use rustls::{CertificateError, Error, pki_types::CertificateDer};

use super::{
    certificate::{self, Dates},
    finding::Fault,
    tls::Trust,
    way::Host,
};

/// What was wrong, whose fault it is, and what to change.
pub(super) fn wrong(
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
