//! proto → Rust, and the descriptors that reflection serves. Needs no protoc: protox is one in Rust.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files([
            "easemob/messaging/v1/messaging_service.proto",
            // Not imported by the service, and yet part of what it answers: details of errors.
            "google/rpc/error_details.proto",
        ])?;

    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(
        out.join("descriptor.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    tonic_prost_build::configure()
        // Chunks are not copied out of the HTTP/2 buffer.
        .bytes(".easemob.messaging.v1")
        // Maps in one order, so that the same request gives the same JSON.
        .btree_map(".easemob.messaging.v1")
        // What a message says stays out of `{:?}`: `proto.rs` has the placeholders.
        .skip_debug(
            [
                "Message",
                "TextContent",
                "ImageContent",
                "AudioContent",
                "VideoContent",
                "FileContent",
                "LocationContent",
                "CommandContent",
                "CustomContent",
                "FileRef",
                "SendMediaMessageRequest",
                "UploadFileRequest",
                "UploadFileHeader",
                "DownloadHeader",
                "DownloadFileResponse",
            ]
            .map(|name| format!(".easemob.messaging.v1.{name}")),
        )
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
