//! Files with secrets: readable for us, and not for everybody.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use super::finding::{Check, Fault, Finding};
use crate::config::Config;

const READABLE_BY_ALL: u32 = 0o004;
const WRITABLE_BY_ALL: u32 = 0o002;

/// The files of the gateway itself that hold something secret; those of apps are with their app.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let tls = &config.server.tls;
    let telemetry = &config.telemetry;
    let files = [
        ("server.tls.key_file", &tls.key_file),
        ("telemetry.otlp_headers_file", &telemetry.otlp_headers_file),
        ("telemetry.otlp_key_file", &telemetry.otlp_key_file),
    ];
    let named = files
        .into_iter()
        .filter_map(|(name, path)| Some((name, path.as_deref()?)));
    named
        .map(|(name, path)| {
            let check = Check::new("gateway", "secret", format!("to read what {name} names"));
            match open(path) {
                Ok(()) => check_secret(check, name, path),
                Err(error) => check.problem(
                    format!("{name} cannot be read: {}: {error}", path.display()),
                    Fault::Settings,
                    "put it there, readable by the user that runs the gateway",
                ),
            }
        })
        .collect()
}

fn open(path: &Path) -> io::Result<()> {
    match File::open(path)?.metadata()?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(()),
    }
}

/// Who else can read or write a file that can be read. A warning and no more: in a container, there may be
/// nobody else.
pub(super) fn check_secret(check: Check<'_>, name: &str, path: &Path) -> Finding {
    let shown = path.display();
    let mode = match fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode() & 0o7777,
        Err(error) => return check.skipped(format!("{shown}: {error}")),
    };
    let may = match mode {
        _ if mode & WRITABLE_BY_ALL != 0 => "written",
        _ if mode & READABLE_BY_ALL != 0 => "read",
        _ => return check.ok(format!("{name} can be read, and not by everybody: {shown}")),
    };
    check.warning(
        format!("{shown}, which {name} names, can be {may} by every user of this machine (mode {mode:04o})"),
        Fault::Machine,
        format!("chmod 0400 {shown}, with the gateway's user as its owner; in Kubernetes, defaultMode: 0400 of the volume"),
    )
}
