//! proto → Rust.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../../proto");
    let service = "easemob/messaging/v1/messaging_service.proto";
    let descriptors = protox::compile([service], ["../../proto"])?;
    tonic_prost_build::configure()
        .include_file("proto.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
