//! The files of the command line: the real binary, a gateway, and the sandbox behind it.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::Arc,
};

use easemob_gateway::sandbox::{Config, Endpoint, Fault, File, Pace, Sandbox, UploadState};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, process::Command};

use crate::support::{
    gateway::{Setup, TestGateway},
    soon,
};

/// Everything that a file passes through, and a folder to work in.
struct World {
    sandbox: Sandbox,
    gateway: TestGateway,
    folder: TempDir,
}

impl World {
    async fn new() -> Self {
        Self::with_limit(10 << 20).await
    }

    /// With the app's largest upload.
    async fn with_limit(bytes: u64) -> Self {
        let sandbox = Sandbox::start(Config {
            file_bytes: 0,
            ..Config::for_tests()
        });
        let sandbox = sandbox.unwrap();
        let setup = Setup::at(sandbox.base_url()).app(|app| app.limits.upload_bytes = bytes);
        Self {
            gateway: setup.start().await,
            sandbox,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of so many bytes, no two chunks of them alike.
    fn file(&self, name: &str, bytes: usize) -> Vec<u8> {
        let content: Vec<u8> = (0..bytes)
            .map(|i| u8::try_from(((i / 251) ^ i) % 256).unwrap())
            .collect();
        fs::write(self.path(name), &content).unwrap();
        content
    }

    /// A picture of this size.
    fn picture(&self, name: &str, width: u32, height: u32) -> Vec<u8> {
        let path = self.path(name);
        // Of many colours, or it would be so small that it is its own thumbnail.
        let mut colour = 1_u32;
        let picture = image::RgbImage::from_fn(width, height, |_x, _y| {
            colour = colour.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            image::Rgb([colour.to_be_bytes()[0], colour.to_be_bytes()[1], 0])
        });
        picture.save(&path).unwrap();
        fs::read(path).unwrap()
    }

    /// The command with these words, in our folder.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_easemob-gateway"));
        command
            .args(words)
            .current_dir(self.folder.path())
            .env(
                "EASEMOB_GATEWAY_URL",
                format!("http://{}", self.gateway.addr),
            )
            .env_remove("EASEMOB_FILE_SECRET")
            .env_remove("EASEMOB_THUMBNAIL_SECRET")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, words: &[&str]) -> Ran {
        let output = self.command(words).output();
        Ran::from(soon("the command to end", output).await.unwrap())
    }

    /// Uploads a file, and gives its uuid.
    async fn upload(&self, words: &[&str]) -> String {
        let ran = self.run(&[&["upload", "--json"], words].concat()).await;
        ran.is(0);
        ran.json()["uuid"].as_str().unwrap().to_owned()
    }

    /// The one file that was stored.
    fn stored(&self) -> Arc<File> {
        let [file] = &*self.sandbox.files() else {
            panic!("not one file")
        };
        Arc::clone(file)
    }

    /// What is in the folder.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = entries
            .map(name)
            .map(|name| name.into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Nothing was stored, and nothing sent.
    fn is_untouched(&self) {
        assert_eq!(self.sandbox.files().len(), 0);
        assert_eq!(self.sandbox.messages().len(), 0);
    }
}

/// A command that has ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: Vec<u8>,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: output.stdout,
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    #[track_caller]
    fn is(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{}\n{}", self.text(), self.err);
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    #[track_caller]
    fn says(&self, text: &str) {
        assert!(self.err.contains(text), "{text:?} is not in {}", self.err);
    }
}

#[tokio::test]
async fn a_file_goes_up_and_comes_down_as_it_was() {
    let world = World::new().await;
    let content = world.file("猫 1.pdf", 700_001);
    let ran = world.run(&["upload", "猫 1.pdf"]).await;
    ran.is(0);
    let said = &ran.err;
    assert!(
        said.starts_with("trace  ") && said.lines().count() == 1,
        "no progress where nobody watches: {said}"
    );
    let file = world.stored();
    assert_eq!(
        ran.text(),
        format!(
            "uuid    {}\nsize    700001\nsha256  {}\n",
            file.uuid, file.sha256
        )
    );
    assert_eq!(
        (&*file.name, &*file.content_type),
        ("猫 1.pdf", "application/pdf")
    );
    assert!(file.content.as_deref() == Some(&*content));

    fs::remove_file(world.path("猫 1.pdf")).unwrap();
    let ran = world.run(&["download", &file.uuid]).await;
    ran.is(0);
    assert_eq!(ran.text(), "saved  ./猫 1.pdf  700001 bytes\n");
    assert!(fs::read(world.path("猫 1.pdf")).unwrap() == content);
    assert_eq!(world.names(), ["猫 1.pdf"]);

    let ran = world.run(&["download", &file.uuid, "-o", "-"]).await;
    ran.is(0);
    assert!(ran.out == content);
}

#[tokio::test]
async fn an_image_by_its_path_is_a_message_with_its_size() {
    let world = World::new().await;
    let picture = world.picture("cat.png", 640, 480);
    let ran = world
        .run(&["send", "image", "cat.png", "--to", "bob"])
        .await;
    ran.is(0);
    let file = world.stored();
    let message = &world.sandbox.messages()[0];
    assert_eq!(
        ran.text(),
        format!(
            "uploaded  {}\naccepted  bob  {}\n",
            file.uuid, message.ids[0].1
        )
    );
    assert_eq!(file.content_type, "image/png");
    assert!(file.content.as_deref() == Some(&*picture));
    let body = message.body();
    assert_eq!(body["filename"], "cat.png");
    assert_eq!(
        body["size"],
        serde_json::json!({"width": 640, "height": 480})
    );
    assert!(body["url"].as_str().unwrap().ends_with(&file.uuid));

    let name = ["-o", "back.png"];
    let ran = world
        .run(&[&["download", &file.uuid], &name[..]].concat())
        .await;
    ran.is(0);
    assert!(fs::read(world.path("back.png")).unwrap() == picture);

    let words = ["download", &file.uuid, "--thumbnail", "--json"];
    let ran = world.run(&words).await;
    ran.is(0);
    let told = ran.json();
    assert_eq!(told["path"], "./thumbnail-cat.png");
    let thumbnail = image::open(world.path("thumbnail-cat.png")).unwrap();
    assert!(thumbnail.width() < 640, "{}", thumbnail.width());
}

#[tokio::test]
async fn a_video_takes_its_thumbnail_along() {
    let world = World::new().await;
    let video = world.file("cat.mp4", 300_000);
    let poster = world.picture("poster.jpg", 64, 48);
    let words = [
        "send",
        "video",
        "cat.mp4",
        "--thumbnail",
        "poster.jpg",
        "--to",
        "bob",
    ];
    let ran = world
        .run(
            &[
                &words[..],
                &["--duration", "3", "--restrict-access", "--json"],
            ]
            .concat(),
        )
        .await;
    ran.is(0);
    let uploaded = &ran.json()["uploaded"];
    let body = world.sandbox.messages()[0].body();
    for (name, content, url, secret) in [
        ("thumbnail", poster, "thumb", "thumb_secret"),
        ("file", video, "url", "secret"),
    ] {
        let uuid = uploaded[name]["uuid"].as_str().unwrap();
        let files = world.sandbox.files();
        let file = files.iter().find(|file| file.uuid == uuid).unwrap();
        assert!(file.content.as_deref() == Some(&*content), "{name}");
        assert_eq!(uploaded[name]["sha256"], *file.sha256);
        assert!(body[url].as_str().unwrap().ends_with(uuid));
        assert_eq!(body[secret], uploaded[name]["secret"]);
        assert_eq!(
            uploaded[name]["secret"].as_str(),
            file.share_secret.as_deref()
        );
        assert!(file.share_secret.is_some());
    }
    assert_eq!(body["length"], 3);
    assert_eq!(body["file_length"], 300_000);
}

#[tokio::test]
async fn a_restricted_file_comes_down_with_its_secret_alone() {
    let world = World::new().await;
    world.file("cat.bin", 1_000);
    let uuid = world.upload(&["cat.bin", "--restrict-access"]).await;
    let secret = world.stored().share_secret.clone().unwrap();
    let ran = world.run(&["download", &uuid, "-o", "a"]).await;
    ran.is(4);
    ran.says("not downloaded  ");
    let mut command = world.command(&["download", &uuid, "-o", "a"]);
    let output = command.env("EASEMOB_FILE_SECRET", &secret).output();
    Ran::from(soon("the download", output).await.unwrap()).is(0);
    assert_eq!(fs::read(world.path("a")).unwrap().len(), 1_000);
}

#[tokio::test]
async fn what_cannot_be_read_is_not_sent() {
    let world = World::new().await;
    world.file("cat.mp4", 10);
    fs::create_dir(world.path("folder")).unwrap();
    for (words, why) in [
        (
            &["send", "image", "none.jpg", "--to", "bob"][..],
            "cannot read none.jpg: No such file",
        ),
        (&["send", "file", "folder", "--to", "bob"], "it is a folder"),
        (&["upload", "folder"], "it is a folder"),
        (
            &["upload", "none", "--json"],
            "cannot read none: No such file",
        ),
        (
            &[
                "send",
                "video",
                "cat.mp4",
                "--thumbnail",
                "none.jpg",
                "--to",
                "bob",
            ],
            "cannot read none.jpg",
        ),
    ] {
        let ran = world.run(words).await;
        ran.is(1);
        ran.says(why);
        assert_eq!(ran.text(), "");
    }
    world.is_untouched();
    assert_eq!(world.sandbox.uploads().len(), 0);
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_its_first_byte() {
    let world = World::with_limit(1_000).await;
    world.file("cat.jpg", 1_001);
    let ran = world
        .run(&["send", "image", "cat.jpg", "--to", "bob"])
        .await;
    ran.is(4);
    ran.says("not sent  FILE_TOO_LARGE: the file has 1001 bytes, and the app's limit is 1000.");
    let ran = world.run(&["upload", "cat.jpg", "--json"]).await;
    ran.is(4);
    let error = &ran.json()["error"];
    assert_eq!(error["reason"], "FILE_TOO_LARGE");
    assert_eq!(error["metadata"]["limit_bytes"], "1000");
    assert_eq!(error.get("send_state"), None);
    assert_eq!(world.sandbox.uploads().len(), 0);
    world.is_untouched();
}

#[tokio::test]
async fn wrong_fields_are_told_as_options() {
    let world = World::new().await;
    world.file("cat.jpg", 10);
    let words = ["cat.jpg", "--content-type", "jpeg"];
    let ran = world.run(&[&["upload"], &words[..]].concat()).await;
    ran.is(4);
    ran.says("correct this, and upload again.\n  --content-type ");
    let ran = world
        .run(&[&["send", "image"], &words[..], &["--to", "bob"]].concat())
        .await;
    ran.is(4);
    ran.says("correct this, and send again.\n  --content-type ");
    let ran = world.run(&["download", "../etc"]).await;
    ran.is(4);
    ran.says("correct this, and download again.\n  UUID ");
    world.is_untouched();
}

#[tokio::test]
async fn a_stored_file_is_sent_later_without_its_bytes() {
    let world = World::new().await;
    world.picture("my cat.png", 64, 48);
    // One that no waiting helps against.
    let refusal = || Fault::json(429, "resource_limited", "You have exceeded the limit.");
    world
        .sandbox
        .script(Endpoint::SendToUsers, [refusal(), refusal()]);
    let words = [
        "send",
        "image",
        "my cat.png",
        "--to",
        "bob",
        "--request-id",
        "order-7",
    ];
    let ran = world.run(&words).await;
    ran.is(4);
    let uuid = world.stored().uuid.clone();
    let finish = format!(
        "easemob-gateway send image --uuid {uuid} --filename 'my cat.png' --width 64 --height 48 --request-id order-7"
    );
    ran.says("The file is stored: finish with this");
    ran.says(&finish);

    let ran = world.run(&[&words[..], &["--json"]].concat()).await;
    ran.is(4);
    let told = ran.json();
    let second = told["uploaded"]["file"]["uuid"].as_str().unwrap();
    // Under the same request ID it is not stored again.
    assert_eq!(second, uuid);
    assert_eq!(world.sandbox.messages().len(), 0);

    let words = [
        "send",
        "image",
        "--uuid",
        second,
        "--filename",
        "my cat.png",
    ];
    let rest = ["--width", "64", "--height", "48", "--request-id", "order-7"];
    let ran = world
        .run(&[&words[..], &rest[..], &["--to", "bob"]].concat())
        .await;
    ran.is(0);
    assert_eq!(world.sandbox.files().len(), 1);
    assert_eq!(world.sandbox.messages()[0].body()["size"]["width"], 64);
}

#[tokio::test]
async fn a_file_in_the_way_stays() {
    let world = World::new().await;
    let content = world.file("cat.bin", 100);
    let uuid = world.upload(&["cat.bin"]).await;
    fs::write(world.path("cat.bin"), "mine").unwrap();
    for words in [
        &["download", &uuid][..],
        &["download", &uuid, "-o", "cat.bin"],
        &["download", &uuid, "-o", "."],
    ] {
        let ran = world.run(words).await;
        ran.is(1);
        ran.says("cat.bin is there already");
        assert_eq!(fs::read(world.path("cat.bin")).unwrap(), b"mine");
    }
    let ran = world.run(&["download", &uuid, "-o", "-", "--json"]).await;
    ran.is(2);
    let ran = world.run(&["download", &uuid, "-o", "none/cat.bin"]).await;
    ran.is(1);
    ran.says("cannot write none/cat.bin");
    world.run(&["download", &uuid, "--force"]).await.is(0);
    assert!(fs::read(world.path("cat.bin")).unwrap() == content);
    assert_eq!(world.names(), ["cat.bin"]);
}

#[tokio::test]
async fn a_download_that_breaks_off_leaves_nothing() {
    let world = World::new().await;
    world.file("cat.bin", 1_000_000);
    let uuid = world.upload(&["cat.bin"]).await;
    world
        .sandbox
        .script(Endpoint::Download, [Fault::truncated()]);
    let ran = world.run(&["download", &uuid, "-o", "half.bin"]).await;
    ran.is(4);
    ran.says("not downloaded  EASEMOB_UNREACHABLE: ");
    assert_eq!(world.names(), ["cat.bin"]);
    let ran = world
        .run(&["download", "00000000-0000-0000-0000-000000000000", "--json"])
        .await;
    ran.is(4);
    assert_eq!(ran.json()["error"]["reason"], "FILE_NOT_FOUND");
    assert_eq!(world.names(), ["cat.bin"]);
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_the_download() {
    let world = World::new().await;
    world.file("cat.bin", 4_000_000);
    let uuid = world.upload(&["cat.bin"]).await;
    let mut command = world.command(&["download", &uuid, "-o", "-"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    soon("the first byte", out.read_exact(&mut [0]))
        .await
        .unwrap();
    drop(out);
    let ran = Ran::from(soon("its end", child.wait_with_output()).await.unwrap());
    ran.is(1);
    assert_eq!(ran.err, "");
}

#[tokio::test]
async fn ctrl_c_in_an_upload_sends_nothing() {
    for words in [
        &["send", "file", "pipe", "--to", "bob"][..],
        &["upload", "pipe"],
    ] {
        let world = World::new().await;
        let pipe = world.path("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let child = world
            .command(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
        let writer = tokio::task::spawn_blocking(move || fill(&pipe));
        let writer = soon("the command to read", writer).await.unwrap();
        // Its first bytes are at Easemob: it is in the middle, and waits for more.
        let is_under_way = world.sandbox.wait_for_uploads(
            1,
            |upload| upload.state == UploadState::UnderWay && upload.body_bytes > 0,
            std::time::Duration::from_secs(20),
        );
        assert!(is_under_way.await);
        kill_process(pid, Signal::INT).unwrap();
        let ran = Ran::from(soon("its end", child.wait_with_output()).await.unwrap());
        ran.is(4);
        ran.says("interrupted. The upload was not finished, so nothing was sent.");
        drop(writer);
        world.is_untouched();
    }
}

/// Writes more than a pipe holds, and leaves it open.
fn fill(pipe: &Path) -> fs::File {
    let mut writer = fs::File::options().write(true).open(pipe).unwrap();
    writer.write_all(&vec![1; 400_000]).unwrap();
    writer
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_an_upload_is_told() {
    let mut world = World::new().await;
    let setup = Setup::at(world.sandbox.base_url());
    let idle = std::time::Duration::from_millis(200);
    let setup = setup.media(|media| media.upload_idle_timeout = idle);
    world.gateway = setup.start().await;
    let pipe = world.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let writer = tokio::task::spawn_blocking(move || fill(&pipe));
    let ran = world.run(&["send", "file", "pipe", "--to", "bob"]).await;
    ran.is(4);
    ran.says("not sent  UPLOAD_INCOMPLETE: ");
    drop(writer.await.unwrap());
    world.is_untouched();
}

#[tokio::test]
async fn a_large_file_takes_no_more_memory_than_a_small_one() {
    let world = World::with_limit(0).await;
    let pipe = world.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let child = world
        .command(&["upload", "pipe", "--filename", "large.bin"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id().unwrap();
    let writer = tokio::task::spawn_blocking(move || {
        let mut writer = fill(&pipe);
        let small = peak_memory(pid);
        for _ in 0..128 {
            writer.write_all(&vec![1; 1 << 19]).unwrap();
        }
        (small, peak_memory(pid))
    });
    let (small, large) = soon("the command to read", writer).await.unwrap();
    assert!(large < small + (8 << 20), "{small} {large}");
    let ran = Ran::from(soon("its end", child.wait_with_output()).await.unwrap());
    ran.is(0);
    assert_eq!(world.stored().size, 400_000 + (64 << 20));
}

/// The most memory that a process has had so far, in bytes.
fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib * 1024
}

#[tokio::test]
async fn an_upload_that_takes_too_long_sends_nothing() {
    let world = World::new().await;
    world.sandbox.set_upload_pace(Pace::Stopped);
    world.file("cat.bin", 9_000_000);
    let words = ["send", "file", "cat.bin", "--to", "bob", "--timeout", "1s"];
    let ran = world.run(&words).await;
    ran.is(4);
    ran.says("not sent  DEADLINE_EXCEEDED: ");
    world.is_untouched();
}

#[tokio::test]
async fn without_a_gateway_nothing_is_done() {
    let world = World::new().await;
    world.file("cat.bin", 10);
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nowhere.local_addr().unwrap());
    drop(nowhere);
    for (words, verdict) in [
        (&["send", "file", "cat.bin", "--to", "bob"][..], "not sent"),
        (&["upload", "cat.bin"], "not uploaded"),
        (&["download", "1-2", "-o", "a"], "not downloaded"),
    ] {
        let ran = world.run(&[words, &["--gateway", &url]].concat()).await;
        ran.is(4);
        ran.says(&format!("{verdict}  UNAVAILABLE: nothing listens at {url}"));
    }
    assert_eq!(world.names(), ["cat.bin"]);
}
