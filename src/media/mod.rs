//! What a file is to us on its way through: frames of the caller's stream, and the bytes, sum and size
//! that come out of them. Knows no gRPC and no HTTP.

mod config;
mod name;
mod pace;
mod upload;

use bytes::Bytes;

pub use self::{
    config::Config,
    name::{ContentType, FileName},
    upload::{Section, Summary, Upload},
};

/// Largest chunk that a caller may send, in bytes.
pub const MAX_CHUNK_BYTES: usize = 256 * 1024;

/// One part of a caller's stream, after its header.
pub enum Frame {
    /// Bytes of a video's thumbnail.
    ThumbnailChunk(Bytes),
    /// Bytes of the file.
    Chunk(Bytes),
    /// All bytes were sent.
    Finish(Finish),
}

/// How to check that all bytes arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finish {
    /// Size of the file in bytes.
    pub size_bytes: Option<u64>,
    /// SHA-256 of the file; empty: not checked.
    pub sha256: Bytes,
}

/// Why a caller's stream is no file. Nothing of it was stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The parts came in the wrong order.
    #[error("{0}")]
    OutOfOrder(&'static str),
    /// A part is wrong by itself: its field, and what is wrong with it.
    #[error("{0} {1}")]
    Invalid(&'static str, &'static str),
    /// The file is larger than the app may upload.
    #[error("the {what} is larger than the app's limit of {limit} bytes")]
    TooLarge {
        /// Which file.
        what: Section,
        /// The app's limit in bytes.
        limit: u64,
    },
    /// The stream ended, stood still or crept.
    #[error("{0}")]
    Incomplete(&'static str),
    /// Size or sum differ from what was declared.
    #[error("{0}")]
    Mismatch(String),
}

impl Error {
    /// A chunk that has more than [`MAX_CHUNK_BYTES`].
    pub fn chunk_too_large() -> Self {
        Self::Invalid("chunk", "is larger than 262,144 bytes")
    }
}
