//! D3: a replica is killed at each stage of a send, and its caller repeats at another. Before the dispatch
//! nothing was sent, and the repeat sends it; from then on it may have been, and is never sent again.
//!
//! Each stage is held from outside: by Easemob, by Redis or by the only place for a call. So what is
//! killed is the binary as it is.

use std::{
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use easemob_gateway::{app::CredentialKind, proto::SendMessageRequest, store};
use tokio::task::JoinSet;
use tonic::Request;

use super::{in_doubt, refusal, replica, says, send};
use crate::support::{
    binary::Binary,
    easemob::{Easemob, Gate, Script, Seen},
    gateway::Setup,
    metrics::Page,
    redis::Redis,
    soon,
};

/// How far a send comes before its replica is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Let in, and nothing is claimed: Redis does not answer.
    Admitted,
    /// Claimed; Easemob does not give a token.
    Claimed,
    /// There is a token, and another send has the only place.
    Turn,
    /// One attempt may have sent, and the next one waits for the only place.
    InDoubt,
    /// Dispatched; the connection is neither made nor refused.
    Dispatched,
    /// Connected; Easemob says nothing in the handshake, and no byte of the request can go out.
    Connected,
    /// Easemob has read it all, and does not answer.
    Written,
    /// Easemob has answered, and Redis does not hear of it.
    Answered,
    /// The caller has its answer.
    Done,
}

impl Stage {
    /// What Redis has of the one recipient: nothing, or claimed, claimed again after a doubt, dispatched, accepted.
    fn record(self) -> Option<&'static str> {
        match self {
            Self::Admitted => None,
            Self::Claimed | Self::Turn => Some("C"),
            Self::InDoubt => Some("c"),
            Self::Dispatched | Self::Connected | Self::Written | Self::Answered => Some("D"),
            Self::Done => Some("A"),
        }
    }
}

/// Everything around the replica that is killed.
struct Around {
    easemob: Easemob,
    redis: Redis,
    /// What Easemob waits for.
    gate: Gate,
    /// The same, before it loses an attempt.
    loses: Gate,
    /// Takes connections, and says nothing.
    mute: TcpListener,
}

impl Around {
    async fn start() -> Self {
        Self {
            easemob: Easemob::start(),
            redis: Redis::start().await,
            gate: Gate::default(),
            loses: Gate::default(),
            mute: TcpListener::bind("127.0.0.1:0").unwrap(),
        }
    }

    /// A replica as a process, with patience for all that is held.
    async fn binary(&self, stage: Stage) -> Binary {
        let app = match stage {
            // Its tokens are made by the gateway itself.
            Stage::Connected => format!(
                "base_url = 'https://{}'\ncredentials = 'agora'\napp_id = '{}'\n\
                 app_certificate_env = 'SECRET'\n",
                self.mute.local_addr().unwrap(),
                "a".repeat(32),
            ),
            _ => format!(
                "base_url = '{}'\nclient_id = 'c'\nclient_secret_env = 'SECRET'\n",
                self.easemob.url()
            ),
        };
        let toml = format!(
            "shards = 1\n[delivery]\ncalls_in_flight = 1\n\
             [store]\nkind = 'redis'\nurl = '{}'\nanswer_timeout = '20s'\n\
             [apps.shop]\norg_name = 'o'\napp_name = 'a'\n{app}\
             [apps.shop.timeouts]\nconnect = '8s'\nattempt = '8s'\ncall = '8s'\ntoken = '20s'\n\
             [apps.shop.quota.users]\ncalls_per_second = 0\nmessages_per_minute = 0\n",
            self.redis.url()
        );
        Binary::serve(&toml, &[("SECRET", &"c".repeat(32))]).await
    }

    /// Another replica, whose caller repeats.
    fn other(&self, stage: Stage) -> Setup {
        let patient = |store: &mut store::Config| store.answer_timeout = Duration::from_secs(20);
        replica(&self.easemob, &self.redis)
            .store(patient)
            .app(|app| {
                if stage == Stage::Connected {
                    app.base_url = format!("https://{}", self.mute.local_addr().unwrap());
                    app.credentials = CredentialKind::Agora;
                    app.client_id = String::new();
                    app.client_secret = None;
                    app.app_id = Some("a".repeat(32));
                    app.app_certificate = Some("c".repeat(32).into());
                }
            })
    }

    /// Has the next send come no further than its stage.
    async fn hold(&self, stage: Stage, binary: &Binary) {
        let wait = || Script::read().wait(&self.gate);
        match stage {
            Stage::Admitted => self.redis.freeze(),
            Stage::Claimed => self.easemob.on_token(wait().give_token()),
            Stage::Turn => {
                self.easemob.on_send(wait().accept());
                self.take_its_place(binary).await;
                self.has("in its place").await;
            }
            Stage::InDoubt => {
                self.easemob
                    .on_send(Script::read().wait(&self.loses).reset());
                self.easemob.on_send(wait().accept());
            }
            Stage::Dispatched => self.easemob.black_hole(),
            Stage::Connected | Stage::Done => {}
            Stage::Written | Stage::Answered => self.easemob.on_send(wait().accept()),
        }
    }

    /// Returns when the send is at its stage; with the connection, where there is no more than that.
    async fn arrived(&self, stage: Stage, binary: &Binary) -> Option<TcpStream> {
        let mut connection = None;
        match stage {
            Stage::Admitted => shows(binary, "easemob_gateway_requests_active", &[]).await,
            Stage::Claimed => {
                let asked = self.easemob.until("a token", |seen| seen.tokens.len() == 1);
                asked.await;
            }
            Stage::Turn => shows(binary, "easemob_gateway_queue_active", &[]).await,
            Stage::Dispatched | Stage::Done => {}
            Stage::Connected => {
                let mute = self.mute.try_clone().unwrap();
                let accepted = tokio::task::spawn_blocking(move || mute.accept().unwrap());
                connection = Some(soon("it connects", accepted).await.unwrap().0);
            }
            Stage::Written | Stage::Answered => {
                self.has("once").await;
            }
            Stage::InDoubt => {
                self.has("once").await;
                self.take_its_place(binary).await;
                shows(binary, "easemob_gateway_queue_active", &[]).await;
                self.loses.open();
                self.has("in its place").await;
            }
        }
        if let Some(state) = stage.record() {
            self.has_record(state).await;
        }
        if stage == Stage::Answered {
            self.redis.freeze();
            self.gate.open();
            let calls = "http_client_request_duration_seconds_count";
            shows(binary, calls, &[("endpoint", "users")]).await;
        }
        connection
    }

    /// Another send, which has the only place as soon as it is free.
    async fn take_its_place(&self, binary: &Binary) {
        let client = binary.client().await;
        tokio::spawn(async move { send(&client, says("", "in its place")).await });
    }

    /// Waits until Easemob has this text.
    async fn has(&self, text: &str) {
        let has = |seen: &Seen| seen.texts().contains(&text);
        self.easemob.until(text, has).await;
    }

    /// Waits until Redis has this state of the one record that there is.
    async fn has_record(&self, state: &str) {
        let mut client = self.redis.client().await;
        soon("the record", async {
            loop {
                let mut keys = redis::cmd("KEYS");
                let keys: Vec<Vec<u8>> = keys.arg("*:i:*").query_async(&mut client).await.unwrap();
                if let [key] = &keys[..] {
                    let mut get = redis::cmd("HGET");
                    let get = get.arg(key).arg("s");
                    let is: Option<String> = get.query_async(&mut client).await.unwrap();
                    if is.as_deref() == Some(state) {
                        return;
                    }
                }
            }
        })
        .await;
    }

    /// Everything goes on as it should.
    fn let_go(&self, stage: Stage) {
        if let Stage::Admitted | Stage::Answered = stage {
            self.redis.thaw();
        }
        if stage == Stage::Dispatched {
            self.easemob.end_black_hole();
        }
        self.gate.open();
    }
}

/// Waits until a metric is 1.
async fn shows(binary: &Binary, metric: &str, labels: &[(&str, &str)]) {
    soon(metric, async {
        while Page::parse(&binary.metrics().await).count(metric, labels) < 1.0 {}
    })
    .await;
}

async fn killed_at(stage: Stage) {
    let around = Around::start().await;
    let mut binary = around.binary(stage).await;
    if !matches!(stage, Stage::Claimed | Stage::Connected | Stage::Answered) {
        // There is a token from here on.
        let client = binary.client().await;
        send(&client, says("", "before")).await.unwrap();
    }
    around.hold(stage, &binary).await;
    let client = binary.client().await;
    let first = tokio::spawn(async move {
        let mut request = Request::new(SendMessageRequest {
            resend_maybe_sent: stage == Stage::InDoubt,
            ..says("1", "once")
        });
        request.set_timeout(Duration::from_secs(60));
        client.clone().send_message(request).await
    });
    let _connection = around.arrived(stage, &binary).await;
    let first = match stage {
        Stage::Done => Some(first.await.unwrap().unwrap().into_inner()),
        _ => None,
    };
    binary.kill().await;
    around.let_go(stage);

    let other = around.other(stage).start().await;
    let client = other.client().await;
    let begin = Instant::now();
    let mut repeat = Request::new(says("1", "once"));
    repeat.set_timeout(Duration::from_secs(60));
    let repeat = client.clone().send_message(repeat).await;
    println!("{stage:?}: {repeat:?} after {:?}", begin.elapsed());

    let texts = around.easemob.seen();
    let sent = texts.texts().iter().filter(|text| **text == "once").count();
    match stage {
        Stage::Admitted | Stage::Claimed | Stage::Turn => {
            let repeat = repeat.unwrap().into_inner();
            assert!(!repeat.replayed, "{stage:?}");
            assert_eq!((repeat.accepted.len(), sent), (1, 1), "{stage:?}");
        }
        Stage::Dispatched | Stage::Connected => {
            assert_eq!(refusal(repeat), in_doubt(), "{stage:?}");
            assert_eq!(sent, 0, "{stage:?}");
            around.mute.set_nonblocking(true).unwrap();
            around.mute.accept().unwrap_err();
        }
        Stage::InDoubt | Stage::Written => {
            assert_eq!(refusal(repeat), in_doubt(), "{stage:?}");
            assert_eq!(sent, 1, "{stage:?}");
        }
        Stage::Answered => {
            // Redis may find the outcome among what the dead replica has left for it to read.
            match repeat {
                Ok(repeat) => assert!(repeat.into_inner().replayed),
                doubt => assert_eq!(refusal(doubt), in_doubt()),
            }
            assert_eq!(sent, 1, "{stage:?}");
        }
        Stage::Done => {
            let repeat = repeat.unwrap().into_inner();
            assert!(repeat.replayed);
            assert_eq!(repeat.accepted, first.unwrap().accepted);
            assert_eq!(sent, 1, "{stage:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_killed_at_any_stage_leaves_what_its_repeat_makes_good() {
    let mut stages = JoinSet::new();
    // All at once: each waits for the lease of the one that was killed.
    for stage in [
        Stage::Admitted,
        Stage::Claimed,
        Stage::Turn,
        Stage::InDoubt,
        Stage::Dispatched,
        Stage::Connected,
        Stage::Written,
        Stage::Answered,
        Stage::Done,
    ] {
        stages.spawn(killed_at(stage));
    }
    stages.join_all().await;
}
