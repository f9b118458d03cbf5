//! What may become of a request, by chance: every fault that there is.

use fastrand::Rng;

use super::script::{Script, UNAUTHORIZED};

/// An answer after which the quota is new at once.
fn limited(status: u16, body: &str) -> Script {
    let length = body.len();
    Script::read().write(format!(
        "HTTP/1.1 {status} As Scripted\r\nRetry-After: 0\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

/// 200, and the rest never comes.
fn cut() -> Script {
    Script::read()
        .write("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")
        .fin()
}

impl Script {
    /// For a message. Half of them are as they should be.
    pub fn any_send(rng: &mut Rng) -> Self {
        let limit = r#"{"error_description":"message send reach limit"}"#;
        match rng.u8(..100) {
            0..50 => Self::read().accept(),
            50..55 => Self::unread().reset(),
            55..60 => Self::read().reset(),
            60..64 => Self::read().fin(),
            64..68 => Self::read().answer(502, "<html>"),
            68..71 => Self::read().answer(503, ""),
            71..74 => Self::read().answer(504, ""),
            74..79 => Self::read().answer(401, UNAUTHORIZED),
            79..83 => limited(429, r#"{"error":"reach_limit"}"#),
            83..86 => limited(403, limit),
            86..88 => Self::read().silence(),
            88..92 => Self::read().answer(400, ""),
            92..96 => cut(),
            _ => Self::read().accept().fin(),
        }
    }

    /// The same for a file.
    pub fn any_upload(rng: &mut Rng) -> Self {
        match rng.u8(..20) {
            0..10 => Self::read().store(),
            10 => Self::unread().reset(),
            11 => Self::read_at_least(500).reset(),
            12 => Self::read().reset(),
            13 => Self::unread().answer(413, "").fin(),
            14 => Self::unread().answer(401, UNAUTHORIZED).fin(),
            15 => Self::read().answer(500, "<html>"),
            16 => Self::read().silence(),
            17 => Self::read().answer(200, "{}"),
            18 => cut(),
            _ => Self::read().store().fin(),
        }
    }

    /// For a token, without which nothing goes: most of them are.
    pub fn any_token(rng: &mut Rng) -> Self {
        match rng.u8(..16) {
            0..12 => Self::read().give_token(),
            12 => Self::read().answer(500, "<html>"),
            13 => Self::unread().reset(),
            14 => cut(),
            _ => Self::read().give_token().fin(),
        }
    }
}
