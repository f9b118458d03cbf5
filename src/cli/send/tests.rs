//! Arguments → request.

use std::{fs, path::Path};

use clap::{Parser, error::ErrorKind};

use super::*;
use crate::{
    cli::file::Source,
    proto::{
        ChatroomPriority, RouteType,
        file_ref::Location,
        message::{Content as Proto, Extension, Target},
    },
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
    prepare(args, io::empty()).unwrap().request
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
    let request = prepare(args, stdin)?.request;
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

/// What these arguments have uploaded for one user.
fn media(arguments: &[&str]) -> Media {
    let to_bob = [arguments, &["--to", "bob"]].concat();
    let args = parse(&to_bob).unwrap();
    prepare(args, io::empty()).unwrap().media.unwrap()
}

#[test]
fn a_path_is_uploaded_with_its_options() {
    let image = [
        "image",
        "./cat.jpg",
        "--filename",
        "tom.jpg",
        "--content-type",
        "image/x-cat",
        "--restrict-access",
        "--thumbnail-width",
        "200",
        "--thumbnail-height",
        "100",
    ];
    let Proto::Image(content) = content(&image) else {
        panic!("not an image")
    };
    assert!(content.file.is_none());
    assert_eq!(content.filename, "tom.jpg");
    let media = media(&image);
    assert_eq!(media.file.path, Path::new("./cat.jpg"));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cat.jpg");
    fs::write(&path, "meow").unwrap();
    let file = Source::open(&path).unwrap();
    assert_eq!(
        media.file.store.options(&media.thumbnail_size, &file),
        proto::UploadOptions {
            size_bytes: Some(4),
            content_type: "image/x-cat".into(),
            restrict_access: true,
            thumbnail_width: 200,
            thumbnail_height: 100,
        }
    );
    // Easemob makes the thumbnails of images alone, and this one is as closed as its video.
    let of_thumbnail = media.file.store.thumbnail_options(&file);
    assert_eq!(
        (&*of_thumbnail.content_type, of_thumbnail.restrict_access),
        ("image/jpeg", true)
    );
    assert_eq!(of_thumbnail.thumbnail_width, 0);
}

#[test]
fn the_file_tells_what_nobody_has_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("猫.png");
    image::DynamicImage::new_rgb8(64, 48).save(&path).unwrap();
    let file = Source::open(&path).unwrap();
    let path = path.to_str().unwrap();
    let told = |arguments: &[&str]| {
        let mut content = content(&[&["image", path], arguments].concat());
        media::fill(&mut content, &file).unwrap();
        let Proto::Image(image) = content else {
            panic!("not an image")
        };
        (image.filename, image.width, image.height)
    };
    assert_eq!(told(&[]), ("猫.png".into(), 64, 48));
    let given = ["--width", "8", "--height", "6", "--filename", "tom.png"];
    assert_eq!(told(&given), ("tom.png".into(), 8, 6));
    // No recording: sent all the same, without a length.
    let mut audio = content(&["audio", path]);
    media::fill(&mut audio, &file).unwrap();
    assert!(
        audio
            == Proto::Audio(proto::AudioContent {
                file: None,
                filename: "猫.png".into(),
                duration_seconds: None,
            })
    );
}

#[test]
fn a_video_may_have_its_thumbnail_anywhere() {
    let media = media(&["video", "a.mp4", "--thumbnail", "a.jpg"]);
    assert_eq!(media.thumbnail.as_deref(), Some(Path::new("a.jpg")));
    let Proto::Video(video) = content(&["video", "a.mp4", "--thumbnail-uuid", "1-2"]) else {
        panic!("not a video")
    };
    assert!(video.file.is_none() && video.thumbnail.is_some());
    // Of a video that is somewhere already, nothing is uploaded.
    let (kind, _text) = refused(&[
        "video",
        "--to",
        "bob",
        "--uuid",
        "1",
        "--thumbnail",
        "a.jpg",
    ]);
    assert_eq!(kind, ErrorKind::ArgumentConflict);
}

#[test]
fn options_of_an_upload_need_a_path_and_those_of_a_stored_file_none() {
    let (kind, _text) = refused(&["image", "cat.jpg", "--to", "bob", "--thumbnail-width", "1"]);
    assert_eq!(kind, ErrorKind::MissingRequiredArgument);
    for arguments in [
        &["image", "--uuid", "1", "--restrict-access"][..],
        &["image", "--url", "http://a", "--content-type", "a/b"],
        &[
            "image",
            "--uuid",
            "1",
            "--thumbnail-width",
            "1",
            "--thumbnail-height",
            "1",
        ],
        &["image", "cat.jpg", "--uuid", "1"],
        &["image", "cat.jpg", "--url", "http://a"],
        &["image", "cat.jpg", "--secret", "s"],
        &["video", "cat.mp4", "--size-bytes", "1"],
        &[
            "video",
            "cat.mp4",
            "--thumbnail",
            "a",
            "--thumbnail-secret",
            "s",
        ],
    ] {
        let (kind, _text) = refused(&[arguments, &["--to", "bob"]].concat());
        assert_eq!(kind, ErrorKind::ArgumentConflict, "{arguments:?}");
    }
}

#[test]
fn a_path_in_place_of_a_url_is_told_where_it_belongs() {
    for arguments in [
        &["file", "--to", "bob", "--url", "/tmp/a.pdf"][..],
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
        assert!(text.contains("and it is uploaded"), "{text}");
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
    let Prepared { gateway, json, .. } = prepared("http://gateway.internal:50051/");
    assert_eq!(gateway.name(), "http://gateway.internal:50051");
    let secure = prepared("https://gateway.internal").gateway;
    assert_eq!(secure.name(), "https://gateway.internal");
    assert!(json);
    for (url, hint) in [
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
        Ok::<_, clap::Error>(prepare(args, io::empty()).unwrap().gateway.timeout)
    };
    let minute = timeout("1m 500ms").unwrap();
    assert_eq!(minute.map(|time| time.as_millis()), Some(60_500));
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
