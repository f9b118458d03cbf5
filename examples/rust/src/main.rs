//! All that the API can do, once: what it prints is the same in every language.

mod drill;
mod files;
mod gateway;
mod problem;
mod retry;

/// The stubs.
mod v1 {
    #![allow(clippy::all)]
    tonic::include_proto!("easemob.messaging.v1");
}

use std::{collections::BTreeMap, env, time::Duration};

use anyhow::{Context as _, Result, bail};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use self::{
    gateway::{Client, connect},
    problem::Problem,
    retry::retrying,
    v1::{message::Content, message::Target, send_messages_response, *},
};

#[tokio::main]
async fn main() -> Result<()> {
    let client = connect(None)?;
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        [] | ["golden"] => golden(client).await,
        _ => drill::run(client, &arguments).await,
    }
}

async fn golden(mut client: Client) -> Result<()> {
    let file = files(&mut client).await?;
    messages(&mut client, &file).await?;
    let media = client
        .send_media_message(tokio_stream::iter(files::media_parts("bob")))
        .await?;
    let sent = media.into_inner().sent.context("the message")?;
    say("media message", told(&sent));
    stream(&mut client).await?;
    repeats(&mut client).await?;
    deadline(&mut client).await;
    errors(&mut client).await
}

fn say(what: &str, outcome: impl std::fmt::Display) {
    println!("{what}: {outcome}");
}

fn users(ids: &[&str]) -> Target {
    let user_ids = ids.iter().map(|&id| id.to_owned()).collect();
    Target::Users(Users { user_ids })
}

/// With an ID, so that it may be repeated: by `retrying`, too.
fn request(target: Target, content: Content) -> SendMessageRequest {
    SendMessageRequest {
        message: Some(Message {
            from_user_id: Some("amy".into()),
            target: Some(target),
            content: Some(content),
            ..Default::default()
        }),
        request_id: Uuid::new_v4().to_string(),
        ..Default::default()
    }
}

fn text(words: &str, ids: &[&str]) -> SendMessageRequest {
    request(
        users(ids),
        Content::Text(TextContent { text: words.into() }),
    )
}

async fn send(client: &Client, request: SendMessageRequest) -> Result<SendMessageResponse, Status> {
    let answer = retrying(|| {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.send_message(request).await }
    });
    answer.await.map(Response::into_inner)
}

/// Both lists: with several recipients, OK does not mean all.
fn told(answer: &SendMessageResponse) -> String {
    let mut accepted: Vec<_> = answer.accepted.iter().map(|one| &*one.recipient).collect();
    accepted.sort_unstable();
    let mut words = vec![format!("accepted for {}", accepted.join(", "))];
    for one in &answer.failures {
        let status = one.status.clone().unwrap_or_default();
        words.push(format!(
            "{} {}",
            one.recipients.join(", "),
            Problem::from(&status)
        ));
    }
    words.join("; ")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn files(client: &mut Client) -> Result<FileRef> {
    let parts = files::upload_parts(files::sha256(), |percent| {
        if percent % 25 == 0 {
            say("upload", format!("{percent} %"));
        }
    });
    let stored = client.upload_file(parts).await?.into_inner();
    let stored = stored.file.context("the file")?;
    let file = stored.r#ref.context("its reference")?;
    say(
        "uploaded",
        format!(
            "{} bytes, sha256 {}",
            stored.size_bytes,
            hex(&stored.sha256)
        ),
    );
    let (size, sha256) = files::download(client, file.clone()).await?;
    say(
        "downloaded",
        format!("{size} bytes, sha256 {}", hex(&sha256)),
    );
    Ok(file)
}

async fn messages(client: &mut Client, file: &FileRef) -> Result<()> {
    let file = || Some(file.clone());
    for (kind, content) in [
        (
            "text",
            Content::Text(TextContent {
                text: "你好".into(),
            }),
        ),
        (
            "image",
            Content::Image(ImageContent {
                file: file(),
                filename: "cat.png".into(),
                width: 640,
                height: 480,
            }),
        ),
        (
            "audio",
            Content::Audio(AudioContent {
                file: file(),
                filename: "cat.mp3".into(),
                duration_seconds: Some(3),
            }),
        ),
        (
            "video",
            Content::Video(VideoContent {
                file: file(),
                filename: "cat.mp4".into(),
                thumbnail: None,
                duration_seconds: Some(3),
                size_bytes: Some(files::SIZE as u64),
            }),
        ),
        (
            "file",
            Content::File(FileContent {
                file: file(),
                filename: "cat.pdf".into(),
            }),
        ),
        (
            "location",
            Content::Location(LocationContent {
                latitude: Some(39.966),
                longitude: Some(116.322),
                address: "Zhongguancun".into(),
            }),
        ),
        (
            "command",
            Content::Command(CommandContent {
                action: "refresh".into(),
            }),
        ),
        (
            "custom",
            Content::Custom(CustomContent {
                event: "order".into(),
                attributes: [("number".to_owned(), "A-7".to_owned())].into(),
            }),
        ),
    ] {
        say(
            kind,
            told(&send(client, request(users(&["bob"]), content)).await?),
        );
    }
    let hello = || {
        Content::Text(TextContent {
            text: "hello".into(),
        })
    };
    let groups = Target::Groups(Groups {
        group_ids: vec!["1001".into(), "1002".into()],
        ..Default::default()
    });
    say(
        "groups",
        told(&send(client, request(groups, hello())).await?),
    );
    let rooms = Target::Chatrooms(Chatrooms {
        chatroom_ids: vec!["77".into()],
        ..Default::default()
    });
    say(
        "chat rooms",
        told(&send(client, request(rooms, hello())).await?),
    );
    let user_ids = (0..1000).map(|number| format!("user{number:04}")).collect();
    let answer = send(client, request(Target::Users(Users { user_ids }), hello())).await?;
    let (accepted, failures) = (answer.accepted.len(), answer.failures.len());
    say(
        "1000 users",
        format!("{accepted} accepted, {failures} failures"),
    );
    Ok(())
}

/// Answers come as they finish; the correlation ID tells whose they are.
async fn stream(client: &mut Client) -> Result<()> {
    let asked = [
        ("a", text("first", &["bob"])),
        ("b", text("", &["bob"])),
        ("c", text("third", &["carol"])),
    ];
    let asked = asked.map(|(name, request)| SendMessagesRequest {
        correlation_id: name.into(),
        request: Some(request),
        timeout: None,
    });
    let mut requests = Request::new(tokio_stream::iter(asked));
    requests.set_timeout(Duration::from_secs(15));
    let mut stream = client.send_messages(requests).await?.into_inner();
    let mut answers = BTreeMap::new();
    while let Some(answer) = stream.message().await? {
        let outcome = match answer.result.context("a result")? {
            send_messages_response::Result::Response(response) => told(&response),
            send_messages_response::Result::Failure(failure) => {
                Problem::from(&failure.status.unwrap_or_default()).to_string()
            }
        };
        answers.insert(answer.correlation_id, outcome);
    }
    for (name, outcome) in answers {
        say(&format!("stream {name}"), outcome);
    }
    Ok(())
}

async fn repeats(client: &mut Client) -> Result<()> {
    let once = text("once", &["bob"]);
    let first = send(client, once.clone()).await?;
    let again = send(client, once).await?;
    say(
        "first",
        format!("{}, replayed {}", told(&first), first.replayed),
    );
    let same = first.accepted[0].message_id == again.accepted[0].message_id;
    say(
        "repeat",
        format!(
            "{}, replayed {}, same ID {same}",
            told(&again),
            again.replayed
        ),
    );
    Ok(())
}

fn within(limit: Duration, user: &str) -> Request<SendMessageRequest> {
    let mut request = Request::new(text("hello", &[user]));
    request.set_timeout(limit);
    request
}

async fn deadline(client: &mut Client) {
    if let Err(status) = client
        .send_message(within(Duration::from_secs(2), "fault-silence"))
        .await
    {
        // The gateway's verdict, or this client's own timer, which knows less: the same to us.
        say("deadline", Problem::from(&status).send_state);
    }
}

async fn errors(client: &mut Client) -> Result<()> {
    fails("wrong fields", send(client, text("", &["bob", ""])).await)?;
    fails(
        "quota",
        client
            .send_message(within(Duration::from_millis(2500), "fault-429"))
            .await,
    )?;
    fails(
        "in doubt",
        send(client, text("hello", &["fault-reset"])).await,
    )?;
    let wrong = files::upload_parts(vec![0; 32], |_| {});
    fails("checksum", client.upload_file(wrong).await)?;
    let media = tokio_stream::iter(files::media_parts("fault-403"));
    let problem = fails(
        "refused after the upload",
        client.send_media_message(media).await,
    )?;
    let file = problem.uploaded.and_then(|uploaded| uploaded.file?.r#ref);
    let content = Content::File(FileContent {
        file,
        filename: "cat.bin".into(),
    });
    let finished = request(users(&["bob"]), content);
    say(
        "the same file to another",
        told(&send(client, finished).await?),
    );
    let stranger = connect(Some("egk_nobodys"))?;
    fails(
        "unknown key",
        send(&stranger, text("hello", &["bob"])).await,
    )?;
    Ok(())
}

fn fails<T>(what: &str, outcome: Result<T, Status>) -> Result<Problem> {
    let Err(status) = outcome else {
        bail!("{what}: no error");
    };
    let problem = Problem::from(&status);
    say(what, &problem);
    Ok(problem)
}
