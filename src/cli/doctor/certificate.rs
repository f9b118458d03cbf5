//! What a certificate says of itself: until when it is good, and whether it vouches for itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, UnixTime},
};
use webpki::{EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};

/// What ends sooner than this is worth a warning: long enough to order another one.
pub(super) const SOON: Duration = Duration::from_secs(14 * 24 * 3_600);

/// How a certificate stands to the time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Dates {
    /// Good until then, in words; and whether that is soon.
    Good {
        until: String,
        soon: bool,
    },
    Expired {
        at: String,
    },
    NotYet {
        from: String,
    },
    /// It cannot be read.
    Unknown,
}

/// Reads the dates of a certificate.
pub(super) fn dates(certificate: &CertificateDer<'_>) -> Dates {
    let now = UnixTime::now();
    match verify(certificate, now, &[]) {
        Some(Error::CertExpired { not_after, .. }) => Dates::Expired { at: day(not_after) },
        Some(Error::CertNotValidYet { not_before, .. }) => Dates::NotYet {
            from: day(not_before),
        },
        None | Some(Error::BadDer) => Dates::Unknown,
        // Dates come first, so at the end of time they are what is wrong with any certificate.
        Some(_) => match verify(certificate, at(Duration::from_secs(253_402_300_799)), &[]) {
            Some(Error::CertExpired { not_after, .. }) => Dates::Good {
                until: day(not_after),
                soon: not_after.as_secs() < now.as_secs() + SOON.as_secs(),
            },
            _ => Dates::Good {
                until: "the end of time".into(),
                soon: false,
            },
        },
    }
}

/// Whether the certificate was signed with its own key.
pub(super) fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    let Ok(anchor) = anchor_from_trusted_cert(certificate) else {
        return false;
    };
    match verify(certificate, UnixTime::now(), &[anchor]) {
        // An authority that shows its own certificate is caught before its signature is looked at.
        None | Some(Error::CaUsedAsEndEntity) => true,
        Some(_) => false,
    }
}

/// What is wrong with a certificate at a time, beside these anchors.
fn verify(
    certificate: &CertificateDer<'_>,
    time: UnixTime,
    anchors: &[rustls::pki_types::TrustAnchor<'_>],
) -> Option<Error> {
    let certificate = match EndEntityCert::try_from(certificate) {
        Ok(certificate) => certificate,
        Err(_unreadable) => return Some(Error::BadDer),
    };
    let algorithms = ring::default_provider()
        .signature_verification_algorithms
        .all;
    let usage = KeyUsage::server_auth();
    certificate
        .verify_for_usage(algorithms, anchors, &[], time, usage, None, None)
        .err()
}

fn at(since_1970: Duration) -> UnixTime {
    UnixTime::since_unix_epoch(since_1970)
}

/// A time as people write it.
pub(super) fn day(time: UnixTime) -> String {
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(time.as_secs());
    humantime::format_rfc3339_seconds(time).to_string()
}
