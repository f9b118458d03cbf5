//! IDs of a trace and of a span in it, and how they are written (W3C Trace Context).

use std::fmt;

use http::HeaderValue;

/// Where in which trace: what crosses from one process to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// ID of the trace; never 0.
    pub trace: u128,
    /// ID of the span; never 0.
    pub span: u64,
    /// Whether whoever began the trace has it recorded.
    pub sampled: bool,
}

/// Length of a `traceparent` of version 00.
const LENGTH: usize = 55;

impl Ids {
    /// A new trace, not yet recorded.
    pub(super) fn random() -> Self {
        Self {
            trace: fastrand::u128(1..),
            span: fastrand::u64(1..),
            sampled: false,
        }
    }

    /// The same trace, another span.
    pub(super) fn child(self) -> Self {
        Self {
            span: fastrand::u64(1..),
            ..self
        }
    }

    /// Reads a `traceparent`. `None` where it is none: then the trace begins anew.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let (version, rest) = (header.get(..2)?, header.get(LENGTH..)?);
        // A later version may go on after a dash.
        let known = match version {
            b"00" => rest.is_empty(),
            b"ff" => false,
            _ => hex(version).is_some() && (rest.is_empty() || rest[0] == b'-'),
        };
        if !known || [2, 35, 52].iter().any(|&at| header[at] != b'-') {
            return None;
        }
        let ids = Self {
            trace: hex(&header[3..35])?,
            span: u64::try_from(hex(&header[36..52])?).ok()?,
            sampled: hex(&header[53..LENGTH])? & 1 == 1,
        };
        (ids.trace != 0 && ids.span != 0).then_some(ids)
    }

    /// As `traceparent` has it.
    pub fn traceparent(self) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(self.trace, &mut text[3..35]);
        write_hex(self.span.into(), &mut text[36..52]);
        write_hex(self.sampled.into(), &mut text[53..]);
        HeaderValue::from_bytes(&text).expect("digits and dashes")
    }

    /// The trace's ID, as `x-trace-id` has it: 32 digits.
    pub fn trace_id(self) -> HeaderValue {
        let mut text = [0; 32];
        write_hex(self.trace, &mut text);
        HeaderValue::from_bytes(&text).expect("digits")
    }
}

/// `trace_id` and `span_id`, as log lines have them.
impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}/{:016x}", self.trace, self.span)
    }
}

/// Lower-case digits only, as the standard has them.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

fn write_hex(mut number: u128, text: &mut [u8]) {
    for digit in text.iter_mut().rev() {
        *digit = b"0123456789abcdef"[usize::from(number.to_le_bytes()[0] & 0xf)];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_written_alike() {
        let ids = Ids::parse(TRACEPARENT.as_bytes()).unwrap();
        assert_eq!(ids.trace, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!(ids.span, 0x00f0_67aa_0ba9_02b7);
        assert!(ids.sampled);
        assert_eq!(ids.traceparent(), TRACEPARENT);
        assert_eq!(ids.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        let later = "cc-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00-what-comes";
        assert!(!Ids::parse(later.as_bytes()).unwrap().sampled);
    }

    #[test]
    fn what_is_no_traceparent_begins_a_new_trace() {
        for wrong in [
            "",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-00f067aa0ba902b7-01",
            "ff-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "0x-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01-",
            "cc-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01.",
            "00-0af7651916cd43dd8448eb211c80319c_00f067aa0ba902b7-01",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-0g",
            "ÿ0-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-0",
        ] {
            assert_eq!(Ids::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
