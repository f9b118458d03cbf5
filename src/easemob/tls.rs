//! Whom we believe to be Easemob: what the system's certificate authorities, or the app's own, say so of.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

/// The system's authorities are read again after this time: an update of theirs is heeded without a restart.
const SYSTEM_LIFETIME: Duration = Duration::from_secs(600);

/// What a client needs for TLS 1.2 and 1.3, trusting the authorities in `pem`, or the system's.
pub(super) fn config(pem: Option<&[u8]>) -> Result<ClientConfig, String> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier(pem)?)
        .with_no_client_auth();
    Ok(config)
}

/// Checks certificates by the authorities in `pem`, or by the system's.
pub fn verifier(pem: Option<&[u8]>) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let Some(pem) = pem else { return system() };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| "it holds no certificate in PEM")?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(ring::default_provider());
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    Ok(builder.build().map_err(|error| error.to_string())?)
}

/// One for all apps and shards: to read some hundred certificates takes milliseconds.
fn system() -> Result<Arc<dyn ServerCertVerifier>, String> {
    static LAST: Mutex<Option<(Instant, Arc<rustls_platform_verifier::Verifier>)>> =
        Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    match &*last {
        Some((read, verifier)) if read.elapsed() < SYSTEM_LIFETIME => Ok(verifier.clone()),
        _ => {
            let verifier =
                rustls_platform_verifier::Verifier::new(Arc::new(ring::default_provider()))
                    .map_err(|error| format!("the system's authorities cannot be used: {error}"))?;
            let verifier = Arc::new(verifier);
            *last = Some((Instant::now(), verifier.clone()));
            Ok(verifier)
        }
    }
}
