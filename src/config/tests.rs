//! What file and environment make of the settings, and what is said about those that are wrong.

use std::{env, fs, path::PathBuf, time::Duration};

use proptest::prelude::*;

use super::*;

/// Loads what a file of the name `gateway.toml` and the environment say.
fn load(file: &str, env: &[(&str, &str)]) -> Result<Loaded, Errors> {
    load_bytes(file.as_bytes(), env)
}

fn load_bytes(file: &[u8], env: &[(&str, &str)]) -> Result<Loaded, Errors> {
    let mut settings = Settings::default();
    file::parse("gateway.toml", file, &mut settings)?;
    let env = env.iter();
    Config::finish(
        settings,
        env.map(|(n, v)| ((*n).to_owned(), (*v).to_owned())),
    )
}

#[track_caller]
fn refused(file: &str, env: &[(&str, &str)]) -> String {
    load(file, env).expect_err("should be refused").to_string()
}

#[track_caller]
fn violations(file: &str, env: &[(&str, &str)]) -> String {
    let loaded = load(file, env).expect("can be read");
    loaded.check().expect_err("should be refused").to_string()
}

/// Settings as a text that can be compared.
fn text(settings: &impl std::fmt::Debug) -> String {
    format!("{settings:#?}")
}

/// A file with a secret in it, removed at the end.
struct Secret(PathBuf);

impl Secret {
    fn new(test: &str) -> Self {
        let name = format!("easemob-gateway-{test}-{}", std::process::id());
        let path = env::temp_dir().join(name);
        fs::write(&path, "s3cret\n").unwrap();
        Self(path)
    }

    /// Settings of an app that can be used.
    fn app(&self, name: &str) -> String {
        format!(
            "[apps.{name}]\nbase_url = 'https://a1.easemob.com'\norg_name = 'acme'\napp_name = 'shop'\n\
             client_id = 'id'\nclient_secret_file = '{}'\n",
            self.0.display()
        )
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}

#[test]
fn without_settings_the_defaults_hold() {
    let loaded = load("", &[]).unwrap();
    assert_eq!(text(&loaded.config), text(&Config::default()));
    assert_eq!(*loaded.origins.get("server.listen"), Origin::Default);
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let loaded = load(
        "[server]\nlisten = '127.0.0.1:1'\noperations_listen = '127.0.0.1:2'\n",
        &[("EASEMOB_GATEWAY__SERVER__LISTEN", "127.0.0.1:3")],
    )
    .unwrap();
    let server = &loaded.config.server;
    assert_eq!(server.listen.port(), 3);
    assert_eq!(server.operations_listen.port(), 2);
    assert_eq!(server.default_deadline.as_secs(), 15);

    let origin = |name| loaded.origins.get(name).to_string();
    assert_eq!(origin("server.listen"), "EASEMOB_GATEWAY__SERVER__LISTEN");
    assert_eq!(origin("server.operations_listen"), "gateway.toml:3");
    assert_eq!(origin("server.default_deadline"), "default");
}

#[test]
fn the_environment_alone_makes_an_app() {
    let loaded = load(
        "",
        &[
            ("EASEMOB_GATEWAY__APPS__SHOP__CLIENT_ID", "123"),
            ("EASEMOB_GATEWAY__APPS__SHOP__INSECURE_HTTP", "true"),
            ("EASEMOB_GATEWAY__APPS__SHOP__LIMITS__REQUEST_BYTES", "9000"),
            ("EASEMOB_GATEWAY_OTHER", "none of ours"),
        ],
    )
    .unwrap();
    let shop = &loaded.config.apps["shop"];
    assert_eq!(shop.client_id, "123");
    assert!(shop.insecure_http);
    assert_eq!(shop.limits.request_bytes, 9000);
}

#[test]
fn a_connection_for_every_call_is_refused() {
    let secret = Secret::new("connection-age");
    let file = format!("{}connection_age = '999ms'\n", secret.app("shop"));
    let wrong = violations(&file, &[]);
    assert!(
        wrong.contains("apps.shop.connection_age must be at least 1s"),
        "{wrong}"
    );
}

#[test]
fn a_variable_finds_the_app_with_hyphens_in_its_name() {
    let name = "EASEMOB_GATEWAY__APPS__MY_SHOP__CLIENT_ID";
    let loaded = load("[apps.my-shop]\n", &[(name, "id")]).unwrap();
    assert_eq!(loaded.config.apps["my-shop"].client_id, "id");
    assert_eq!(loaded.config.apps.len(), 1);

    let loaded = load("[apps.my-shop]\n[apps.my_shop]\n", &[(name, "id")]).unwrap();
    assert_eq!(loaded.config.apps["my_shop"].client_id, "id");
}

#[test]
fn all_unknown_keys_are_named_with_the_nearest_known_one() {
    let file = "\
client_id = 'at the wrong place'

[server]
listn = '127.0.0.1:1'

[delivery.file]
path = 'log'

[app.shop]

[apps.shop]
limits = { request_byte = 1 }
";
    assert_eq!(
        refused(file, &[]),
        "\
error: unknown key client_id
 --> gateway.toml:1:1
  |
1 | client_id
  | ^^^^^^^^^
  = there is a key apps.shop.client_id

error: unknown key server.listn
 --> gateway.toml:4:1
  |
4 | listn
  | ^^^^^
  = the nearest known key is server.listen

error: unknown key delivery.file
 --> gateway.toml:6:11
  |
6 | [delivery.file]
  |           ^^^^
  = known here: calls_in_flight, queue, parts_in_flight

error: unknown key app
 --> gateway.toml:9:2
  |
9 | [app.shop]
  |  ^^^
  = the nearest known key is apps

error: unknown key apps.shop.limits.request_byte
  --> gateway.toml:12:12
   |
12 | request_byte
   | ^^^^^^^^^^^^
   = the nearest known key is apps.shop.limits.request_bytes"
    );
}

#[test]
fn values_of_a_wrong_type_are_told_what_is_expected() {
    let file = "\
server = 5
[apps]
shop = true
[apps.vip]
client_id = 7
insecure_http = 'yes'
token_unit = 'hours'
limits.request_bytes = -1
limits.content_bytes = 99999999999999999999
[[telemetry]]
";
    assert_eq!(
        refused(file, &[]),
        "\
error: server must be a table
 --> gateway.toml:1:1
  |
1 | server
  | ^^^^^^
  = write its keys below a line [server]

error: apps.shop must be a table
 --> gateway.toml:3:1
  |
3 | shop
  | ^^^^
  = write its keys below a line [apps.shop]

error: apps.vip.client_id must be a string
 --> gateway.toml:5:13
  |
5 | client_id = 7
  |             ^
  = for example \"YXA6example\"

error: apps.vip.insecure_http must be true or false
 --> gateway.toml:6:17
  |
6 | insecure_http = 'yes'
  |                 ^^^^^

error: apps.vip.token_unit must be \"seconds\" or \"milliseconds\"
 --> gateway.toml:7:14
  |
7 | token_unit = 'hours'
  |              ^^^^^^^

error: apps.vip.limits.request_bytes must be a whole number of at least 0
 --> gateway.toml:8:24
  |
8 | limits.request_bytes = -1
  |                        ^^

error: apps.vip.limits.content_bytes is too large a number
 --> gateway.toml:9:24
  |
9 | limits.content_bytes = 99999999999999999999
  |                        ^^^^^^^^^^^^^^^^^^^^

error: telemetry must be a table
  --> gateway.toml:10:3
   |
10 | [[telemetry]]
   |   ^^^^^^^^^
   = write its keys below a line [telemetry]"
    );
}

#[test]
fn values_that_their_type_does_not_take_are_collected_too() {
    let file = "[server]\nlisten = 'here'\ndefault_deadline = 'soon'\n";
    assert_eq!(
        refused(file, &[("EASEMOB_GATEWAY__SERVER__MAX_DEADLINE", "later")]),
        "\
error: server.listen: invalid socket address syntax
 --> gateway.toml:2:10
  |
2 | listen = 'here'
  |          ^^^^^^
  = for example \"127.0.0.1:50051\"

error: server.default_deadline: invalid value: string \"soon\", expected a duration
 --> gateway.toml:3:20
  |
3 | default_deadline = 'soon'
  |                    ^^^^^^
  = for example \"15s\"

error: server.max_deadline: invalid value: string \"later\", expected a duration
 --> environment: EASEMOB_GATEWAY__SERVER__MAX_DEADLINE=later
  = for example \"10m\""
    );
}

#[test]
fn variables_that_name_no_setting_are_told_the_nearest() {
    assert_eq!(
        refused(
            "[apps.my-shop]\n",
            &[
                ("EASEMOB_GATEWAY__SERVER_LISTEN", "127.0.0.1:1"),
                ("EASEMOB_GATEWAY__APPS__MY_SHOP__CLIENT_IDD", "s3cret"),
                ("EASEMOB_GATEWAY__APPS__NEW__BASE_URI", "x"),
                ("EASEMOB_GATEWAY__APPS__SHOP", "x"),
                ("EASEMOB_GATEWAY__APPS__SHOP__CLIENT_SECRET", "s3cret"),
                ("EASEMOB_GATEWAY__server__listen", "x"),
                ("EASEMOB_GATEWAY__WHATEVER", "x"),
                ("EASEMOB_GATEWAY__APPS__SHOP__LIMITS__CONTENT_BYTES", "many"),
            ],
        ),
        "\
error: EASEMOB_GATEWAY__APPS__MY_SHOP__CLIENT_IDD names no setting
 --> environment: EASEMOB_GATEWAY__APPS__MY_SHOP__CLIENT_IDD
  = the nearest known name is EASEMOB_GATEWAY__APPS__MY_SHOP__CLIENT_ID

error: EASEMOB_GATEWAY__APPS__NEW__BASE_URI names no setting
 --> environment: EASEMOB_GATEWAY__APPS__NEW__BASE_URI
  = the nearest known name is EASEMOB_GATEWAY__APPS__NEW__BASE_URL

error: EASEMOB_GATEWAY__APPS__SHOP names no setting
 --> environment: EASEMOB_GATEWAY__APPS__SHOP
  = `easemob-gateway config reference` lists the names

error: EASEMOB_GATEWAY__APPS__SHOP__CLIENT_SECRET names no setting
 --> environment: EASEMOB_GATEWAY__APPS__SHOP__CLIENT_SECRET
  = the secret goes into a variable of another name, and that name into EASEMOB_GATEWAY__APPS__SHOP__CLIENT_SECRET_ENV

error: apps.shop.limits.content_bytes must be a whole number of at least 0
 --> environment: EASEMOB_GATEWAY__APPS__SHOP__LIMITS__CONTENT_BYTES=many

error: EASEMOB_GATEWAY__SERVER_LISTEN names no setting
 --> environment: EASEMOB_GATEWAY__SERVER_LISTEN
  = the nearest known name is EASEMOB_GATEWAY__SERVER__LISTEN

error: EASEMOB_GATEWAY__WHATEVER names no setting
 --> environment: EASEMOB_GATEWAY__WHATEVER
  = `easemob-gateway config reference` lists the names

error: EASEMOB_GATEWAY__server__listen names no setting
 --> environment: EASEMOB_GATEWAY__server__listen
  = the nearest known name is EASEMOB_GATEWAY__SERVER__LISTEN"
    );
}

#[test]
fn a_secret_in_the_settings_is_refused_and_not_shown() {
    let advice = "
  = write the secret to a file of its own, and that file's name to client_secret_file,
  = or put it into an environment variable, and its name into client_secret_env";
    assert_eq!(
        refused("[apps.shop]\nclient_secret = 's3cret'\n", &[]),
        format!(
            "\
error: apps.shop.client_secret must not stand in the settings: it would be a secret in the clear
 --> gateway.toml:2:1
  |
2 | client_secret
  | ^^^^^^^^^^^^^{advice}"
        )
    );
    for file in [
        "[apps]\nshop = { client_id = 5, client_secret = 's3cret' }\n",
        "apps = 's3cret'\n",
        "[apps]\nshop = 's3cret'\n",
        "[apps.shop]\nclient_secert = 's3cret'\n",
        "[apps.shop]\nclient_secret = s3cret\n",
        "[apps.shop]\nclient_secret 's3cret'\n",
        "[apps.shop]\nclient_secert = 's3cret\n",
        "apps.shop.client_secert = s3cret\n",
        "[apps]\nshop = { client_secret = 's3cret' \n",
        "[apps.shop]\nclient_secret = \"\"\"\ns3cret",
        "[apps.shop]\nclient_secret = \"\"\"\ns3cret==",
        "[apps.shop]\nclient_secret =\ns3cret\n",
        "[apps.shop]\nclient_secret = 'a'\nclient_secret = 's3cret'\n",
        "[apps.shop]\nclient_id = 'x', client_secret = 's3cret'\n",
    ] {
        let text = refused(file, &[]);
        assert!(!text.contains("s3cret"), "{file}\n{text}");
    }
}

#[test]
fn what_is_no_toml_is_shown_with_a_caret() {
    assert_eq!(
        refused("[server]\nlisten = 127.0.0.1:1\n", &[]),
        "\
error: not TOML: invalid float
 --> gateway.toml:2:15
  |
2 | listen = 127.0.0.1:1
  |               ^^^^^^"
    );
    assert_eq!(
        refused("[server\nlisten = 1\n", &[]),
        "\
error: not TOML: unclosed table, expected `]`
 --> gateway.toml:1:8
  |
1 | [server
  |        ^"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_cause() {
    let error = Config::load(Some(Path::new("none.toml")), std::iter::empty());
    let error = error.unwrap_err().to_string();
    assert!(
        error.starts_with("error: cannot read none.toml: No such file"),
        "{error}"
    );

    let error = load_bytes(b"[server]\nlisten = '\xff'\n", &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "error: gateway.toml is not UTF-8 text\n --> gateway.toml:2:11"
    );
}

#[test]
fn all_violations_are_collected_each_with_its_origin() {
    let file = "\
default_app = 'shp'

[server]
listen = '0.0.0.0:50051'
max_deadline = '5s'

[apps.shop]
org_name = 'acme'
client_secret_env = 'NO_SUCH_VARIABLE'
proxy_url = 'http://amy:pw@[proxy'

[telemetry]
log_filter = 'warn=loud'
";
    assert_eq!(
        violations(
            file,
            &[
                ("EASEMOB_GATEWAY__APPS__SHOP__BASE_URL", "http://amy:pw@a1.easemob.com"),
                ("EASEMOB_GATEWAY__SERVER__OPERATIONS_LISTEN", "0.0.0.0:50051"),
            ]
        ),
        "\
error: default_app names no app; there is shop
 --> gateway.toml:1:15
  |
1 | default_app = 'shp'
  |               ^^^^^

error: server.default_deadline is 15s, longer than server.max_deadline, which is 5s
 --> gateway.toml:3:2
  |
3 | [server]
  |  ^^^^^^
  = not set; the default is \"15s\"

error: apps.shop.app_name is required: the App Key is org_name#app_name
 --> gateway.toml:7:7
  |
7 | [apps.shop]
  |       ^^^^
  = not set, neither here nor as EASEMOB_GATEWAY__APPS__SHOP__APP_NAME

error: apps.shop.client_id is required and must not be empty
 --> gateway.toml:7:7
  |
7 | [apps.shop]
  |       ^^^^
  = not set, neither here nor as EASEMOB_GATEWAY__APPS__SHOP__CLIENT_ID

error: apps.shop.client_secret_env names the variable NO_SUCH_VARIABLE, which is not set
 --> gateway.toml:9:21
  |
9 | client_secret_env = 'NO_SUCH_VARIABLE'
  |                     ^^^^^^^^^^^^^^^^^^

error: apps.shop.proxy_url is not a URL
  --> gateway.toml:10:13
   |
10 | proxy_url = 'http://******@[proxy'
   |             ^^^^^^^^^^^^^^^^^^^^^^

error: telemetry.log_filter is not a log filter: error parsing level filter: expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5
  --> gateway.toml:13:14
   |
13 | log_filter = 'warn=loud'
   |              ^^^^^^^^^^^

error: server.operations_listen is the same address as server.listen
 --> environment: EASEMOB_GATEWAY__SERVER__OPERATIONS_LISTEN=0.0.0.0:50051

error: apps.shop.base_url must not hold a user name or password
 --> environment: EASEMOB_GATEWAY__APPS__SHOP__BASE_URL=http://******@a1.easemob.com

error: auth.mode is \"none\", which lets everybody in who reaches server.listen, and that is not loopback: set \"api_key\" or \"mtls\", or auth.allow_anonymous = true
  = not set; the default is \"none\""
    );
}

#[test]
fn at_least_one_app_is_needed() {
    assert_eq!(
        violations("", &[]),
        "error: apps needs at least one app: a section [apps.NAME]"
    );
}

#[test]
fn good_settings_give_the_apps_with_their_secrets() {
    let secret = Secret::new("good");
    let file = format!(
        "default_app = 'shop'\nserver.listen = '0.0.0.0:50051'\nauth.allow_anonymous = true\n{}{}",
        secret.app("shop"),
        secret.app("vip"),
    );
    let checked = load(&file, &[]).unwrap().check().unwrap();
    assert_eq!(checked.apps.iter().count(), 2);
    let default = checked.apps.get("").expect("there is a default app");
    assert_eq!(&*default.name, "shop");
    let (setting, secret) = default.outside().next().unwrap();
    assert_eq!(setting, "client_secret_file");
    let secret = secret.get().expect("it could be read");
    assert_eq!(secrecy::ExposeSecret::expose_secret(&*secret), "s3cret");
    assert!(checked.unusable.is_none());
    assert_eq!(checked.config.server.listen.port(), 50051);
}

#[test]
fn what_settings_name_may_be_missing_and_is_told() {
    let secret = Secret::new("unusable");
    let no_pem = secret.0.display();
    let file = format!(
        "{}ca_file = '{no_pem}'\n\
         [apps.vip]\nbase_url = 'https://a1.easemob.com'\napp_id = '0123456789abcdef0123456789abcdef'\n\
         credentials = 'agora'\napp_certificate_file = '/no/such/file'\n",
        secret.app("shop"),
    );
    let checked = load(&file, &[]).unwrap().check().unwrap();
    assert_eq!(checked.apps.iter().count(), 2);
    let unusable: Vec<_> = checked.unusable.unwrap().lines().collect();
    assert_eq!(
        unusable,
        [
            "apps.shop.ca_file holds no certificate in PEM (gateway.toml:7)",
            "apps.vip.app_certificate_file cannot be read: /no/such/file: \
             No such file or directory (os error 2) (gateway.toml:12)",
        ]
    );
}

#[test]
fn the_two_kinds_of_credentials_are_not_mixed() {
    let app = "[apps.shop]\nbase_url = 'https://a1.easemob.com'\n";
    let refused = |rest: &str| {
        let text = violations(&format!("{app}{rest}"), &[]);
        let errors = text
            .lines()
            .filter_map(|line| line.strip_prefix("error: apps.shop."));
        errors.collect::<Vec<_>>().join("; ")
    };
    for (rest, told) in [
        (
            "app_id = 'x'\nclient_id = 'i'\nclient_secret_env = 'S'\nexchange_token = true",
            "exchange_token is for credentials = \"agora\"",
        ),
        (
            "app_id = '0123456789abcdef0123456789abcdef'\ncredentials = 'agora'\n\
             client_id = 'i'\napp_certificate_env = 'S'",
            "client_id is for credentials = \"easemob\"",
        ),
        (
            "app_id = 'short'\ncredentials = 'agora'\napp_certificate_env = 'S'",
            "app_id must be the App ID of the console, 32 hexadecimal digits; \
             app_certificate_env names the variable S, which is not set",
        ),
        (
            "org_name = 'acme'\napp_name = 'shop'\ncredentials = 'agora'",
            "app_id is required for credentials = \"agora\"; \
             app_certificate_file is required: a file that holds the App Certificate \
             (or app_certificate_env, a variable that does)",
        ),
    ] {
        assert_eq!(refused(rest), told);
    }
}

#[test]
fn callers_are_checked_against_apps_and_tls() {
    let secret = Secret::new("callers");
    let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let apps = secret.app("shop");
    let file = format!(
        "auth.mode = 'api_key'\nauth.callers.billing = {{ key_sha256 = ['{digest}'], apps = ['shop'] }}\n{apps}"
    );
    let checked = load(&file, &[]).unwrap().check().unwrap();
    let caller = checked.callers.by_key(b"test").map(|c| c.name().to_owned());
    assert_eq!(caller.as_deref(), Some("billing"));

    let wrong = violations(
        &file,
        &[("EASEMOB_GATEWAY__AUTH__CALLERS__BILLING__APPS", "shop, vip")],
    );
    assert!(
        wrong.contains("auth.callers.billing.apps[1] names no app"),
        "{wrong}"
    );
    let wrong = violations(&file.replace("api_key", "mtls"), &[]);
    assert!(wrong.contains("needs server.tls.client_ca_file"), "{wrong}");
    let wrong = load(&file.replace("shop'] }", "shop'], weight = 0 }"), &[]);
    let wrong = wrong.expect_err("no weight at all").to_string();
    assert!(
        wrong.contains("weight must be a whole number from 1 to 1000"),
        "{wrong}"
    );
}

#[test]
fn a_port_for_browsers_needs_pages_that_may_call() {
    let secret = Secret::new("web");
    let listen = |rest: &str| {
        let web = format!("[server.grpc_web]\nlisten = '127.0.0.1:8081'\n{rest}");
        format!("{}\n{web}", secret.app("shop"))
    };
    let page = "allowed_origins = ['https://console.acme.example']";
    assert!(load(&listen(page), &[]).unwrap().check().is_ok());
    for (file, told) in [
        (listen(""), "server.grpc_web.allowed_origins names no page"),
        (
            listen("allowed_origins = ['https://a.example', '*']"),
            "server.grpc_web.allowed_origins[1] is not an origin",
        ),
        (
            listen(page).replace("8081", "50051"),
            "server.grpc_web.listen is the address of another port",
        ),
        (
            listen(page).replace("127.0.0.1", "0.0.0.0"),
            "who reaches server.grpc_web.listen, and that is not loopback",
        ),
    ] {
        let wrong = violations(&file, &[]);
        assert!(wrong.contains(told), "{wrong}");
    }
}

/// A key instead of its digest is the mistake to expect.
#[test]
fn a_key_in_the_settings_is_not_printed() {
    let secret = Secret::new("key");
    let apps = secret.app("shop");
    for value in ["['egk_c0ffee']", "'egk_c0ffee'", "['egk_c0ffee"] {
        let file = format!(
            "[auth]\nmode = 'api_key'\n[auth.callers.billing]\napps = ['shop']\nkey_sha256 = {value}\n{apps}"
        );
        let wrong = match load(&file, &[]) {
            Ok(loaded) => loaded.check().unwrap_err(),
            Err(wrong) => wrong,
        };
        let wrong = wrong.to_string();
        assert!(!wrong.contains("c0ffee"), "{wrong}");
    }
}

#[test]
fn print_tells_origins_and_hides_secrets() {
    let file = "\
[apps.my-shop]
base_url = 'https://a1.easemob.com'
client_secret_env = 'SHOP_SECRET'
proxy_url = 'http://amy:pw@proxy:3128'
";
    let env = [
        ("EASEMOB_GATEWAY__APPS__MY_SHOP__CLIENT_ID", "id"),
        ("SHOP_SECRET", "s3cret"),
    ];
    let text = load(file, &env).unwrap().print();
    let listen = "[server]\nlisten = \"127.0.0.1:50051\"  # default\n";
    assert!(text.starts_with(listen), "{text}");
    let app = "\
[apps.my-shop]
base_url = \"https://a1.easemob.com\"  # gateway.toml:2
insecure_http = false  # default
credentials = \"easemob\"  # default
client_id = \"id\"  # EASEMOB_GATEWAY__APPS__MY_SHOP__CLIENT_ID
client_secret_env = \"SHOP_SECRET\"  # gateway.toml:3
exchange_token = false  # default
token_unit = \"seconds\"  # default
treat_503_as_not_sent = false  # default
proxy_url = \"http://******@proxy:3128\"  # gateway.toml:4

[apps.my-shop.limits]
";
    assert!(text.contains(app), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn the_reference_loads_as_it_is_and_with_every_key_set() {
    let reference = reference();
    let as_it_is = load(&reference, &[]).unwrap();
    assert_eq!(
        text(&as_it_is.config.server),
        text(&server::Config::default())
    );

    let mut keys = 0;
    let set: Vec<_> = reference
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => {
                keys += 1;
                key
            }
            _ => line,
        })
        .collect();
    let loaded = load(&set.join("\n"), &[]).unwrap();
    assert_eq!(loaded.config.apps["shop"].org_name.as_deref(), Some("acme"));
    assert_eq!(as_it_is.config.telemetry, telemetry::Config::default());
    let telemetry = &loaded.config.telemetry;
    assert_eq!(telemetry.metrics_interval, Some(Duration::from_secs(15)));
    let delivery = &loaded.config.delivery;
    assert_eq!(text(delivery), text(&delivery::Config::default()));
    let mut known = 0;
    schema::root().visit(&mut Vec::new(), &schema::example, &mut |_, node| {
        known += usize::from(matches!(node.kind, schema::Kind::Key(_)));
    });
    assert_eq!(keys, known);
}

#[test]
fn the_page_on_configuration_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = fs::read_to_string(&path).expect("docs/configuration.md");
    let (start, end) = ("<!-- reference -->\n", "<!-- end of reference -->\n");
    let (head, rest) = page
        .split_once(start)
        .expect("a mark where the reference starts");
    let (_, tail) = rest
        .split_once(end)
        .expect("a mark where the reference ends");
    let current = format!("{head}{start}```toml\n{}```\n{end}{tail}", reference());
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &current).expect("docs/configuration.md");
    } else {
        assert!(
            page == current,
            "outdated: run the tests once with UPDATE_DOCS=1"
        );
    }
}

proptest! {
    #[test]
    fn no_file_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _any = load_bytes(&bytes, &[]).map_err(|errors| errors.to_string());
    }

    /// Bytes that get past the first line more often.
    #[test]
    fn no_file_like_ours_makes_the_reader_panic(
        tokens in proptest::collection::vec(
            prop_oneof![
                Just("["), Just("]"), Just("{"), Just("}"), Just("."), Just("="), Just(" = "),
                Just("\n"), Just("\r\n"), Just(","), Just("#"), Just("'"), Just("\""), Just("\"\"\""),
                Just("server"), Just("listen"), Just("apps"), Just("shop"), Just("limits"),
                Just("request_bytes"), Just("client_secret"), Just("telemetry"), Just("default_app"),
                Just("'a'"), Just("'中文'"), Just("-5"), Just("1e999"), Just("true"), Just("0xFF"),
                Just("1979-05-27"), Just("\\u001b"), Just("\u{feff}"), Just("\t"), Just("http://a:b@c"),
            ],
            0..40,
        ),
        value in any::<String>(),
    ) {
        let text = tokens.concat();
        let env = [
            ("EASEMOB_GATEWAY__DEFAULT_APP", value.as_str()),
            ("EASEMOB_GATEWAY__SERVER__LISTEN", value.as_str()),
        ];
        match load(&text, &env) {
            Ok(loaded) => { loaded.print(); }
            Err(errors) => { errors.to_string(); }
        }
        let _any = load(&text, &[]).map(|loaded| loaded.print());
    }

    /// What is printed is what was read.
    #[test]
    fn print_can_be_read_again(name in "\\PC{1,10}", text in "[^@\u{7f}]{0,20}") {
        let mut app = toml::Table::new();
        app.insert("client_id".to_owned(), text.clone().into());
        let apps = toml::Table::from_iter([(name.clone(), toml::Value::Table(app))]);
        let file = toml::Table::from_iter([("apps".to_owned(), toml::Value::Table(apps))]);
        let printed = load(&file.to_string(), &[]).unwrap().print();
        let again = load(&printed, &[]).map_err(|errors| errors.to_string()).unwrap();
        if !text.is_empty() {
            prop_assert_eq!(&again.config.apps[&name].client_id, &text);
        }
    }
}
