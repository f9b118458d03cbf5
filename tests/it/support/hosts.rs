//! Names that one process alone looks up, and that may change under it: an `/etc/hosts` of its own, by a
//! mount that nobody else sees. It needs root, or namespaces for users.

use std::{
    fs::{self, File},
    net::Ipv4Addr,
    os::unix::fs::FileExt,
    path::PathBuf,
    process::{Command as Blocking, Stdio},
};

use tokio::process::Command;

use super::binary::{BINARY, settings};

/// A name that is nobody's.
pub const NAME: &str = "easemob.test";

pub struct Hosts(PathBuf);

impl Hosts {
    /// [`NAME`] has this address.
    pub fn new(address: Ipv4Addr) -> Self {
        Self(settings(&line(address)))
    }

    /// From now on it has another one, as long when written.
    pub fn change(&self, address: Ipv4Addr) {
        let line = line(address);
        assert_eq!(fs::metadata(&self.0).unwrap().len(), line.len() as u64);
        // In one step, and in place: a mount stays with its file.
        let file = File::options().write(true).open(&self.0).unwrap();
        file.write_all_at(line.as_bytes(), 0).unwrap();
    }

    /// The binary, where it looks up names here.
    pub fn command(&self) -> Command {
        let mut command = Command::new("unshare");
        if !is_root() {
            command.arg("--map-root-user");
        }
        let mount = r#"mount --bind "$0" /etc/hosts && exec "$@""#;
        command.args(["--mount", "sh", "-c", mount]);
        command.arg(&self.0).arg(BINARY);
        command.env_clear().kill_on_drop(true);
        command
    }
}

fn line(address: Ipv4Addr) -> String {
    format!("{address} {NAME}\n")
}

/// Whether mounts are ours to make.
fn is_root() -> bool {
    let mut try_out = Blocking::new("unshare");
    try_out.args(["--mount", "true"]).stderr(Stdio::null());
    try_out
        .status()
        .expect("unshare, of util-linux, is there")
        .success()
}
