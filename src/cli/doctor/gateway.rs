//! The gateway itself: its certificate, and who may call.

use std::{fs, path::Path};

use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use super::{
    certificate::{self, Dates},
    finding::{Check, Fault, Finding},
};
use crate::{
    caller::{Callers, Mode},
    config::Config,
    server,
};

const SUBJECT: &str = "gateway";

/// Whether the gateway's certificate is good, and its key its own.
pub(super) fn certificate(config: &server::tls::Config) -> Vec<Finding> {
    let (Some(cert), Some(key)) = (&config.cert_file, &config.key_file) else {
        let check = Check::new(SUBJECT, "certificate", "to read server.tls");
        return vec![check.skipped("there is no server.tls: plaintext, for loopback or a mesh")];
    };
    let tried = format!("to read {} and {}", cert.display(), key.display());
    let mut found = vec![own(Check::new(SUBJECT, "certificate", tried), cert, key)];
    if let Some(authorities) = &config.client_ca_file {
        let tried = format!("to read {}", authorities.display());
        let check = Check::new(SUBJECT, "callers' authority", tried);
        found.push(match read(authorities, "server.tls.client_ca_file") {
            Ok(certificates) => dated(check, &certificates, "server.tls.client_ca_file"),
            Err(what) => check.problem(what, Fault::Settings, "correct server.tls.client_ca_file"),
        });
    }
    found
}

fn own(check: Check<'_>, cert: &Path, key_file: &Path) -> Finding {
    let certificates = match read(cert, "server.tls.cert_file") {
        Ok(certificates) => certificates,
        Err(what) => {
            return check.problem(what, Fault::Settings, "correct server.tls.cert_file");
        }
    };
    let key = fs::read(key_file).map_err(|error| error.to_string());
    // The library's text would quote the lines around a fault.
    let key = key.and_then(|pem| {
        PrivateKeyDer::from_pem_slice(&pem).map_err(|_| "it holds no private key in PEM".to_owned())
    });
    let pair = match key {
        Ok(key) => CertifiedKey::from_der(certificates.clone(), key, &ring::default_provider()),
        Err(what) => {
            return check.problem(
                format!(
                    "server.tls.key_file cannot be used: {}: {what}",
                    key_file.display()
                ),
                Fault::Settings,
                "correct server.tls.key_file",
            );
        }
    };
    match pair {
        Ok(_pair) => dated(check, &certificates, "server.tls.cert_file"),
        Err(rustls::Error::InconsistentKeys(_)) => check.problem(
            "server.tls.key_file does not belong to server.tls.cert_file: they are of different key pairs",
            Fault::Settings,
            "name the key that the certificate was made with, or have the certificate made anew for this key",
        ),
        Err(error) => check.problem(
            format!("certificate and key cannot be used: {error}"),
            Fault::Settings,
            "have both made anew, with an RSA key of 2048 bits or more or an ECDSA key",
        ),
    }
}

fn read(path: &Path, setting: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let at = path.display();
    let pem = fs::read(path).map_err(|error| format!("{setting} cannot be read: {at}: {error}"))?;
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(format!("{setting} holds no certificate in PEM: {at}")),
    }
}

fn dated(check: Check<'_>, certificates: &[CertificateDer<'_>], setting: &str) -> Finding {
    let renew =
        format!("renew it and write it to {setting}: the gateway takes it over while it runs");
    let mut until = String::new();
    for certificate in certificates {
        match certificate::dates(certificate) {
            Dates::Expired { at } => {
                let what = format!("a certificate in {setting} has expired at {at}");
                return check.problem(what, Fault::Settings, renew);
            }
            Dates::NotYet { from } => {
                let what = format!("a certificate in {setting} is not valid before {from}");
                return check.problem(
                    what,
                    Fault::Settings,
                    "see whether the clock of this machine is right, or wait until then",
                );
            }
            Dates::Good { until, soon: true } => {
                let what = format!("a certificate in {setting} ends soon: {until}");
                return check.warning(what, Fault::Settings, renew);
            }
            Dates::Good { until: this, .. } if until.is_empty() => until = this,
            Dates::Good { .. } | Dates::Unknown => {}
        }
    }
    check.ok(format!("{setting} can be used, and is good until {until}"))
}

/// Who may call, and whether their keys cross the network in the clear.
pub(super) fn callers(config: &Config, callers: Option<&Callers>) -> Finding {
    let check = Check::new(SUBJECT, "callers", "to read auth");
    let mode = config.auth.mode;
    let outside = config.server.beyond_loopback().map(|(_, listen)| listen);
    let (listen, inside) = (outside.unwrap_or(config.server.listen), outside.is_none());
    let plain = config.server.tls.cert_file.is_none();
    let Some(callers) = callers else {
        return check.skipped("not looked at: the settings are wrong");
    };
    match mode {
        Mode::None if inside => check.ok(format!(
            "whoever is on this machine may call, as auth.mode is \"none\" and {listen} is loopback"
        )),
        Mode::None => check.warning(
            format!("whoever reaches {listen} may send to every app: auth.mode is \"none\""),
            Fault::Settings,
            "set auth.mode to \"api_key\" or \"mtls\", unless the network lets nobody else in",
        ),
        Mode::ApiKey if plain && !inside => check.warning(
            format!("the keys of callers cross the network in the clear to {listen}"),
            Fault::Settings,
            "set up server.tls, unless a mesh encrypts what comes here",
        ),
        Mode::ApiKey | Mode::Mtls => check.ok(match callers.count() {
            1 => "1 caller is known".to_owned(),
            count => format!("{count} callers are known"),
        }),
    }
}
