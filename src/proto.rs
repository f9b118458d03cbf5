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

impl ErrorReason {
    /// The reason's name without its prefix, as `ErrorInfo` and metrics have it.
    pub fn name(self) -> &'static str {
        let name = self.as_str_name();
        name.strip_prefix("ERROR_REASON_").unwrap_or(name)
    }
}

/// The descriptors of the contract and of all it imports, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("descriptor");

/// Types that hold what a message says, a file's name, its bytes or its share secret.
macro_rules! redacted {
    ($($name:ty),+ $(,)?) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "([REDACTED])"))
            }
        }
    )+};
}

redacted!(
    Message,
    SendMediaMessageRequest,
    UploadFileRequest,
    DownloadFileResponse,
    message::Content,
    message::Extension,
    message::Target,
    TextContent,
    ImageContent,
    AudioContent,
    VideoContent,
    FileContent,
    LocationContent,
    CommandContent,
    CustomContent,
    FileRef,
    file_ref::Location,
    send_media_message_request::Part,
    upload_file_request::Part,
    UploadFileHeader,
    DownloadHeader,
    download_file_response::Part,
);
