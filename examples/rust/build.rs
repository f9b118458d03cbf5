//! The stubs, from the proto files.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../../proto");
    let files = protox::compile(["easemob/messaging/v1/messaging_service.proto"], ["../../proto"])?;
    tonic_prost_build::configure()
        .build_server(false)
        // google.rpc comes with tonic.
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(files)?;
    Ok(())
}
