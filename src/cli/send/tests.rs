//! Arguments → request.

use clap::{Parser, error::ErrorKind};

use super::*;
use crate::proto::{
    ChatroomPriority, RouteType,
    file_ref::Location,
    message::{Content as Proto, Extension, Target},
};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn parse(arguments: &[&str]) -> Result<Args, clap::Error> {
    let command = ["send"].iter().chain(arguments);
    Cli::try_parse_from(command).map(|cli| cli.args)
}

fn request(arguments: &[&str]) -> proto::SendMessageRequest {
    let args = parse(arguments).unwrap();
    prepare(args, io::empty()).unwrap().0
}

fn message(arguments: &[&str]) -> proto::Message {
    request(arguments).message.unwrap()
}

/// What these arguments say, to one user.
fn content(arguments: &[&str]) -> Proto {
    let to_bob = [arguments, &["--to", "bob"]].concat();
    message(&to_bob).content.unwrap()
}

/// Target of a text with these arguments.
fn target(arguments: &[&str]) -> Target {
    message(&[&["text", "hi"], arguments].concat())
        .target
        .unwrap()
}

/// Why these arguments are refused.
fn refused(arguments: &[&str]) -> (ErrorKind, String) {
    let error = parse(arguments).expect_err("refused");
    assert_eq!(error.exit_code(), 2);
    (error.kind(), error.to_string())
}

fn text_from(stdin: &[u8]) -> io::Result<Proto> {
    let args = parse(&["text", "--to", "bob", "-"]).unwrap();
    let (request, _gateway, _json) = prepare(args, stdin)?;
    Ok(request.message.unwrap().content.unwrap())
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().copied().map(String::from).collect()
}

#[test]
fn the_command_line_is_sound() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
}

#[test]
fn a_text_sets_nothing_else() {
    let users = proto::Users {
        user_ids: strings(&["bob"]),
    };
    let text = proto::TextContent {
        text: "你好".into(),
    };
    let expected = proto::SendMessageRequest {
        message: Some(proto::Message {
            target: Some(Target::Users(users)),
            content: Some(Proto::Text(text)),
            ..Default::default()
        }),
        ..Default::default()
    };
    assert_eq!(request(&["text", "--to", "bob", "你好"]), expected);
    assert_eq!(request(&["text", "你好", "--to", "bob"]), expected);
}

#[test]
fn a_hyphen_reads_the_text_without_its_last_newline() {
    let text = |text: &str| Proto::Text(proto::TextContent { text: text.into() });
    assert!(text_from(b"two\nlines\n\n").unwrap() == text("two\nlines\n"));
    assert!(text_from(b"none").unwrap() == text("none"));
    assert!(text_from(b"\xff").is_err());
    let dashed = message(&["text", "--to", "bob", "--", "-hi"]);
    assert!(dashed.content == Some(text("-hi")));
}

#[test]
fn an_image_has_a_url_or_a_uuid() {
    let by_url = content(&["image", "--url", "https://files.example.com/cat.jpg"]);
    let file = |location, secret: &str| {
        Some(proto::FileRef {
            location: Some(location),
            secret: secret.into(),
        })
    };
    let url = Location::Url("https://files.example.com/cat.jpg".into());
    assert!(
        by_url
            == Proto::Image(proto::ImageContent {
                file: file(url, ""),
                ..Default::default()
            })
    );

    let by_uuid = content(&[
        "image",
        "--uuid",
        "1-2",
        "--secret",
        "s3",
        "--filename",
        "cat.jpg",
        "--width",
        "640",
        "--height",
        "480",
    ]);
    assert!(
        by_uuid
            == Proto::Image(proto::ImageContent {
                file: file(Location::Uuid("1-2".into()), "s3"),
                filename: "cat.jpg".into(),
                width: 640,
                height: 480,
            })
    );
    assert_eq!(
        refused(&["image", "--to", "bob"]).0,
        ErrorKind::MissingRequiredArgument
    );
    let both = ["image", "--to", "bob", "--url", "http://a", "--uuid", "1"];
    assert_eq!(refused(&both).0, ErrorKind::ArgumentConflict);
}

#[test]
fn audio_video_and_file_tell_what_they_are() {
    let file = Some(proto::FileRef {
        location: Some(Location::Uuid("1-2".into())),
        secret: String::new(),
    });
    let audio = content(&["audio", "--uuid", "1-2", "--duration", "0"]);
    assert!(
        audio
            == Proto::Audio(proto::AudioContent {
                file: file.clone(),
                filename: String::new(),
                duration_seconds: Some(0),
            })
    );
    let video = content(&[
        "video",
        "--uuid",
        "1-2",
        "--thumbnail-url",
        "https://a/b.png",
        "--thumbnail-secret",
        "t",
        "--duration",
        "12",
        "--size-bytes",
        "5000000000",
    ]);
    assert!(
        video
            == Proto::Video(proto::VideoContent {
                file: file.clone(),
                filename: String::new(),
                thumbnail: Some(proto::FileRef {
                    location: Some(Location::Url("https://a/b.png".into())),
                    secret: "t".into(),
                }),
                duration_seconds: Some(12),
                size_bytes: Some(5_000_000_000),
            })
    );
    let Proto::Video(bare) = content(&["video", "--uuid", "1-2"]) else {
        panic!("not a video")
    };
    assert!(bare.thumbnail.is_none() && bare.size_bytes.is_none());
    let plain = content(&["file", "--uuid", "1-2", "--filename", "a.pdf"]);
    assert!(
        plain
            == Proto::File(proto::FileContent {
                file,
                filename: "a.pdf".into(),
            })
    );
}

#[test]
fn a_path_is_told_that_nothing_is_uploaded() {
    for arguments in [
        &["image", "--to", "bob", "./cat.jpg"][..],
        &["file", "--to", "bob", "--url", "/tmp/a.pdf"],
        &["file", "--to", "bob", "--url", "file:///tmp/a.pdf"],
        &[
            "video",
            "--to",
            "bob",
            "--uuid",
            "1",
            "--thumbnail-url",
            "a.png",
        ],
    ] {
        let (kind, text) = refused(arguments);
        assert_eq!(kind, ErrorKind::ValueValidation);
        assert!(text.contains("uploads no files"), "{text}");
    }
}

#[test]
fn degrees_may_be_negative_and_are_the_gateways_to_judge() {
    let location = content(&[
        "location",
        "--latitude",
        "-33.8568",
        "--longitude",
        "151.2153",
        "Opera House",
    ]);
    assert!(
        location
            == Proto::Location(proto::LocationContent {
                latitude: Some(-33.8568),
                longitude: Some(151.2153),
                address: "Opera House".into(),
            })
    );
}

#[test]
fn commands_and_custom_messages_are_the_callers_own() {
    let command = content(&["command", "refresh"]);
    assert!(
        command
            == Proto::Command(proto::CommandContent {
                action: "refresh".into(),
            })
    );
    let custom = content(&[
        "custom",
        "order/paid",
        "--attribute",
        "order=7",
        "--attribute",
        "sum=a=b, c",
    ]);
    let attribute = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert!(
        custom
            == Proto::Custom(proto::CustomContent {
                event: "order/paid".into(),
                attributes: [attribute("order", "7"), attribute("sum", "a=b, c")].into(),
            })
    );
    let (kind, _text) = refused(&["custom", "--to", "bob", "x", "--attribute", "order"]);
    assert_eq!(kind, ErrorKind::ValueValidation);
}

#[test]
fn recipients_may_be_repeated_or_joined_by_commas() {
    let users = target(&["--to", "amy,ben", "--to", "cat"]);
    assert!(
        users
            == Target::Users(proto::Users {
                user_ids: strings(&["amy", "ben", "cat"]),
            })
    );
    let groups = target(&["--group", "1,2", "--read-receipt"]);
    assert!(
        groups
            == Target::Groups(proto::Groups {
                group_ids: strings(&["1", "2"]),
                member_ids: Vec::new(),
                need_read_receipt: true,
            })
    );
    let rooms = target(&["--room", "1", "--chatroom", "2", "--priority", "high"]);
    assert!(
        rooms
            == Target::Chatrooms(proto::Chatrooms {
                chatroom_ids: strings(&["1", "2"]),
                member_ids: Vec::new(),
                priority: ChatroomPriority::High.into(),
            })
    );
}

#[test]
fn members_are_those_of_the_group_or_room() {
    let Target::Groups(groups) = target(&["--group", "1", "--member", "amy,ben"]) else {
        panic!("not groups")
    };
    assert_eq!(groups.member_ids, ["amy", "ben"]);
    let Target::Chatrooms(rooms) = target(&["--chatroom", "1", "--member", "amy"]) else {
        panic!("not rooms")
    };
    assert_eq!(rooms.member_ids, ["amy"]);
}

#[test]
fn an_option_without_its_kind_of_target_is_not_dropped_in_silence() {
    let (kind, text) = refused(&["text", "hi"]);
    assert_eq!(kind, ErrorKind::MissingRequiredArgument);
    assert!(text.contains("--to <USER>|--group <ID>|--chatroom <ID>"));
    for options in [
        ["--to", "bob", "--group", "1"],
        ["--to", "bob", "--chatroom", "1"],
        ["--group", "1", "--chatroom", "1"],
        ["--to", "bob", "--member", "amy"],
        ["--to", "bob", "--priority", "low"],
        ["--group", "1", "--priority", "low"],
        ["--to", "bob", "--read-receipt", "--silent"],
        ["--chatroom", "1", "--read-receipt", "--silent"],
    ] {
        let (kind, _text) = refused(&[&["text", "hi"], &options[..]].concat());
        assert_eq!(kind, ErrorKind::ArgumentConflict, "{options:?}");
    }
}

#[test]
fn every_option_of_delivery_reaches_its_field() {
    let request = request(&[
        "text",
        "hi",
        "--to",
        "bob",
        "--from",
        "amy",
        "--app",
        "shop",
        "--ext",
        "{\"id\":9007199254740993}",
        "--silent",
        "--sync-device",
        "--online-only",
        "--roam-ignore",
        "cat,dan",
        "--env",
        "test",
        "--request-id",
        "order-7",
        "--resend-maybe-sent",
    ]);
    assert_eq!(request.app, "shop");
    assert_eq!(request.request_id, "order-7");
    assert!(request.resend_maybe_sent);
    let message = request.message.unwrap();
    assert_eq!(message.from_user_id.as_deref(), Some("amy"));
    let ext = Extension::ExtJson("{\"id\":9007199254740993}".into());
    assert!(message.extension == Some(ext));
    assert!(message.silent && message.sync_device);
    assert_eq!(message.route_type(), RouteType::OnlineOnly);
    assert_eq!(message.roam_ignore_user_ids, ["cat", "dan"]);
    assert_eq!(message.env, "test");
}

#[test]
fn the_gateway_is_named_by_an_http_url() {
    let prepared = |gateway: &str| {
        let args = parse(&["text", "hi", "--to", "bob", "--gateway", gateway, "--json"]);
        prepare(args.unwrap(), io::empty()).unwrap()
    };
    let (_request, gateway, json) = prepared("http://gateway.internal:50051/");
    assert_eq!(gateway.name(), "http://gateway.internal:50051");
    assert!(json);
    for (url, hint) in [
        ("https://gateway.internal", "no TLS"),
        ("gateway.internal:50051", "http://"),
        ("gateway.internal", "http://"),
        ("ftp://gateway.internal", "http://"),
        ("http://gateway.internal/path", "only host and port"),
        ("", "http://"),
    ] {
        let (kind, text) = refused(&["text", "hi", "--to", "bob", "--gateway", url]);
        // clap has a word of its own for what is empty.
        assert!(matches!(kind, ErrorKind::ValueValidation), "{url:?}");
        assert!(text.contains(hint), "{text}");
    }
}

#[test]
fn a_timeout_has_a_unit_and_an_end() {
    let timeout = |text| {
        let args = parse(&["text", "hi", "--to", "bob", "--timeout", text])?;
        Ok::<_, clap::Error>(prepare(args, io::empty()).unwrap().1.timeout)
    };
    assert_eq!(timeout("1m 500ms").unwrap().as_millis(), 60_500);
    for bad in ["15", "", "-1s", "2days", "soon"] {
        assert!(timeout(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn debug_output_tells_nothing() {
    let args = parse(&["text", "hello-canary", "--to", "bob"]).unwrap();
    assert_eq!(format!("{args:?}"), "Args([REDACTED])");
}

#[test]
fn help_tells_the_exit_codes_and_no_secret() {
    for arguments in [&["--help"][..], &["image", "--help"]] {
        let help = parse(arguments).expect_err("help").to_string();
        assert!(help.contains("5  maybe sent"), "{help}");
    }
}
