//! The servers that the gateway is compared with: `benches/bare`, a package of its own, built here as it
//! is wanted.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context, bail, ensure};
use toml::Table;

use crate::peer::{self, Peer};

/// How it is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// As `cargo build --release` does, with the C library's allocator.
    Plain,
    /// With the gateway's profile and allocator.
    Ours,
}

/// Crates that the servers are made of: of these, both have to have the same version.
const SHARED: &[&str] = &[
    "h2",
    "http",
    "hyper",
    "hyper-util",
    "mimalloc",
    "prost",
    "reqwest",
    "tokio",
    "tonic",
    "tower",
];

impl Build {
    /// Starts a server; `under` another program, such as valgrind.
    pub(crate) fn start(self, arguments: &[&str], under: Option<Command>) -> anyhow::Result<Peer> {
        let mut command = peer::command(self.binary()?, under);
        command.args(arguments);
        Peer::start(command)
    }

    fn binary(self) -> anyhow::Result<&'static Path> {
        static BUILT: [OnceLock<PathBuf>; 2] = [const { OnceLock::new() }; 2];
        let built = &BUILT[self as usize];
        if built.get().is_none() {
            let _first = built.set(self.build()?);
        }
        Ok(built.get().context("it has been built")?)
    }

    /// Builds it. Nothing of the gateway is in it, so that is done once.
    fn build(self) -> anyhow::Result<PathBuf> {
        same_versions()?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bare");
        let (profile, more): (_, &[&str]) = match self {
            Self::Plain => ("release", &[]),
            Self::Ours => ("ours", &["--features=mimalloc"]),
        };
        eprintln!("building benches/bare, profile {profile}");
        let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--quiet", "--locked", "--profile", profile])
            .args(more)
            .args(["--manifest-path", "benches/bare/Cargo.toml", "--target-dir"])
            .arg(&folder)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .context("cargo cannot be started")?;
        ensure!(status.success(), "benches/bare cannot be built");
        Ok(folder.join(profile).join("bare"))
    }
}

fn same_versions() -> anyhow::Result<()> {
    let ours = versions("Cargo.lock")?;
    let theirs = versions("benches/bare/Cargo.lock")?;
    let known = ours.iter().any(|(name, _)| name == "tonic");
    ensure!(known, "Cargo.lock names no packages");
    if let Some((name, version)) = theirs.difference(&ours).next() {
        bail!(
            "benches/bare has {name} {version}, and the gateway another version: \
             cp Cargo.lock benches/bare/, then build it"
        );
    }
    Ok(())
}

fn versions(lock: &str) -> anyhow::Result<BTreeSet<(String, String)>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(lock);
    let lock: Table = toml::from_str(&fs::read_to_string(path)?)?;
    let packages = lock.get("package").and_then(|packages| packages.as_array());
    let text = |package: &toml::Value, key: &str| {
        let value = package.get(key).and_then(toml::Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    Ok(packages
        .context("a lock file without packages")?
        .iter()
        .map(|package| (text(package, "name"), text(package, "version")))
        .filter(|(name, _)| SHARED.contains(&name.as_str()))
        .collect())
}
