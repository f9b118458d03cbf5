//! What an app proves itself by: its kind, and where its secret is.

use std::path::PathBuf;

use super::{
    config::{Config, CredentialKind},
    outside::{Outside, Place},
};
use crate::invalid::Field;

/// The credentials of an app.
#[derive(Debug)]
pub enum Credentials {
    /// Easemob's own: sent to it for a token.
    Easemob {
        /// Client ID.
        client_id: String,
        /// Client secret.
        client_secret: Outside,
    },
    /// Agora's or Shengwang's: a token is made of them here.
    Agora {
        /// App ID, 32 hexadecimal digits.
        app_id: String,
        /// App Certificate, 32 hexadecimal digits.
        app_certificate: Outside,
        /// Whether the token is exchanged for one of Easemob's, and not sent as it is.
        exchange: bool,
    },
}

impl Credentials {
    /// The secret among them.
    pub(super) fn secret(&self) -> &Outside {
        match self {
            Self::Easemob { client_secret, .. } => client_secret,
            Self::Agora {
                app_certificate, ..
            } => app_certificate,
        }
    }

    /// The setting that names the secret.
    pub fn setting(&self) -> &'static str {
        match (self, self.secret().file().is_some()) {
            (Self::Easemob { .. }, true) => "client_secret_file",
            (Self::Easemob { .. }, false) => "client_secret_env",
            (Self::Agora { .. }, true) => "app_certificate_file",
            (Self::Agora { .. }, false) => "app_certificate_env",
        }
    }
}

/// Checks what the settings say of the credentials, and reads the secret, which may be missing. What is
/// wrong with the settings is noted at `field`, also where credentials are made.
pub(super) fn check(config: &Config, field: Field<'_>) -> Option<Credentials> {
    match config.credentials {
        CredentialKind::Easemob => easemob(config, field),
        CredentialKind::Agora => agora(config, field),
    }
}

fn easemob(config: &Config, field: Field<'_>) -> Option<Credentials> {
    let foreign = [
        (
            "app_certificate_file",
            config.app_certificate_file.is_some(),
        ),
        ("app_certificate_env", config.app_certificate_env.is_some()),
        ("exchange_token", config.exchange_token),
    ];
    let fitting = refuse_foreign(foreign, "is for credentials = \"agora\"", field);
    let client_id = field.child("client_id").not_empty(config.client_id.clone());
    let place = match &config.client_secret {
        Some(secret) => Some(Place::Given(secret.clone())),
        None => place(
            ("client_secret_file", config.client_secret_file.as_ref()),
            ("client_secret_env", config.client_secret_env.as_ref()),
            "the client secret",
            field,
        ),
    };
    fitting?;
    Some(Credentials::Easemob {
        // Without one there is no app; the secret can be checked all the same.
        client_id: client_id.unwrap_or_default(),
        client_secret: Outside::new(place?, secret),
    })
}

fn agora(config: &Config, field: Field<'_>) -> Option<Credentials> {
    let foreign = [
        ("client_id", !config.client_id.is_empty()),
        ("client_secret_file", config.client_secret_file.is_some()),
        ("client_secret_env", config.client_secret_env.is_some()),
    ];
    let fitting = refuse_foreign(foreign, "is for credentials = \"easemob\"", field);
    let app_id = match config.app_id.as_deref() {
        Some(app_id) if is_agora_id(app_id) => Some(app_id.to_owned()),
        Some(_) => field
            .child("app_id")
            .refuse("must be the App ID of the console, 32 hexadecimal digits"),
        None => field
            .child("app_id")
            .refuse("is required for credentials = \"agora\""),
    };
    let place = match &config.app_certificate {
        Some(certificate) => Some(Place::Given(certificate.clone())),
        None => place(
            ("app_certificate_file", config.app_certificate_file.as_ref()),
            ("app_certificate_env", config.app_certificate_env.as_ref()),
            "the App Certificate",
            field,
        ),
    };
    fitting?;
    Some(Credentials::Agora {
        // As above.
        app_id: app_id.unwrap_or_default(),
        app_certificate: Outside::new(place?, certificate),
        exchange: config.exchange_token,
    })
}

/// A setting of the other kind of credentials would do nothing, and somebody meant something by it.
fn refuse_foreign(settings: [(&str, bool); 3], why: &'static str, field: Field<'_>) -> Option<()> {
    let mut set = settings.into_iter().filter(|(_, is_set)| *is_set);
    match set.next() {
        Some((name, _)) => field.child(name).refuse(why),
        None => Some(()),
    }
}

fn place(
    (file_setting, file): (&str, Option<&PathBuf>),
    (variable_setting, variable): (&str, Option<&String>),
    what: &str,
    field: Field<'_>,
) -> Option<Place> {
    match (file, variable) {
        (Some(path), None) => Some(Place::File(path.clone())),
        (None, Some(name)) => Some(Place::Variable(name.clone())),
        (Some(_), Some(_)) => field.child(variable_setting).refuse(format!(
            "stands in place of {file_setting}: set one or the other"
        )),
        (None, None) => field.child(file_setting).refuse(format!(
            "is required: a file that holds {what} (or {variable_setting}, a variable that does)"
        )),
    }
}

fn secret(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("holds no secret".into()),
        secret => Ok(secret.to_owned()),
    }
}

fn certificate(text: &str) -> Result<String, String> {
    let certificate = secret(text)?;
    match is_agora_id(&certificate) {
        true => Ok(certificate),
        false => Err("holds no App Certificate, which has 32 hexadecimal digits".into()),
    }
}

fn is_agora_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}
