//! Where a download goes: a file that appears whole under its name or not at all, or standard output.

use std::{
    fs::{self, Permissions},
    io::{self, IsTerminal, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use tempfile::NamedTempFile;

use super::Args;

/// What the command line names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    Stdout,
    /// A folder; the server tells the name.
    Folder(PathBuf),
    File(PathBuf),
}

impl Target {
    /// What `-o` names. Fails where it is clear already that nothing can be written there.
    pub(super) fn new(output: &Path, force: bool) -> anyhow::Result<Self> {
        if output == Path::new("-") {
            return Ok(Self::Stdout);
        }
        if output.is_dir() {
            return Ok(Self::Folder(output.to_owned()));
        }
        Ok(Self::File(free(output, force)?))
    }

    pub(super) fn is_stdout(&self) -> bool {
        *self == Self::Stdout
    }

    /// Opens it for the file that the server calls by this name.
    pub(super) fn open(&self, filename: &str, args: &Args) -> anyhow::Result<Sink> {
        let path = match self {
            Self::Stdout => return Ok(Sink::Stdout(io::stdout())),
            Self::File(path) => path.clone(),
            Self::Folder(folder) => {
                let name = name(filename).or_else(|| name(&args.uuid));
                let name = name.unwrap_or_else(|| "download".to_owned());
                let prefix = if args.thumbnail { "thumbnail-" } else { "" };
                free(&folder.join(format!("{prefix}{name}")), args.force)?
            }
        };
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        let file = tempfile::Builder::new()
            .prefix(".easemob-gateway-")
            .suffix(".part")
            // As any program's new file; the umask takes its part of it.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder.unwrap_or(Path::new(".")))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Sink::File {
            file,
            path,
            force: args.force,
        })
    }
}

/// The path to write, where nothing is there that must stay.
fn free(path: &Path, force: bool) -> anyhow::Result<PathBuf> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(path.to_owned());
    };
    if !force {
        bail!(
            "{} is there already: give another name by -o, or --force to replace it",
            path.display()
        );
    }
    if !metadata.is_symlink() && metadata.is_file() {
        return Ok(path.to_owned());
    }
    // What a link leads to is replaced, and not the link; a device is no file to be replaced.
    let leads_to = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if !leads_to.is_file() {
        bail!(
            "{} is no file that could be replaced (-o - writes to standard output)",
            path.display()
        );
    }
    Ok(leads_to)
}

/// A server's name for a file as one in our folder: its last part, not hidden, without what a terminal
/// would obey.
fn name(text: &str) -> Option<String> {
    let last = text.rsplit(['/', '\\']).next()?;
    let last = last.replace(char::is_control, "_");
    let last = last.trim();
    if matches!(last, "" | "." | "..") {
        return None;
    }
    Some(match last.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None => last.to_owned(),
    })
}

/// Where the bytes go. Dropped before [`Sink::keep`], nothing of a file is left.
pub(super) enum Sink {
    Stdout(io::Stdout),
    File {
        file: NamedTempFile,
        path: PathBuf,
        force: bool,
    },
}

impl Sink {
    /// What is being written, in words.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stdout(_) => "to standard output".to_owned(),
            Self::File { path, .. } => path.display().to_string(),
        }
    }

    /// Whether a line of progress would not be among the file's own.
    pub(super) fn may_show(&self) -> bool {
        match self {
            Self::Stdout(out) => !out.is_terminal(),
            Self::File { .. } => true,
        }
    }

    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.write_all(bytes).and_then(|()| out.flush()),
            Self::File { file, .. } => file.write_all(bytes),
        }
    }

    /// Gives the file its name, and tells it.
    pub(super) fn keep(self) -> anyhow::Result<Option<PathBuf>> {
        let Self::File { file, path, force } = self else {
            return Ok(None);
        };
        let kept = if force {
            file.persist(&path)
        } else {
            // Somebody may have been faster.
            file.persist_noclobber(&path)
        };
        kept.map_err(|failed| failed.error)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Some(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_chooses_no_folder_and_no_hidden_file() {
        for (told, expected) in [
            ("cat.jpg", Some("cat.jpg")),
            ("猫 1.jpg", Some("猫 1.jpg")),
            ("/etc/passwd", Some("passwd")),
            ("../../cat.jpg", Some("cat.jpg")),
            (r"C:\temp\cat.jpg", Some("cat.jpg")),
            (".bashrc", Some("_bashrc")),
            ("a\u{1b}[2Jb\n", Some("a_[2Jb_")),
            ("..", None),
            ("a/..", None),
            (".", None),
            ("a/", None),
            ("  ", None),
            ("", None),
        ] {
            assert_eq!(name(told).as_deref(), expected, "{told:?}");
        }
    }

    #[test]
    fn what_is_there_stays_unless_it_is_to_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a"), folder.path().join("b"));
        assert_eq!(
            Target::new(&file, false).unwrap(),
            Target::File(file.clone())
        );
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&file, &link] {
            let error = Target::new(path, false).unwrap_err().to_string();
            assert!(error.contains("--force"), "{error}");
            let target = Target::new(path, true).unwrap();
            assert_eq!(target, Target::File(fs::canonicalize(&file).unwrap()));
        }
        let error = Target::new(Path::new("/dev/null"), true).unwrap_err();
        assert!(error.to_string().contains("standard output"), "{error}");
        assert!(Target::new(Path::new("-"), false).unwrap().is_stdout());
        let folder = folder.path().to_owned();
        let target = Target::new(&folder, false).unwrap();
        assert_eq!(target, Target::Folder(folder));
    }
}
