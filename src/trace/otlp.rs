//! A span as OTLP has it. It is written as it is told, straight into the bytes of its Protobuf message, so
//! that nothing is built up to be encoded later. The numbers of fields are those of OpenTelemetry's
//! `trace.proto` and `common.proto`.

use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

use super::Ids;

/// Value of an attribute.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// A word; never what a user wrote.
    Text(&'a str),
    /// A count.
    Number(i64),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// Attributes of a span: what many spans say alike is prepared once.
#[derive(Debug, Clone, Default)]
pub struct Attributes(pub(super) Vec<u8>);

impl Attributes {
    /// Tells one thing. What was told before under this key is replaced.
    pub fn set<'a>(&mut self, key: &str, value: impl Into<Value<'a>>) {
        if let Some(old) = self.find(key) {
            self.0.drain(old);
        }
        self.add(key, value);
    }

    /// The same for what was not told yet.
    pub(super) fn add<'a>(&mut self, key: &str, value: impl Into<Value<'a>>) {
        write_attribute(&mut self.0, span::ATTRIBUTES, key, value.into());
    }

    fn find(&self, key: &str) -> Option<std::ops::Range<usize>> {
        let mut rest = self.0.as_slice();
        while !rest.is_empty() {
            let begin = self.0.len() - rest.len();
            let attribute = read_field(&mut rest)?;
            if read_field(&mut &*attribute)? == key.as_bytes() {
                return Some(begin..self.0.len() - rest.len());
            }
        }
        None
    }
}

/// A field that has a length.
fn read_field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    *rest = rest.get(1..)?;
    let length = read_number(rest)?;
    let (field, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(field)
}

/// Nearly all numbers here are lengths of one byte.
fn read_number(rest: &mut &[u8]) -> Option<usize> {
    match *rest.first()? {
        short @ ..=0x7f => {
            *rest = &rest[1..];
            Some(short.into())
        }
        _ => usize::try_from(decode_varint(rest).ok()?).ok(),
    }
}

fn write_varint(out: &mut Vec<u8>, number: u64) {
    match u8::try_from(number) {
        Ok(short @ ..=0x7f) => out.push(short),
        _ => encode_varint(number, out),
    }
}

/// Fields of a span, by number.
pub(super) mod span {
    pub(crate) const TRACE_ID: u8 = 1;
    pub(crate) const SPAN_ID: u8 = 2;
    pub(crate) const TRACE_STATE: u8 = 3;
    pub(crate) const PARENT_SPAN_ID: u8 = 4;
    pub(crate) const NAME: u8 = 5;
    pub(crate) const KIND: u8 = 6;
    pub(crate) const START: u8 = 7;
    pub(crate) const END: u8 = 8;
    pub(crate) const ATTRIBUTES: u8 = 9;
    pub(crate) const EVENTS: u8 = 11;
    pub(crate) const DROPPED_EVENTS: u8 = 12;
    pub(crate) const LINKS: u8 = 13;
    pub(crate) const DROPPED_LINKS: u8 = 14;
    pub(crate) const FLAGS: u8 = 16;
}

/// `status { code: STATUS_CODE_ERROR }`
pub(super) const FAILED: [u8; 4] = [15 << 3 | 2, 2, 3 << 3, 2];

/// What fields of fixed length take, with their tags.
pub(super) const TRACE_ID_LEN: usize = 2 + 16;
pub(super) const SPAN_ID_LEN: usize = 2 + 8;
pub(super) const TIME_LEN: usize = 1 + 8;
pub(super) const FLAGS_LEN: usize = 2 + 4;

/// What a field of so many bytes takes, with its tag and its length.
pub(super) fn field_len(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

/// The same of a number; 0 is left out.
pub(super) fn number_len(number: u64) -> usize {
    match number {
        0 => 0,
        _ => 1 + encoded_len_varint(number),
    }
}

/// A field that has a length: a text, bytes or a message.
pub(super) fn write_field(out: &mut Vec<u8>, number: u8, field: &[u8]) {
    write_head(out, number, field.len());
    out.extend_from_slice(field);
}

/// The tag and length of a field whose bytes follow.
pub(super) fn write_head(out: &mut Vec<u8>, number: u8, length: usize) {
    out.push(number << 3 | 2);
    write_varint(out, length as u64);
}

pub(super) fn write_number(out: &mut Vec<u8>, number: u8, value: u64) {
    if value > 0 {
        out.push(number << 3);
        write_varint(out, value);
    }
}

pub(super) fn write_time(out: &mut Vec<u8>, number: u8, nanoseconds: u64) {
    out.push(number << 3 | 1);
    out.extend_from_slice(&nanoseconds.to_le_bytes());
}

/// The flags of a span (field 16) or a link (field 6): whether it is recorded, and whether its parent, or
/// what the link leads to, is in another process.
pub(super) fn write_flags(out: &mut Vec<u8>, number: u8, sampled: bool, remote: bool) {
    const HAS_REMOTE: u32 = 0x100;
    const REMOTE: u32 = 0x200;
    let flags = HAS_REMOTE | u32::from(sampled) | if remote { REMOTE } else { 0 };
    write_varint(out, u64::from(number) << 3 | 5);
    out.extend_from_slice(&flags.to_le_bytes());
}

pub(super) fn write_attribute(out: &mut Vec<u8>, number: u8, key: &str, value: Value<'_>) {
    let value_len = match value {
        Value::Text(text) => field_len(text.len()),
        Value::Number(number) => 1 + encoded_len_varint(number.cast_unsigned()),
    };
    write_head(out, number, field_len(key.len()) + field_len(value_len));
    write_field(out, 1, key.as_bytes());
    write_head(out, 2, value_len);
    match value {
        Value::Text(text) => write_field(out, 1, text.as_bytes()),
        Value::Number(number) => {
            out.push(3 << 3);
            write_varint(out, number.cast_unsigned());
        }
    }
}

/// An event of a span.
pub(super) fn write_event(
    out: &mut Vec<u8>,
    nanoseconds: u64,
    name: &str,
    attributes: &[(&str, Value<'_>)],
) {
    let mut event = Vec::with_capacity(64);
    write_time(&mut event, 1, nanoseconds);
    write_field(&mut event, 2, name.as_bytes());
    for (key, value) in attributes {
        write_attribute(&mut event, 3, key, *value);
    }
    write_field(out, span::EVENTS, &event);
}

/// A link of a span to one of another trace.
pub(super) fn write_link(out: &mut Vec<u8>, other: Ids) {
    write_head(out, span::LINKS, TRACE_ID_LEN + SPAN_ID_LEN + 1 + 4);
    write_field(out, 1, &other.trace.to_be_bytes());
    write_field(out, 2, &other.span.to_be_bytes());
    write_flags(out, 6, other.sampled, true);
}
