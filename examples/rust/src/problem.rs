//! What an error says, from its typed details.

use std::{fmt, time::Duration};

use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::pb;

use crate::v1::UploadedMedia;

pub struct Problem {
    pub code: Code,
    pub reason: String,
    pub send_state: String,
    pub fields: Vec<String>,
    pub retry_after: Option<Duration>,
    pub uploaded: Option<UploadedMedia>,
}

impl From<&Status> for Problem {
    fn from(status: &Status) -> Self {
        let mut details = pb::Status::decode(status.details()).unwrap_or_default();
        details.code = status.code().into();
        Self::from(&details)
    }
}

/// Also of the status in a SendFailure.
impl From<&pb::Status> for Problem {
    fn from(status: &pb::Status) -> Self {
        // Without word of the gateway, nobody knows: a proxy or a timer may have made the error.
        let mut problem = Self {
            code: status.code.into(),
            reason: "no ErrorInfo".into(),
            send_state: "MAYBE_SENT".into(),
            fields: Vec::new(),
            retry_after: None,
            uploaded: None,
        };
        for detail in &status.details {
            problem.read(detail);
        }
        problem
    }
}

impl Problem {
    fn read(&mut self, detail: &prost_types::Any) {
        let (_, name) = detail.type_url.split_once('/').unwrap_or_default();
        let value = &*detail.value;
        match name {
            "google.rpc.ErrorInfo" => {
                let mut info = pb::ErrorInfo::decode(value).unwrap_or_default();
                self.send_state = info.metadata.remove("send_state").unwrap_or_default();
                self.reason = info.reason;
            }
            "google.rpc.BadRequest" => {
                let wrong = pb::BadRequest::decode(value).unwrap_or_default();
                self.fields = wrong
                    .field_violations
                    .into_iter()
                    .map(|wrong| wrong.field)
                    .collect();
                self.fields.sort();
            }
            "google.rpc.RetryInfo" => {
                let wait = pb::RetryInfo::decode(value).unwrap_or_default().retry_delay;
                self.retry_after = wait.and_then(|wait| wait.try_into().ok());
            }
            "easemob.messaging.v1.UploadedMedia" => {
                self.uploaded = UploadedMedia::decode(value).ok()
            }
            _ => {}
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", code_name(self.code), self.reason)?;
        if !self.send_state.is_empty() {
            write!(f, " {}", self.send_state)?;
        }
        if !self.fields.is_empty() {
            write!(f, ", fields {}", self.fields.join(", "))?;
        }
        if self.retry_after.is_some() {
            f.write_str(", tells when to try again")?;
        }
        if let Some(file) = self.uploaded.as_ref().and_then(|media| media.file.as_ref()) {
            write!(f, ", uploaded {} bytes", file.size_bytes)?;
        }
        Ok(())
    }
}

/// `InvalidArgument` → `INVALID_ARGUMENT`.
pub fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
