//! GROUND: the contract as Rust types, generated from `proto/`, and its descriptors.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    reason = "generated; the documentation is that of the proto files"
)]

tonic::include_proto!("easemob.messaging.v1");

/// The descriptors of the contract and of all it imports, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("descriptor");
