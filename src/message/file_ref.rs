//! A file that recipients download: where it is, and what opens it. The gateway never opens it.

use std::{fmt, net::Ipv4Addr};

use serde::Serialize;
use url::{Host, Url};

use crate::{app::App, id::FileId, invalid::Field, proto};

/// Longest URL in bytes.
const MAX_URL_BYTES: usize = 2_048;

/// A file by its URL.
#[derive(Clone, PartialEq, Serialize)]
pub(super) struct FileRef {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl FileRef {
    pub(super) fn check(file: Option<proto::FileRef>, app: &App, at: Field<'_>) -> Option<Self> {
        let proto::FileRef { location, secret } = at.required(file)?;
        let url = match location {
            Some(proto::file_ref::Location::Uuid(uuid)) => {
                FileId::check(uuid, at.child("uuid")).map(|uuid| app.file_url(&uuid))
            }
            Some(proto::file_ref::Location::Url(url)) => check_url(url, at.child("url")),
            None => at.refuse("needs a uuid or a url"),
        };
        Some(Self {
            url: url?,
            secret: Some(secret).filter(|secret| !secret.is_empty()),
        })
    }

    /// URL and share secret.
    pub(super) fn into_parts(self) -> (String, Option<String>) {
        (self.url, self.secret)
    }
}

// The share secret opens the file, and its URL may hold a secret too.
impl fmt::Debug for FileRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileRef([REDACTED])")
    }
}

fn check_url(url: String, at: Field<'_>) -> Option<String> {
    if url.len() > MAX_URL_BYTES {
        return at.refuse("is longer than 2,048 bytes");
    }
    // The parser forgives these by leaving them out; recipients' parsers may not.
    if url.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
        return at.refuse("must not hold white space, control characters or backslashes");
    }
    let Ok(parsed) = Url::parse(&url) else {
        return at.refuse("is not a complete http or https URL");
    };
    if !matches!(parsed.scheme(), "http" | "https") {
        return at.refuse("must be an http or https URL");
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return at.refuse("must not hold a user name or password");
    }
    if parsed.host().is_none_or(|host| names_the_recipient(&host)) {
        return at.refuse(
            "must name a host that all recipients can reach: this one means each one's own device or network",
        );
    }
    Some(url)
}

/// Whether a host means something else to everybody who opens it: loopback, link-local (where clouds
/// keep their metadata), or no address at all. Private networks are left alone: a company may well serve
/// its people from there. The parser has turned every spelling of an address into the one.
fn names_the_recipient(host: &Host<&str>) -> bool {
    let v4 = |address: Ipv4Addr| {
        address.is_loopback()
            || address.is_link_local()
            || address.is_unspecified()
            || address.is_broadcast()
            || address.is_multicast()
    };
    match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            name.eq_ignore_ascii_case("localhost") || name.ends_with(".localhost")
        }
        Host::Ipv4(address) => v4(*address),
        Host::Ipv6(address) => match address.to_ipv4_mapped() {
            Some(address) => v4(address),
            None => {
                address.is_loopback()
                    || address.is_unspecified()
                    || address.is_multicast()
                    || address.is_unicast_link_local()
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalid::Violations;

    #[test]
    fn a_url_that_leads_everybody_somewhere_else_is_refused() {
        let accepted = |url: &str| {
            let violations = Violations::default();
            check_url(url.to_owned(), violations.root()).is_some()
        };
        for bad in [
            "http://169.254.169.254/latest/meta-data",
            "http://localhost/a",
            "http://LOCALHOST.:8080/a",
            "http://a.localhost/a",
            "http://127.0.0.1/a",
            "http://127.1/a",
            "http://2130706433/a",
            "http://0x7f000001/a",
            "http://[::1]/a",
            "http://[::ffff:127.0.0.1]/a",
            "http://[::ffff:a9fe:a9fe]/a",
            "http://[fe80::1]/a",
            "http://0.0.0.0/a",
            "http://[::]/a",
            "http://user@files.example.com/a",
        ] {
            assert!(!accepted(bad), "{bad}");
        }
        for good in [
            "https://files.example.com/a",
            "https://XXXX/XXXX/XXXX/chatfiles/1",
            "http://10.1.2.3:8080/a",
            "https://[2001:db8::1]/a",
        ] {
            assert!(accepted(good), "{good}");
        }
    }
}
