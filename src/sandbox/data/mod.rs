//! A folder that keeps messages and files from one run to the next.
//!
//! One thread writes, in the order of what happened; the sandbox goes on meanwhile, and waits only where the
//! disk is far behind. What was cleared or had to go is removed here too. A crash loses what was not
//! written yet, and a line or file that is cut off is left out when it is read.

mod file;
mod message;

use std::fs::{self, DirBuilder};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::config::Keep;
use super::file::File;
use super::locked;
use super::messages::Message;

/// Jobs that may wait for the disk.
const WAITING: usize = 1024;

/// An open folder.
pub(super) struct Data {
    jobs: Mutex<Option<SyncSender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Held, so that no other sandbox writes here.
    _lock: fs::File,
}

/// What is written.
enum Job {
    Message(Arc<Message>),
    ClearMessages,
    File(Arc<File>),
    RemoveFile(String),
}

/// What an earlier run left, oldest first.
#[derive(Default)]
pub(super) struct Left {
    pub(super) messages: Vec<Message>,
    pub(super) files: Vec<File>,
}

impl Data {
    /// Opens or makes the folder, for one process at a time.
    pub(super) fn open(folder: &Path, keep: Keep) -> io::Result<(Arc<Self>, Left)> {
        make_private(folder)?;
        make_private(&file::folder(folder))?;
        let lock = fs::File::create(folder.join("lock"))?;
        lock.try_lock().map_err(|_| {
            io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another sandbox keeps its messages there",
            )
        })?;
        let left = Left {
            messages: message::read(folder)?,
            files: file::read(folder)?,
        };
        let messages = message::Log::open(folder, keep)?;
        let (jobs, waiting) = sync_channel(WAITING);
        let folder = folder.to_owned();
        let writer = std::thread::Builder::new()
            .name("sandbox-data".into())
            .spawn(move || write(&waiting, messages, &folder))?;
        let data = Self {
            jobs: Mutex::new(Some(jobs)),
            writer: Mutex::new(Some(writer)),
            _lock: lock,
        };
        Ok((Arc::new(data), left))
    }

    pub(super) fn message(&self, message: &Arc<Message>) {
        self.give(Job::Message(Arc::clone(message)));
    }

    pub(super) fn clear_messages(&self) {
        self.give(Job::ClearMessages);
    }

    pub(super) fn file(&self, file: &Arc<File>) {
        self.give(Job::File(Arc::clone(file)));
    }

    pub(super) fn remove_file(&self, uuid: String) {
        self.give(Job::RemoveFile(uuid));
    }

    fn give(&self, job: Job) {
        if let Some(jobs) = &*locked(&self.jobs) {
            // It fails only where the writer is gone, and then there is nobody to tell.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Data {
    /// Waits until everything is written.
    fn drop(&mut self) {
        locked(&self.jobs).take();
        if let Some(writer) = locked(&self.writer).take() {
            let _ = writer.join();
        }
    }
}

fn write(jobs: &Receiver<Job>, mut messages: message::Log, folder: &Path) {
    for job in jobs {
        let written = match job {
            Job::Message(message) => messages.append(&message),
            Job::ClearMessages => messages.clear(),
            Job::File(file) => file::write(folder, &file),
            Job::RemoveFile(uuid) => file::remove(folder, &uuid),
        };
        if let Err(error) = written {
            tracing::warn!(%error, folder = %folder.display(), "the sandbox cannot keep its data");
        }
    }
}

/// Share secrets and messages are for whoever runs the sandbox.
fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Removes a file that may not be there.
fn remove(path: PathBuf) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::sandbox::testing::{call, download, form, get, send, start_with, text_to, upload};
    use crate::sandbox::testing::{path, uuid};
    use crate::sandbox::{Config, Endpoint, Filter, Sandbox};

    const USERS: Endpoint = Endpoint::SendToUsers;

    fn at(folder: &tempfile::TempDir) -> Config {
        Config {
            data: Some(folder.path().join("new/data")),
            ..Config::for_tests()
        }
    }

    fn send_to(sandbox: &Sandbox, token: &str, user: &str) {
        assert_eq!(
            send(sandbox, USERS, token, &text_to(USERS, &[user])).status,
            200
        );
    }

    fn targets(sandbox: &Sandbox) -> Vec<String> {
        let messages = sandbox.messages();
        messages
            .iter()
            .map(|message| message.to[0].clone())
            .collect()
    }

    #[test]
    fn messages_and_files_are_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (sandbox, token) = start_with(at(&folder));
        send_to(&sandbox, &token, "amy");
        let before = get(&sandbox, "/sandbox/messages").body;
        let restricted = [("restrict-access", "true")];
        let reply = upload(
            &sandbox,
            &token,
            &restricted,
            &form("file", "猫.txt", b"meow"),
        );
        let secret = sandbox.files()[0].share_secret.clone().unwrap();
        drop(sandbox);

        let (sandbox, token) = start_with(at(&folder));
        assert_eq!(get(&sandbox, "/sandbox/messages").body, before);
        send_to(&sandbox, &token, "bob");
        assert_eq!(targets(&sandbox), ["amy", "bob"]);
        assert_eq!(sandbox.messages()[1].sequence, 1);
        assert_eq!(sandbox.files()[0].name, "猫.txt");
        let shown = [("share-secret", secret.as_str())];
        assert_eq!(
            download(&sandbox, &token, &uuid(&reply), &shown).body,
            b"meow"
        );
        assert_eq!(download(&sandbox, &token, &uuid(&reply), &[]).status, 403);
    }

    #[test]
    fn what_was_cleared_stays_away() {
        let folder = tempfile::tempdir().unwrap();
        let (sandbox, token) = start_with(at(&folder));
        send_to(&sandbox, &token, "amy");
        upload(&sandbox, &token, &[], &form("file", "a", b"a"));
        call(&sandbox, "DELETE", "/sandbox/messages", &[], "");
        call(&sandbox, "DELETE", "/sandbox/files", &[], "");
        send_to(&sandbox, &token, "bob");
        drop(sandbox);
        let (sandbox, _) = start_with(at(&folder));
        assert_eq!(targets(&sandbox), ["bob"]);
        assert_eq!(sandbox.files().len(), 0);
        let files = folder.path().join("new/data/files");
        assert_eq!(std::fs::read_dir(files).unwrap().count(), 0);
    }

    #[test]
    fn the_folder_holds_no_more_than_twice_what_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = at(&folder);
        config.keep.messages = 3;
        config.keep.files = 1;
        let (sandbox, token) = start_with(config.clone());
        for n in 0..20 {
            send_to(&sandbox, &token, &format!("u{n}"));
            upload(&sandbox, &token, &[], &form("file", "a", b"a"));
        }
        drop(sandbox);
        let data = folder.path().join("new/data");
        let lines = ["messages.jsonl", "messages.old.jsonl"].map(|name| {
            let text = std::fs::read_to_string(data.join(name)).unwrap();
            text.lines().count()
        });
        assert!(lines.iter().all(|lines| *lines <= 3), "{lines:?}");
        assert_eq!(std::fs::read_dir(data.join("files")).unwrap().count(), 2);
        let (sandbox, _) = start_with(config);
        assert_eq!(targets(&sandbox), ["u17", "u18", "u19"]);
    }

    #[test]
    fn what_is_cut_off_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let (sandbox, token) = start_with(at(&folder));
        send_to(&sandbox, &token, "amy");
        send_to(&sandbox, &token, "bob");
        drop(sandbox);
        let log = folder.path().join("new/data/messages.jsonl");
        let text = std::fs::read_to_string(&log).unwrap();
        std::fs::write(&log, &text[..text.len() - 20]).unwrap();
        std::fs::write(folder.path().join("new/data/files/x.json"), "{").unwrap();
        let (sandbox, token) = start_with(at(&folder));
        assert_eq!(targets(&sandbox), ["amy"]);
        send_to(&sandbox, &token, "carol");
        drop(sandbox);
        let (sandbox, _) = start_with(at(&folder));
        assert_eq!(
            targets(&sandbox),
            ["amy", "carol"],
            "the cut line took no other along"
        );
    }

    #[test]
    fn a_folder_is_one_sandboxs() {
        let folder = tempfile::tempdir().unwrap();
        let (first, _) = start_with(at(&folder));
        assert!(Sandbox::start(at(&folder)).is_err());
        drop(first);
        assert!(Sandbox::start(at(&folder)).is_ok());
    }

    #[test]
    fn files_age_while_nobody_runs() {
        let folder = tempfile::tempdir().unwrap();
        let (sandbox, token) = start_with(at(&folder));
        let uuid = uuid(&upload(&sandbox, &token, &[], &form("file", "a", b"a")));
        drop(sandbox);
        let meta = folder.path().join(format!("new/data/files/{uuid}.json"));
        let text = std::fs::read_to_string(&meta).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let week = 7 * 24 * 60 * 60 * 1000;
        json["received"] = (json["received"].as_u64().unwrap() - week).into();
        std::fs::write(&meta, json.to_string()).unwrap();
        let (sandbox, token) = start_with(at(&folder));
        let reply = download(&sandbox, &token, &uuid, &[]);
        assert_eq!(reply.error().1, "file_expired");
    }

    #[tokio::test]
    async fn kept_messages_are_found_like_new_ones() {
        let folder = tempfile::tempdir().unwrap();
        let (sandbox, token) = start_with(at(&folder));
        send_to(&sandbox, &token, "amy");
        drop(sandbox);
        let (sandbox, _) = start_with(at(&folder));
        let amy = Filter::user("amy");
        let found = sandbox.next_message(&amy, Duration::from_secs(5)).await;
        assert_eq!(found.unwrap().path, path(USERS));
    }
}
