//! Files that change under a running gateway: certificates, callers, secrets. They are looked at, and
//! what has changed is taken over without a restart.
//!
//! The files are read again every few seconds and compared by content. That sees every way in which a file
//! is replaced: written in place, renamed over, or behind a symbolic link that Kubernetes turns to
//! another folder. Notifications of the kernel miss some of these, and all of them on some file systems.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use ring::digest::{Digest, SHA256, digest};
use tokio::{
    io::AsyncReadExt,
    signal::unix::{SignalKind, signal},
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::{debug, error, info};

/// Largest file that is read, in bytes. Certificates, secrets and lists of callers are far smaller.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// How often a file that cannot be used is complained about.
const COMPLAIN: Duration = Duration::from_secs(60);

/// Takes over the contents of the files, in the order in which the files were named.
type Apply = Box<dyn FnMut(&[Vec<u8>]) -> anyhow::Result<()> + Send>;

/// The files to look at, and what to do with what they hold.
#[derive(Debug)]
pub struct Watch {
    interval: Duration,
    now: Arc<Notify>,
    subjects: Vec<Subject>,
}

impl Watch {
    /// Looks at the files this often, and at once when `now` is notified.
    pub fn new(interval: Duration, now: Arc<Notify>) -> Self {
        Self {
            interval,
            now,
            subjects: Vec::new(),
        }
    }

    /// Adds files that belong together, such as a certificate and its key. `what` they are goes into logs.
    ///
    /// `apply` gets their contents, in this order, and either takes all of them over or fails and leaves
    /// the old state as it is; its error is logged, so it must not quote a secret. It is called once soon
    /// after the start, so that no change since the files were first read is missed, and then for each
    /// change.
    pub fn add(
        &mut self,
        what: impl Into<String>,
        files: impl IntoIterator<Item = PathBuf>,
        apply: impl FnMut(&[Vec<u8>]) -> anyhow::Result<()> + Send + 'static,
    ) {
        self.subjects.push(Subject {
            what: what.into(),
            files: files.into_iter().collect(),
            apply: Box::new(apply),
            seen: None,
            used: None,
            complained: None,
        });
    }

    /// Looks at the files until it is dropped.
    pub async fn run(mut self) -> ! {
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                _ = ticks.tick() => false,
                () = self.now.notified() => true,
            };
            for subject in &mut self.subjects {
                subject.look(asked).await;
            }
        }
    }
}

/// Notifies whenever the process gets a SIGHUP, which from this call on no longer ends it.
pub fn on_hangup() -> io::Result<Arc<Notify>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let notify = Arc::new(Notify::new());
    let notified = Arc::clone(&notify);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            info!("SIGHUP: reading certificates, callers and secrets again");
            notified.notify_one();
        }
    });
    Ok(notify)
}

/// What a look has found: equal where the contents are, or where the files cannot be read alike.
#[derive(Clone, PartialEq, Eq)]
struct Fingerprint(Vec<u8>);

struct Subject {
    what: String,
    files: Vec<PathBuf>,
    apply: Apply,
    /// What the last look found.
    seen: Option<Fingerprint>,
    /// What was last given to `apply`, or found unreadable.
    used: Option<Fingerprint>,
    /// When the last complaint about it was logged. None: it is good.
    complained: Option<Instant>,
}

impl Subject {
    /// What is new is taken over when two looks in a row find the same, since files may be half written, or
    /// one of two that belong together may be older than the other; `asked` for, at once.
    async fn look(&mut self, asked: bool) {
        let read = read_all(&self.files).await;
        let found = fingerprint(&read);
        let first = self.used.is_none();
        let settled = asked || first || self.seen.as_ref() == Some(&found);
        let news = asked || self.used.as_ref() != Some(&found);
        self.seen = Some(found.clone());
        let what = &self.what;
        if !settled {
            debug!(what, "its files have changed: waiting for them to settle");
            return;
        }
        if !news {
            return self.complain_again();
        }
        self.used = Some(found);
        match read.and_then(|contents| (self.apply)(&contents)) {
            Ok(()) => {
                self.complained = None;
                if !first {
                    info!(what, "its files were read again and taken over");
                }
            }
            Err(cause) => {
                self.complained = Some(Instant::now());
                let cause = format!("{cause:#}");
                error!(what, cause, "{UNUSABLE}");
            }
        }
    }

    fn complain_again(&mut self) {
        let Some(last) = self.complained else { return };
        if last.elapsed() >= COMPLAIN {
            self.complained = Some(Instant::now());
            let what = &self.what;
            error!(what, "{UNUSABLE}");
        }
    }
}

const UNUSABLE: &str =
    "what its files hold now cannot be used: the gateway goes on with what it had";

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("what", &self.what)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

async fn read_all(files: &[PathBuf]) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut contents = Vec::with_capacity(files.len());
    for path in files {
        let read = read(path).await;
        contents.push(read.with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(contents)
}

async fn read(path: &PathBuf) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    let file = tokio::fs::File::open(path).await?;
    file.take(MAX_BYTES + 1).read_to_end(&mut contents).await?;
    if contents.len() as u64 > MAX_BYTES {
        let what = format!("larger than {MAX_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(contents)
}

/// Digests: what the files hold may be secret, and nothing but the comparison needs it.
fn fingerprint(read: &anyhow::Result<Vec<Vec<u8>>>) -> Fingerprint {
    let of = |bytes: &[u8]| -> Digest { digest(&SHA256, bytes) };
    Fingerprint(match read {
        Ok(contents) => contents
            .iter()
            .flat_map(|content| of(content).as_ref().to_vec())
            .collect(),
        Err(error) => format!("{error:#}").into_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        path::Path,
        sync::{Arc, Mutex},
    };

    use anyhow::bail;
    use tempfile::TempDir;

    use super::*;

    const EVERY: Duration = Duration::from_secs(5);

    /// A subject of two files, and what it has taken over. "bad" cannot be.
    fn subject(folder: &Path) -> (Subject, Arc<Mutex<Vec<String>>>) {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let mut watch = Watch::new(EVERY, Arc::default());
        let log = Arc::clone(&taken);
        watch.add(
            "a pair",
            [folder.join("a"), folder.join("b")],
            move |files| {
                let text = String::from_utf8(files.concat()).unwrap();
                if text.contains("bad") {
                    bail!("bad");
                }
                log.lock().unwrap().push(text);
                Ok(())
            },
        );
        (watch.subjects.pop().unwrap(), taken)
    }

    fn write(folder: &Path, a: &str, b: &str) {
        fs::write(folder.join("a"), a).unwrap();
        fs::write(folder.join("b"), b).unwrap();
    }

    #[tokio::test]
    async fn a_change_is_taken_over_once_it_has_settled() {
        let folder = TempDir::new().unwrap();
        write(folder.path(), "1", "1");
        let (mut subject, taken) = subject(folder.path());
        subject.look(false).await;
        subject.look(false).await;
        assert_eq!(*taken.lock().unwrap(), ["11"]);

        // One of two is newer: not yet.
        fs::write(folder.path().join("a"), "2").unwrap();
        subject.look(false).await;
        fs::write(folder.path().join("b"), "2").unwrap();
        subject.look(false).await;
        assert_eq!(*taken.lock().unwrap(), ["11"]);
        subject.look(false).await;
        subject.look(false).await;
        assert_eq!(*taken.lock().unwrap(), ["11", "22"]);
    }

    #[tokio::test]
    async fn asked_for_a_change_is_taken_over_at_once() {
        let folder = TempDir::new().unwrap();
        write(folder.path(), "1", "1");
        let (mut subject, taken) = subject(folder.path());
        subject.look(false).await;
        write(folder.path(), "2", "2");
        subject.look(true).await;
        assert_eq!(*taken.lock().unwrap(), ["11", "22"]);
    }

    #[tokio::test]
    async fn what_is_broken_or_gone_changes_nothing_until_it_is_good_again() {
        let folder = TempDir::new().unwrap();
        write(folder.path(), "1", "1");
        let (mut subject, taken) = subject(folder.path());
        subject.look(false).await;

        write(folder.path(), "bad", "1");
        subject.look(true).await;
        assert!(subject.complained.is_some());
        fs::remove_file(folder.path().join("b")).unwrap();
        subject.look(true).await;
        assert!(subject.complained.is_some());
        assert_eq!(*taken.lock().unwrap(), ["11"]);

        // The same as before counts as news: what was broken in between is good again.
        write(folder.path(), "1", "1");
        subject.look(true).await;
        assert!(subject.complained.is_none());
        assert_eq!(*taken.lock().unwrap(), ["11", "11"]);
    }

    #[tokio::test]
    async fn a_file_that_is_too_large_is_not_read_to_its_end() {
        let path = Path::new("/dev/zero").to_path_buf();
        let error = read(&path).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    /// As Kubernetes mounts secrets: the files are links into `..data`, a link that is renamed over.
    #[tokio::test]
    async fn links_that_are_turned_elsewhere_are_followed() {
        let folder = TempDir::new().unwrap();
        let path = folder.path();
        for version in ["1", "2"] {
            fs::create_dir(path.join(version)).unwrap();
            write(&path.join(version), version, version);
        }
        symlink("1", path.join("..data")).unwrap();
        for name in ["a", "b"] {
            symlink(Path::new("..data").join(name), path.join(name)).unwrap();
        }
        let (mut subject, taken) = subject(path);
        subject.look(false).await;

        symlink("2", path.join("..new")).unwrap();
        fs::rename(path.join("..new"), path.join("..data")).unwrap();
        subject.look(false).await;
        subject.look(false).await;
        assert_eq!(*taken.lock().unwrap(), ["11", "22"]);
    }

    #[tokio::test(start_paused = true)]
    async fn files_are_looked_at_every_interval_and_when_asked() {
        let folder = TempDir::new().unwrap();
        write(folder.path(), "1", "1");
        let now = Arc::new(Notify::new());
        let mut watch = Watch::new(EVERY, Arc::clone(&now));
        let (applied, mut applies) = tokio::sync::mpsc::unbounded_channel();
        watch.add("a file", [folder.path().join("a")], move |files| {
            applied.send(files.concat()).map_err(anyhow::Error::new)
        });
        let running = tokio::spawn(watch.run());
        assert_eq!(applies.recv().await.unwrap(), b"1");
        fs::write(folder.path().join("a"), "2").unwrap();
        let began = Instant::now();
        assert_eq!(applies.recv().await.unwrap(), b"2");
        assert_eq!(began.elapsed().as_secs(), 2 * EVERY.as_secs());
        fs::write(folder.path().join("a"), "3").unwrap();
        now.notify_one();
        assert_eq!(applies.recv().await.unwrap(), b"3");
        assert_eq!(began.elapsed().as_secs(), 2 * EVERY.as_secs());
        running.abort();
    }
}
