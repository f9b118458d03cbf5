//! Any message that validation accepts gives JSON that Easemob accepts; any bytes at all are decoded
//! and checked without a panic.

use std::{
    cell::{Cell, RefCell},
    fmt,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use easemob_gateway::{
    app::{self, App},
    invalid::Violations,
    message::Message,
    proto::{self, file_ref::Location, message::Content, message::Extension, message::Target},
    sandbox::{self, Sandbox},
};
use prop::{collection::vec, num, option, sample::select};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRunner},
};
use prost::Message as _;
use prost_types::{ListValue, Struct, Value, value::Kind};

use super::start;
use crate::support::request::{error_info, request};

/// Text with everything in it that somebody once forgot.
fn odd_text(length: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    let odd = select(vec![
        '\0', '\u{1}', '\n', '\r', '\t', '\u{7f}', '\u{85}', '"', '\\', '/', '\u{2028}',
        '\u{2029}', '\u{feff}', '\u{fffd}', '\u{ffff}', '\u{d7ff}', '\u{e000}', '\u{202e}',
        '\u{200d}', '😀', '你', '<',
    ]);
    vec(
        prop_oneof![3 => any::<char>(), 1 => odd, 3 => prop::char::range('!', '~')],
        length,
    )
    .prop_map(String::from_iter)
}

/// Text of this pattern, which is read once and not for every value.
fn like(pattern: &str) -> impl Strategy<Value = String> + use<> {
    prop::string::string_regex(pattern).unwrap()
}

fn id() -> impl Strategy<Value = String> {
    like("[a-zA-Z0-9_-][a-zA-Z0-9_.-]{0,63}")
}

fn ids(most: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::hash_set(id(), 1..=most).prop_map(|ids| ids.into_iter().collect())
}

/// Now and then as many of them as there may be, or one more.
fn few_ids(most: usize) -> impl Strategy<Value = Vec<String>> {
    prop_oneof![8 => ids(3.min(most)), 1 => ids(most + 1)]
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        prop_oneof![8 => ids(5), 1 => ids(60)]
            .prop_map(|user_ids| Target::Users(proto::Users { user_ids })),
        (
            few_ids(3),
            option::weighted(0.3, few_ids(20)),
            any::<bool>()
        )
            .prop_map(
                |(group_ids, members, receipt)| Target::Groups(proto::Groups {
                    group_ids,
                    member_ids: members.unwrap_or_default(),
                    need_read_receipt: receipt,
                })
            ),
        (few_ids(10), option::weighted(0.3, few_ids(20)), 0..5).prop_map(
            |(chatroom_ids, members, priority)| Target::Chatrooms(proto::Chatrooms {
                chatroom_ids,
                member_ids: members.unwrap_or_default(),
                priority,
            })
        ),
    ]
}

fn file() -> impl Strategy<Value = Option<proto::FileRef>> {
    let url = prop_oneof![
        8 => like("https?://[a-z][a-z0-9]{0,9}\\.example(:[0-9]{1,4})?/[!-\\[\\]-~]{0,40}"),
        1 => like("https?://[a-z0-9.-]{1,9}"),
        1 => odd_text(1..8).prop_map(|text| format!("https://files.example.com/{text}")),
    ];
    let location = prop_oneof![
        like("[0-9a-zA-Z-]{1,64}").prop_map(Location::Uuid),
        url.prop_map(Location::Url),
    ];
    (location, odd_text(0..12)).prop_map(|(location, secret)| {
        Some(proto::FileRef {
            location: Some(location),
            secret,
        })
    })
}

/// Any number at all, most often a small one.
fn number_or_none() -> impl Strategy<Value = Option<u32>> {
    option::of(prop_oneof![0_u32..100, any::<u32>()])
}

/// Both or neither, or now and then one alone.
fn size() -> impl Strategy<Value = (u32, u32)> {
    prop_oneof![4 => (1_u32.., 1_u32..), 4 => Just((0, 0)), 1 => (0_u32..2, 0_u32..2)]
}

fn content() -> impl Strategy<Value = Content> {
    let name = || odd_text(0..20);
    prop_oneof![
        odd_text(1..80).prop_map(|text| Content::Text(proto::TextContent { text })),
        (file(), name(), size()).prop_map(|(file, filename, (width, height))| {
            Content::Image(proto::ImageContent {
                file,
                filename,
                width,
                height,
            })
        }),
        (file(), name(), number_or_none()).prop_map(|(file, filename, duration_seconds)| {
            Content::Audio(proto::AudioContent {
                file,
                filename,
                duration_seconds,
            })
        }),
        (
            file(),
            name(),
            option::of(file()),
            number_or_none(),
            option::of(any::<u64>())
        )
            .prop_map(
                |(file, filename, thumbnail, duration_seconds, size_bytes)| {
                    Content::Video(proto::VideoContent {
                        file,
                        filename,
                        thumbnail: thumbnail.flatten(),
                        duration_seconds,
                        size_bytes,
                    })
                }
            ),
        (file(), name())
            .prop_map(|(file, filename)| Content::File(proto::FileContent { file, filename })),
        (degrees(90.0), degrees(180.0), odd_text(1..20)).prop_map(
            |(latitude, longitude, address)| {
                Content::Location(proto::LocationContent {
                    latitude: Some(latitude),
                    longitude: Some(longitude),
                    address,
                })
            }
        ),
        odd_text(1..40).prop_map(|action| Content::Command(proto::CommandContent { action })),
        (
            like("[a-zA-Z0-9/_.-]{1,33}"),
            prop::collection::btree_map(odd_text(0..8), odd_text(0..12), 0..=17),
        )
            .prop_map(|(event, attributes)| {
                Content::Custom(proto::CustomContent { event, attributes })
            }),
    ]
}

fn degrees(bound: f64) -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -bound..=bound,
        1 => select(vec![0.0, -0.0, bound, -bound, 1e-7, 5e-324, f64::EPSILON]),
    ]
}

/// Numbers whose digits are easily lost.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        20 => num::f64::NORMAL | num::f64::SUBNORMAL | num::f64::ZERO,
        1 => num::f64::ANY,
        10 => any::<i64>().prop_map(|n| n as f64),
        10 => (-1_000..1_000).prop_map(f64::from),
        10 => select(vec![
            0.0,
            -0.0,
            0.1,
            9_007_199_254_740_991.0,
            9_007_199_254_740_992.0,
            9.2e18,
            9_223_372_036_854_775_807.0,
            -9_223_372_036_854_775_808.0,
            1.844_674_407_370_955_2e19,
            1e21,
            1e300,
            f64::MAX,
            f64::MIN,
            f64::MIN_POSITIVE,
            5e-324,
        ]),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Kind::NullValue(0)),
        any::<bool>().prop_map(Kind::BoolValue),
        number().prop_map(Kind::NumberValue),
        odd_text(0..10).prop_map(Kind::StringValue),
    ];
    let of = |kind| Value { kind: Some(kind) };
    leaf.prop_map(of).prop_recursive(6, 24, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4)
                .prop_map(move |values| of(Kind::ListValue(ListValue { values }))),
            prop::collection::btree_map(odd_text(0..6), inner, 0..4)
                .prop_map(move |fields| of(Kind::StructValue(Struct { fields }))),
        ]
    })
}

/// JSON text as people and programs write it.
fn json(depth: u32) -> impl Strategy<Value = String> {
    let space = || like("[ \t\r\n]{0,2}");
    let text = || odd_text(0..8).prop_map(|text| serde_json::to_string(&text).unwrap());
    let leaf = prop_oneof![
        1 => select(vec!["\"\\ud800\"", "1e999"]).prop_map(str::to_owned),
        20 => select(vec![
            "null",
            "true",
            "false",
            "\"\\u4f60\\/\"",
            "\"\\ud83d\\ude00\"",
        ])
        .prop_map(str::to_owned),
        20 => like("-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?"),
        20 => text(),
    ];
    leaf.prop_recursive(depth, 24, 4, move |inner| {
        let item = (space(), inner.clone(), space()).prop_map(|(a, value, b)| a + &value + &b);
        let entry =
            (text(), space(), inner).prop_map(|(key, s, value)| format!("{key}{s}:{value}"));
        prop_oneof![
            vec(item, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            vec(entry, 0..4).prop_map(|entries| format!("{{{}}}", entries.join(", "))),
        ]
    })
}

fn extension() -> impl Strategy<Value = Extension> {
    let key = || prop_oneof![6 => odd_text(0..8), 1 => Just("em_ignore_notification".to_owned())];
    prop_oneof![
        prop::collection::btree_map(key(), value(), 0..5)
            .prop_map(|fields| Extension::Ext(Struct { fields })),
        vec((key(), json(4)), 0..5).prop_map(|entries| {
            let entry = |(key, value)| format!("{}: {value}", serde_json::to_string(&key).unwrap());
            let entries: Vec<_> = entries.into_iter().map(entry).collect();
            Extension::ExtJson(format!(" {{{} }}\n", entries.join(",\t")))
        }),
    ]
}

/// A message that a failing test can show, which messages themselves do not.
struct Shown(proto::Message);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.encode_to_vec().escape_ascii())
    }
}

fn message() -> impl Strategy<Value = Shown> {
    let envelope = (
        option::of(id()),
        any::<bool>(),
        any::<bool>(),
        prop_oneof![6 => Just(0), 6 => Just(1), 1 => Just(2)],
        prop_oneof![3 => Just(Vec::new()), 1 => few_ids(20)],
        prop_oneof![8 => Just(String::new()), 8 => like("[a-zA-Z0-9]{1,8}"), 1 => odd_text(0..3)],
        0..12_u8,
    );
    (target(), content(), option::of(extension()), envelope).prop_map(
        |(target, content, extension, (from, silent, sync_device, route, roam, env, careless))| {
            let mut message = proto::Message {
                from_user_id: from,
                silent,
                sync_device,
                route_type: route,
                roam_ignore_user_ids: roam,
                env,
                target: Some(target),
                content: Some(content),
                extension,
            };
            leave_out_what_the_target_does_not_take(&mut message, careless);
            Shown(message)
        },
    )
}

/// Without this, most messages to others than users would be refused. `careless` names one field
/// that is forgotten.
fn leave_out_what_the_target_does_not_take(message: &mut proto::Message, careless: u8) {
    let members = match message.target.as_mut().unwrap() {
        Target::Users(_) => return,
        Target::Groups(groups) => {
            if !groups.member_ids.is_empty() {
                groups.group_ids.truncate(1);
                groups.need_read_receipt &= careless == 0;
            }
            &groups.member_ids
        }
        Target::Chatrooms(rooms) => {
            if !rooms.member_ids.is_empty() && careless != 1 {
                rooms.chatroom_ids.truncate(1);
            }
            if careless != 2 {
                message.route_type = 0;
            }
            &rooms.member_ids
        }
    };
    message.sync_device &= careless == 3;
    if !members.is_empty() && careless != 4 {
        message.route_type = 0;
    }
    if !members.is_empty() && careless != 5 {
        message.roam_ignore_user_ids.clear();
    }
}

fn cases(cases: u32) -> Config {
    Config {
        cases,
        max_shrink_iters: 1_000,
        // A failing case is printed, and not written to a file.
        failure_persistence: None,
        // The usual one takes most of the time of a build that is not optimised.
        rng_algorithm: RngAlgorithm::XorShift,
        ..Config::default()
    }
}

/// A connection to a sandbox without the gateway, which costs less than a tenth.
struct Direct {
    stream: BufReader<TcpStream>,
    token: String,
}

impl Direct {
    fn connect(easemob: &Sandbox) -> Self {
        let stream = TcpStream::connect(easemob.addr()).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut direct = Self {
            stream: BufReader::new(stream),
            token: String::new(),
        };
        let credentials = serde_json::json!({"grant_type": "client_credentials",
            "client_id": "sandbox-client-id", "client_secret": "sandbox-client-secret"});
        let (_, answer) = direct.post("/token", credentials.to_string().as_bytes());
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        direct.token = answer["access_token"].as_str().unwrap().to_owned();
        direct
    }

    /// Head and body of the answer.
    fn post(&mut self, path: &str, json: &[u8]) -> (String, Vec<u8>) {
        let mut request = format!(
            "POST /sandbox/demo{path} HTTP/1.1\r\nhost: sandbox\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.token,
            json.len()
        )
        .into_bytes();
        request.extend_from_slice(json);
        self.stream.get_mut().write_all(&request).unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.stream.read_line(&mut head).unwrap(), 0);
        }
        let (_, length) = head.split_once("content-length: ").unwrap();
        let (length, _) = length.split_once('\r').unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        (head, body)
    }
}

#[test]
fn what_validation_accepts_easemob_accepts() {
    const CASES: u32 = 2_500;
    // Sizes have limits of their own, and tests of their own.
    let easemob = Sandbox::start(sandbox::Config {
        content_bytes: 0,
        request_bytes: 0,
        ..sandbox::Config::for_tests()
    })
    .unwrap();
    let direct = RefCell::new(Direct::connect(&easemob));
    let (app, accepted) = (app(), Cell::new(0));
    let result = TestRunner::new(cases(CASES)).run(&message(), |Shown(message)| {
        let violations = Violations::default();
        if let Some(message) = Message::check(message, &app, violations.root()) {
            let kind = message.target.kind;
            for part in message.target.recipients.chunks(kind.max_recipients()) {
                let json = message.to_json(part);
                let (head, _) = direct.borrow_mut().post(kind.path(), &json);
                prop_assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            }
            accepted.set(accepted.get() + 1);
        }
        Ok(())
    });
    result.unwrap();
    let accepted = accepted.get();
    assert!(accepted > CASES / 2, "{accepted} of {CASES}");
}

#[test]
fn any_message_is_sent_whole_or_refused_by_the_gateway() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let started = runtime.block_on(start());
    let result = TestRunner::new(cases(300)).run(&message(), |Shown(message)| {
        match runtime.block_on(started.send(request(message))) {
            Ok(response) => {
                prop_assert_eq!(response.failures, []);
                let recipients = |json: serde_json::Value| json["to"].as_array().unwrap().len();
                let sent = started
                    .take_all_json()
                    .into_iter()
                    .map(recipients)
                    .sum::<usize>();
                prop_assert_eq!(response.accepted.len(), sent);
            }
            Err(status) => {
                // No answer of Easemob came with it.
                let info = error_info(&status);
                let ours = ["INVALID_REQUEST", "MESSAGE_TOO_LARGE"].contains(&&*info.reason);
                prop_assert!(
                    ours && !info.metadata.contains_key("http_status"),
                    "{status:?}"
                );
                prop_assert_eq!(started.sent(), 0);
            }
        }
        Ok(())
    });
    result.unwrap();
}

fn app() -> App {
    let config = app::Config {
        base_url: "https://a1.easemob.com".into(),
        org_name: Some("acme".into()),
        app_name: Some("shop".into()),
        client_id: "id".into(),
        client_secret: Some("secret".into()),
        ..app::Config::default()
    };
    App::new("shop", &config, Violations::default().root()).unwrap()
}

/// Decodes, checks and writes; that it returns is what is tested.
fn read(bytes: &[u8], app: &App) {
    let Ok(request) = proto::SendMessageRequest::decode(bytes) else {
        return;
    };
    let Some(message) = request.message else {
        return;
    };
    let violations = Violations::default();
    let checked = Message::check(message, app, violations.root());
    assert_eq!(checked.is_none(), !violations.is_empty());
    if let Some(message) = checked {
        let json = message.to_json(&message.target.recipients);
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        assert!(json.is_object());
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..400)) {
        read(&bytes, &app());
    }

    #[test]
    fn a_message_with_a_few_bytes_changed_is_read_without_a_panic(
        message in message(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = request(message.0).encode_to_vec();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        read(&bytes, &app());
    }
}
