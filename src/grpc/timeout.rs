//! The caller's time limit, from the `grpc-timeout` header to a deadline.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use tokio::time::Instant;

use crate::delivery::Deadline;

/// The bounds of a deadline.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a call without one.
    pub default: Duration,
    /// Longer ones are cut to this.
    pub max: Duration,
}

impl Timeouts {
    /// The deadline of a call that has arrived `now`.
    pub(super) fn deadline(&self, headers: &HeaderMap, now: Instant) -> Deadline {
        Deadline::since(now, self.granted(asked(headers)))
    }

    /// The deadline of what asks for so much time, from now.
    pub(super) fn after(&self, asked: Option<Duration>) -> Deadline {
        Deadline::after(self.granted(asked))
    }

    fn granted(&self, asked: Option<Duration>) -> Duration {
        asked.unwrap_or(self.default).min(self.max)
    }

    /// The deadline of a transfer, which has one only where the caller says.
    pub(super) fn deadline_of_transfer(headers: &HeaderMap) -> Option<Deadline> {
        asked(headers).map(|asked| Deadline::after(asked.min(LONGEST)))
    }
}

/// How long the caller waits.
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// Beyond this a clock may not count.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

fn asked(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    parse(text)
}

/// At most eight digits and a unit, as the gRPC protocol has it. Anything else is no time limit.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n * 3_600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_the_protocol_and_garbage_is_none() {
        assert_eq!(
            parse("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3_600))
        );
        assert_eq!(parse("2M"), Some(Duration::from_secs(120)));
        assert_eq!(parse("0S"), Some(Duration::ZERO));
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse("7u"), Some(Duration::from_micros(7)));
        assert_eq!(parse("7n"), Some(Duration::from_nanos(7)));
        for garbage in [
            "",
            "S",
            "-1S",
            "1",
            "1s",
            "123456789S",
            "1.5S",
            " 1S",
            "é",
            "1é",
        ] {
            assert_eq!(parse(garbage), None, "{garbage:?}");
        }
    }
}
