//! AccessToken2: the token that Agora and Shengwang have their customers make by themselves, of an App ID
//! and an App Certificate.

use std::{io::Write as _, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, write::ZlibEncoder};
use ring::hmac;

/// What every such token begins with.
const VERSION: &str = "007";
/// The service that chat is, among all of Agora's.
const CHAT: u16 = 5;
/// What an app may do there: everything that a REST call needs. A user's own token has 1.
const APP_PRIVILEGE: u16 = 2;
/// How long a token lives: the longest that is documented.
pub(super) const LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// What a token is made of.
pub(super) struct Claims<'a> {
    pub(super) app_id: &'a str,
    pub(super) app_certificate: &'a str,
    /// In seconds since 1970.
    pub(super) issued_at: u32,
    /// Makes two tokens of the same second differ.
    pub(super) salt: u32,
}

impl Claims<'_> {
    /// The token as text. None if App ID or certificate are longer than the format has room for.
    pub(super) fn sign(&self) -> Option<String> {
        let body = self.body()?;
        let key = mac(
            &self.issued_at.to_le_bytes(),
            self.app_certificate.as_bytes(),
        );
        let key = mac(&self.salt.to_le_bytes(), key.as_ref());
        let mut content = Vec::with_capacity(body.len() + 34);
        push_text(&mut content, mac(key.as_ref(), &body).as_ref())?;
        content.extend_from_slice(&body);

        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&content).ok()?;
        let packed = zlib.finish().ok()?;
        Some(format!("{VERSION}{}", STANDARD.encode(packed)))
    }

    /// What is signed. All numbers are little-endian.
    fn body(&self) -> Option<Vec<u8>> {
        let lifetime = u32::try_from(LIFETIME.as_secs()).ok()?;
        let mut body = Vec::new();
        push_text(&mut body, self.app_id.as_bytes())?;
        for number in [self.issued_at, lifetime, self.salt] {
            body.extend_from_slice(&number.to_le_bytes());
        }
        // One service, with one privilege of the same life, for no user.
        for number in [1, CHAT, 1, APP_PRIVILEGE] {
            body.extend_from_slice(&u16::to_le_bytes(number));
        }
        body.extend_from_slice(&lifetime.to_le_bytes());
        push_text(&mut body, b"")?;
        Some(body)
    }
}

/// A text behind its length.
fn push_text(to: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    to.extend_from_slice(&u16::try_from(text.len()).ok()?.to_le_bytes());
    to.extend_from_slice(text);
    Some(())
}

fn mac(key: &[u8], message: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::ZlibDecoder;

    use super::*;

    /// What the vendor's own library for Node makes of the same claims, unpacked and in hexadecimal.
    const VENDORS: &str = "2000ffa0492b8c6b6456923a1f34eb17c81a7b506c1db78bab5cbac4ec3e5c30f4f1\
        2000393730434133356465363063343436343562626165386132313530363162333347f4100080510100\
        010000000100050001000200805101000000";

    fn claims(app_id: &str) -> Claims<'_> {
        Claims {
            app_id,
            app_certificate: "5CFd2fd1755d40ecb72977518be15d3b",
            issued_at: 1_111_111,
            salt: 1,
        }
    }

    #[test]
    fn a_token_is_the_same_as_the_vendors_own() {
        let token = claims("970CA35de60c44645bbae8a215061b33").sign().unwrap();
        let packed = STANDARD.decode(token.strip_prefix("007").unwrap()).unwrap();
        let mut content = Vec::new();
        let mut zlib = ZlibDecoder::new(packed.as_slice());
        zlib.read_to_end(&mut content).unwrap();
        let hex: String = content.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, VENDORS);
    }

    #[test]
    fn what_does_not_fit_into_a_token_makes_none() {
        assert_eq!(claims(&"a".repeat(0x1_0000)).sign(), None);
    }
}
