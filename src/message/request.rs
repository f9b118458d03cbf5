//! The request that sends a message, as JSON: all but the recipients is made once, and each call puts
//! its own in.

use std::fmt;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Message, target};
use crate::id::{RecipientId, UserId};

/// Before the recipients, after whatever stands before them.
const TO: &[u8] = br#","to":["#;
/// After the recipients.
const END: &[u8] = b"]}";
/// Before the extension, after the body.
const EXT: &[u8] = br#","ext":"#;

/// A request without its recipients and its end.
#[derive(Clone)]
pub(super) struct Envelope {
    json: Box<[u8]>,
    /// Sender, type, and the key of the body.
    head_bytes: usize,
    body_bytes: usize,
    /// None: there is no extension.
    ext_bytes: usize,
}

/// An envelope in pieces, all but the key of the extension.
pub(super) struct Pieces<'a> {
    /// Sender, type, and the key of the body.
    pub(super) head: &'a [u8],
    pub(super) body: &'a [u8],
    /// Empty where there is none.
    pub(super) ext: &'a [u8],
    /// Everything else.
    pub(super) options: &'a [u8],
}

/// One send request as Easemob documents it, but for `to`. What was not set is left out: Easemob
/// refuses `null`.
#[derive(Serialize)]
pub(super) struct Request<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<&'a UserId>,
    #[serde(rename = "type")]
    pub(super) type_tag: &'static str,
    pub(super) body: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ext: Option<&'a RawValue>,
    #[serde(flatten)]
    pub(super) options: &'a target::Options,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) sync_device: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) routetype: Option<&'static str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) roam_ignore_users: &'a [UserId],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) env: Option<&'a str>,
}

impl Envelope {
    pub(super) fn new(request: &Request<'_>) -> Self {
        let mut json = serde_json::to_vec(request).expect("strings and raw JSON always serialise");
        // The closing brace: the recipients come before it. There is always a field before them, `type`.
        json.pop();
        let from = request
            .from
            .map_or(0, |id| id.as_str().len() + br#""from":"","#.len());
        Self {
            json: json.into(),
            head_bytes: from + br#"{"type":"","body":"#.len() + request.type_tag.len(),
            body_bytes: request.body.get().len(),
            ext_bytes: request.ext.map_or(0, |ext| ext.get().len()),
        }
    }

    pub(super) fn pieces(&self) -> Pieces<'_> {
        let (head, rest) = self.json.split_at(self.head_bytes);
        let (body, rest) = rest.split_at(self.body_bytes);
        let (ext, options) = match self.ext_bytes {
            0 => rest.split_at(0),
            bytes => rest[EXT.len()..].split_at(bytes),
        };
        Pieces {
            head,
            body,
            ext,
            options,
        }
    }
}

impl Message {
    /// Size of the content in bytes, as Easemob's limit counts it: body and extension as JSON.
    pub fn content_bytes(&self) -> usize {
        self.envelope.body_bytes + self.envelope.ext_bytes
    }

    /// Size in bytes of [`Message::to_json`] without any recipient.
    pub fn envelope_bytes(&self) -> usize {
        self.envelope.json.len() + TO.len() + END.len()
    }

    /// What a recipient adds to the size of a request: its ID in quotes, and a comma, which the first
    /// one does without.
    pub fn recipient_bytes(recipient: &RecipientId) -> usize {
        recipient.as_str().len() + 3
    }

    /// The request that sends this message to some of its recipients.
    pub fn to_json(&self, recipients: &[RecipientId]) -> Vec<u8> {
        let ids: usize = recipients.iter().map(Self::recipient_bytes).sum();
        let mut json = Vec::with_capacity(self.envelope_bytes() + ids);
        json.extend_from_slice(&self.envelope.json);
        json.extend_from_slice(TO);
        for (i, recipient) in recipients.iter().enumerate() {
            if i > 0 {
                json.push(b',');
            }
            // An ID holds nothing that JSON would have escaped: its check saw to that.
            json.push(b'"');
            json.extend_from_slice(recipient.as_str().as_bytes());
            json.push(b'"');
        }
        json.extend_from_slice(END);
        json
    }
}

// What a message says is nobody's business but its recipients'.
impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Envelope([REDACTED])")
    }
}
