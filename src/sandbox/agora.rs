//! AccessToken2: tokens that clients make by themselves, taken apart and verified.

use std::io::Read;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use ring::hmac::{self, HMAC_SHA256, Key};

use super::State;

/// What every token of this kind begins with.
pub(super) const PREFIX: &str = "007";

/// Most bytes that a token may unpack to; an app token has some 100.
const MOST: u64 = 4096;

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It cannot be read.
    Corrupt,
    /// Somebody else's: another app, another certificate.
    Foreign,
    /// Its time is over.
    Expired,
    /// It lets nobody use the REST API: a user's token, or one for another service.
    NoPrivilege,
}

/// Until when a token is good, by the clock of the sandbox.
pub(super) fn verify(sandbox: &State, token: &str) -> Result<Duration, Flaw> {
    let config = &sandbox.config;
    let token = Token::read(token).ok_or(Flaw::Corrupt)?;
    if token.app_id != config.agora_app_id.as_bytes()
        || !token.is_signed_by(&config.app_certificate)
    {
        return Err(Flaw::Foreign);
    }
    let app = token.chat_app.ok_or(Flaw::NoPrivilege)?;
    let lives = u64::from(token.expire.min(app));
    let until = Duration::from_secs(u64::from(token.issued) + lives);
    match until.checked_sub(since_1970(sandbox)) {
        Some(until) if until > config.clock.now() => Ok(until),
        _ => Err(Flaw::Expired),
    }
}

/// An instant by the clock of the sandbox, in milliseconds since 1970.
pub(super) fn timestamp_ms(sandbox: &State, at: Duration) -> u64 {
    let at = since_1970(sandbox) + at;
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}

/// When the clock of the sandbox was at 0.
fn since_1970(sandbox: &State) -> Duration {
    let began = sandbox.config.clock.began();
    began.duration_since(UNIX_EPOCH).unwrap_or_default()
}

struct Token {
    signature: Vec<u8>,
    signed: Vec<u8>,
    app_id: Vec<u8>,
    issued: u32,
    expire: u32,
    salt: u32,
    /// Life of the privilege that an app has in the service chat, where there is one.
    chat_app: Option<u32>,
}

impl Token {
    fn read(text: &str) -> Option<Self> {
        let packed = STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let mut bytes = Vec::new();
        let mut unpacked = ZlibDecoder::new(packed.as_slice()).take(MOST + 1);
        unpacked.read_to_end(&mut bytes).ok()?;
        if bytes.len() as u64 > MOST {
            return None;
        }
        let mut rest = Reader(&bytes);
        let signature = rest.bytes()?.to_vec();
        let signed = rest.0.to_vec();
        let app_id = rest.bytes()?.to_vec();
        let (issued, expire, salt) = (rest.u32()?, rest.u32()?, rest.u32()?);
        let mut chat_app = None;
        for _ in 0..rest.u16()? {
            let chat = rest.u16()? == 5;
            for _ in 0..rest.u16()? {
                let (privilege, life) = (rest.u16()?, rest.u32()?);
                if chat && privilege == 2 {
                    chat_app = Some(life);
                }
            }
            // Only chat's further fields are known, and nothing may follow what is not.
            if !chat {
                return None;
            }
            rest.bytes()?;
        }
        rest.0.is_empty().then_some(Self {
            signature,
            signed,
            app_id,
            issued,
            expire,
            salt,
            chat_app,
        })
    }

    fn is_signed_by(&self, certificate: &str) -> bool {
        let by_time = Key::new(HMAC_SHA256, &self.issued.to_le_bytes());
        let by_salt = Key::new(HMAC_SHA256, &self.salt.to_le_bytes());
        let first = hmac::sign(&by_time, certificate.as_bytes());
        let second = hmac::sign(&by_salt, first.as_ref());
        let key = Key::new(HMAC_SHA256, second.as_ref());
        hmac::verify(&key, &self.signed, &self.signature).is_ok()
    }
}

/// Reads numbers, the lowest byte first, and bytes behind their number.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<&'b [u8]> {
        let count = self.u16()?;
        self.take(count.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::testing::{call, path, send, text_to};
    use crate::sandbox::{Config, Endpoint, Sandbox};

    /// An app token, made by the vendor's own library for Node.
    const APP: &str = "007eJxTYPi/wFO7JzslbJKVvMlr8RNS1QE5stu7V8fsOvLGLsbgy0cFBktzA2dHY9OUVDODZBMTMxPTpKTEVItEI0NTAzPDJGNj9y8CDA2BjAyMDAwMjAysDIwMTGA+AwMAOY0a9g==";
    /// The same for the user amy.
    const USER: &str = "007eJxTYFjA///ZccU7+y6oRRxv+9IWvKF8fqSlk8bsPRWxx9tc76QqMFiaGzg7GpumpJoZJJuYmJmYJiUlplokGhmaGpgZJhkbu38RYGgIZGRgZGBgYGRgZQCxQHxmhsTcSgA3YB4B";
    const CERTIFICATE: &str = "5CFd2fd1755d40ecb72977518be15d3b";

    #[test]
    fn a_token_of_the_vendors_own_library_is_read_and_verified() {
        let token = Token::read(APP).unwrap();
        assert_eq!(token.app_id, b"970CA35de60c44645bbae8a215061b33");
        assert_eq!(
            (token.issued, token.expire, token.salt),
            (1_111_111, 86_400, 1)
        );
        assert_eq!(token.chat_app, Some(86_400));
        assert!(token.is_signed_by(CERTIFICATE));
        assert!(!token.is_signed_by("5CFd2fd1755d40ecb72977518be15d3c"));
    }

    #[test]
    fn every_flaw_is_told_in_the_documented_words() {
        let start = |app_certificate: &str| {
            let config = Config {
                agora_app_id: "970CA35de60c44645bbae8a215061b33".into(),
                app_certificate: app_certificate.into(),
                ..Config::for_tests()
            };
            Sandbox::start(config).unwrap()
        };
        let (ours, other) = (start(CERTIFICATE), start("another"));
        for (sandbox, token, error, text) in [
            (
                &ours,
                APP,
                "unauthorized",
                "Unable to authenticate due to expired access token",
            ),
            (
                &ours,
                USER,
                "unauthorized",
                "No admin user access authorized",
            ),
            (
                &other,
                APP,
                "auth_bad_access_token",
                "Unable to authenticate",
            ),
            (
                &ours,
                &APP[..40],
                "auth_bad_access_token",
                "Unable to authenticate due to corrupt access token",
            ),
        ] {
            let expected = (401, error.to_owned(), text.to_owned());
            let endpoint = Endpoint::SendToUsers;
            let message = text_to(endpoint, &["bob"]);
            assert_eq!(send(sandbox, endpoint, token, &message).error(), expected);
            let authorization = format!("Bearer {token}");
            let headers = [
                ("content-type", "application/json"),
                ("authorization", authorization.as_str()),
            ];
            let request = r#"{"grant_type":"agora"}"#;
            let path = path(Endpoint::Token);
            let reply = call(sandbox, "POST", &path, &headers, request);
            assert_eq!(reply.error(), expected);
        }
    }

    #[test]
    fn what_is_broken_is_not_read() {
        for broken in [
            "",
            "007",
            "007!",
            "007AAAA",
            &APP[..APP.len() - 8],
            &APP[1..],
        ] {
            assert!(Token::read(broken).is_none(), "{broken}");
        }
        // A bomb.
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut zlib, &vec![0; 10_000_000]).unwrap();
        let bomb = format!("007{}", STANDARD.encode(zlib.finish().unwrap()));
        assert!(Token::read(&bomb).is_none());
    }
}
