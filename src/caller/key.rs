//! Keys of callers: how they are made, and what the gateway keeps of them.

use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};
use secrecy::SecretString;

use std::fmt::Write as _;

/// What every key begins with, so that people and scanners for leaked secrets know one when they see it.
pub const PREFIX: &str = "egk_";

/// Random bytes in a key. No search finds one, so a plain digest of it can be kept.
const BYTES: usize = 24;

/// Longest text that is taken for a key, in bytes.
pub const MAX_BYTES: usize = 512;

/// A new key: the prefix and 48 hexadecimal digits.
///
/// # Errors
///
/// The system has no random numbers to give.
pub fn generate() -> Result<SecretString, ring::error::Unspecified> {
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(SecretString::from(format!("{PREFIX}{}", hex(&bytes))))
}

/// The digest of a key, of which alone the gateway knows.
pub fn sha256(key: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, key).as_ref());
    bytes
}

/// Bytes as text, as settings have them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// The digest that a setting holds: 64 hexadecimal digits.
pub(super) fn parse_sha256(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_new_key_is_like_no_other_and_has_its_digest() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        let (one, two) = (one.expose_secret(), two.expose_secret());
        assert_ne!(one, two);
        assert_eq!(one.len(), PREFIX.len() + 48);
        assert!(one.starts_with(PREFIX));
        assert!(one.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        // As `sha256sum` has it.
        assert_eq!(
            hex(&sha256(b"test")),
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
        );
    }

    #[test]
    fn a_digest_is_64_hexadecimal_digits() {
        let digest = sha256(b"test");
        assert_eq!(parse_sha256(&hex(&digest)), Some(digest));
        assert_eq!(parse_sha256(&hex(&digest).to_uppercase()), Some(digest));
        for wrong in [
            "",
            "9f86",
            &"g".repeat(64),
            &"é".repeat(32),
            &"+1".repeat(32),
        ] {
            assert_eq!(parse_sha256(wrong), None, "{wrong}");
        }
    }
}
