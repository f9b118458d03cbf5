//! The first bytes of a message in an upload's stream: how long it is, and whether it is one field of
//! bytes and nothing else, as a chunk is.

use crate::media::Error;

/// What gRPC puts before each message: a flag and a length.
pub(super) const PREFIX: usize = 5;
/// Longest size of a field in bytes, seven bits to a byte: a message has at most 32 bits' worth.
const MAX_SIZE_BYTES: usize = 5;

/// What the first bytes tell. Ends count from the first byte of the prefix.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// The message has one field, which holds bytes, and these are all that follows.
    OneField { number: u8, size: usize, end: usize },
    /// Any other.
    Message { end: usize },
}

/// Reads the head of a message; none while more of it is needed. To be asked after each byte, so that a
/// head ends where its first byte of content begins.
pub(super) fn read(begun: &[u8], max_message_bytes: usize) -> Result<Option<Head>, Error> {
    let Some((&[flag, length @ ..], message)) = begun.split_first_chunk::<PREFIX>() else {
        return Ok(None);
    };
    // Nothing is compressed where the headers name no compression.
    if flag != 0 {
        return Err(no_message());
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > max_message_bytes {
        return Err(too_large());
    }
    let end = PREFIX + length;
    Ok(match message {
        _ if message.len() >= length => Some(Head::Message { end }),
        [] => None,
        [key, size @ ..] => match field_of_bytes(*key) {
            None => Some(Head::Message { end }),
            Some(number) => match prost::decode_length_delimiter(size) {
                Ok(size) if message.len().checked_add(size) == Some(length) => {
                    Some(Head::OneField { number, size, end })
                }
                Err(_incomplete) if size.len() < MAX_SIZE_BYTES => None,
                _ => Some(Head::Message { end }),
            },
        },
    })
}

/// Number of the field that this key begins, if it is one of bytes and has a small number.
fn field_of_bytes(key: u8) -> Option<u8> {
    const LENGTH_DELIMITED: u8 = 2;
    (key & 0x87 == LENGTH_DELIMITED).then_some(key >> 3)
}

/// A message that is too large.
pub(super) fn too_large() -> Error {
    Error::Invalid("part", "is larger than the gateway reads")
}

/// Bytes that are no message.
pub(super) fn no_message() -> Error {
    Error::Invalid("part", "is no message of this method")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1000;

    /// The head, and how many bytes it took to know.
    fn head(message: &[u8]) -> (Head, usize) {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let bytes = [&[0], &length[..], message].concat();
        (0..=bytes.len())
            .find_map(|to| Some((read(&bytes[..to], LIMIT).unwrap()?, to)))
            .unwrap()
    }

    #[test]
    fn a_chunk_is_known_before_its_first_byte() {
        let chunk = [&[0x12, 0xac, 0x02][..], &[7; 300]].concat();
        let one_field = Head::OneField {
            number: 2,
            size: 300,
            end: 308,
        };
        assert_eq!(head(&chunk), (one_field, 8));
    }

    #[test]
    fn what_is_no_chunk_alone_is_wanted_as_a_whole() {
        let whole = |message: &[u8]| {
            head(message).0
                == Head::Message {
                    end: 5 + message.len(),
                }
        };
        for message in [
            &[][..],
            // Empty.
            &[0x12, 0],
            // Another field behind.
            &[0x12, 1, 7, 0x12, 1, 7],
            // Longer than the message.
            &[0x12, 9, 7, 7],
            // A number instead of bytes; a field with a large number.
            &[0x10, 1, 7],
            &[0x82, 0x01, 1, 7],
            // A length that does not end.
            &[0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 7, 7],
        ] {
            assert!(whole(message), "{message:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_its_first_bytes() {
        assert_eq!(read(&[0, 0, 0, 3, 0xe9], LIMIT), Err(too_large()));
        assert_eq!(read(&[1, 0, 0, 0, 1], LIMIT), Err(no_message()));
        assert_eq!(read(&[0, 0, 0, 3], LIMIT), Ok(None));
    }
}
