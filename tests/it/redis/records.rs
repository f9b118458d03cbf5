//! What one replica was asked, every other knows.

use std::time::Duration;

use easemob_gateway::{
    id::{FileId, RequestId},
    invalid::Violations,
    media::Section,
    message::Fingerprint,
    store::{
        Begin, Begun, Claim, Config, Key, Kind, Memory, Record, RedisUrl, Settlement, Store,
        StoredFile, Unsent,
    },
};
use fastrand::Rng;
use tokio::runtime::Handle;

use super::{in_doubt, refusal, replica, says, send, under_way};
use crate::support::{
    easemob::{Easemob, Gate, Script},
    redis::Redis,
    request::send_within,
    soon,
};

#[tokio::test]
async fn a_repeat_at_another_replica_is_answered_from_the_record() {
    let (easemob, redis) = (Easemob::start(), Redis::start().await);
    let one = replica(&easemob, &redis).start().await;
    let other = replica(&easemob, &redis).start().await;
    let first = send(&one.client().await, says("1", "once")).await.unwrap();
    let again = send(&other.client().await, says("1", "once"))
        .await
        .unwrap();
    assert!(!first.replayed && again.replayed);
    assert_eq!(again.accepted, first.accepted);
    assert_eq!(easemob.seen().texts(), ["once"]);

    let another = send(&other.client().await, says("1", "another")).await;
    assert_eq!(refusal(another).1, "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn a_repeat_waits_for_the_first_at_another_replica() {
    let (easemob, redis) = (Easemob::start(), Redis::start().await);
    let gate = Gate::default();
    easemob.on_send(Script::read().wait(&gate).accept());
    let one = replica(&easemob, &redis).start().await;
    let two = replica(&easemob, &redis).start().await;
    let (client, other) = (one.client().await, two.client().await);
    let first = under_way(&easemob, &client, says("1", "once")).await;

    // One with less patience than the first takes.
    let time = Duration::from_millis(300);
    let hasty = send_within(&other, &says("1", "once"), time).await;
    assert_eq!(refusal(hasty), in_doubt());

    let repeat = tokio::spawn(async move { send(&other, says("1", "once")).await });
    gate.open();
    let first = soon("the first", first).await.unwrap().unwrap();
    let repeat = soon("the repeat", repeat).await.unwrap().unwrap();
    assert!(repeat.replayed);
    assert_eq!(repeat.accepted, first.accepted);
    assert_eq!(easemob.seen().texts(), ["once"]);
}

/// Two stores that are asked the same.
struct Pair<'a> {
    server: &'a Redis,
    memory: Store,
    redis: Store,
    fingerprints: Vec<Fingerprint>,
    /// One run's claims, at both.
    claims: Vec<(Claim, Claim)>,
}

/// Long enough that no lease ends by itself.
const LONG: Duration = Duration::from_secs(600);

impl<'a> Pair<'a> {
    async fn of(redis: &'a Redis) -> Self {
        let config = Config {
            kind: Kind::Redis,
            url: Some(RedisUrl(redis.url())),
            answer_timeout: Duration::from_secs(10),
            ..Config::default()
        };
        Self {
            server: redis,
            memory: Store::Memory(Memory::new(&config)),
            redis: Store::open(&config, &Handle::current()).unwrap(),
            fingerprints: [1, 2]
                .map(|byte| Fingerprint::from_bytes([byte; 16]))
                .into(),
            claims: Vec::new(),
        }
    }

    async fn begin(&mut self, key: Key, rng: &mut Rng, lease: Duration) -> String {
        let first = usize::from(rng.u8(..10) == 0);
        let begin = Begin {
            key,
            fingerprints: &self.fingerprints[first..],
            recipients: 5,
            resend_maybe_sent: rng.u8(..4) == 0,
            at_once: false,
            lease,
            trace: None,
        };
        let memory = self.memory.begin(&begin).await.unwrap();
        let redis = self.redis.begin(&begin).await.unwrap();
        if let (
            Begun::New(memory) | Begun::Again(memory, _),
            Begun::New(redis) | Begun::Again(redis, _),
        ) = (&memory, &redis)
        {
            self.claims.push((*memory, *redis));
        }
        let (memory, redis) = (told(&memory), told(&redis));
        assert_eq!(redis, memory);
        format!("{memory:?}")
    }
}

fn told(begun: &Begun) -> (&'static str, Option<&Record>) {
    match begun {
        Begun::New(_) => ("new", None),
        Begun::Again(_, record) => ("again", Some(record)),
        Begun::Settled(record) => ("settled", Some(record)),
        Begun::Running(_, record) => ("running", Some(record)),
        Begun::Reused => ("reused", None),
    }
}

fn file(number: u8) -> StoredFile {
    let violations = Violations::default();
    StoredFile {
        uuid: FileId::check(format!("file-{number}"), violations.root()).unwrap(),
        secret: number.is_multiple_of(2).then(|| "secret".into()),
        size_bytes: number.into(),
        sha256: [number; 32],
    }
}

/// Whatever is asked, in whatever order, Redis answers what memory answers: the rules are the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_keeps_the_rules_that_memory_keeps() {
    let redis = Redis::start().await;
    let mut pair = Pair::of(&redis).await;
    let seed = std::env::var("RECORDS_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("RECORDS_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let violations = Violations::default();
    for number in 0..crate::support::times(120, 3_000) {
        let id = RequestId::check(number.to_string(), violations.root());
        let key = Key::shared("caller", "shop", &id.flatten().unwrap());
        pair.claims.clear();
        let mut history = Vec::new();
        for _ in 0..rng.u8(1..24) {
            let step = step(&mut pair, key, &mut rng).await;
            history.push(step);
        }
        let end = pair.begin(key, &mut rng, LONG).await;
        history.push(end);
        if rng.u8(..100) == 0 {
            println!("{history:#?}");
        }
    }
}

async fn step(pair: &mut Pair<'_>, key: Key, rng: &mut Rng) -> String {
    let mut part: Vec<u32> = (0..5).filter(|_| rng.bool()).collect();
    rng.shuffle(&mut part);
    let lease = if rng.u8(..3) == 0 {
        Duration::ZERO
    } else {
        LONG
    };
    let claims = rng.choice(pair.claims.clone());
    let (Some((at_memory, at_redis)), what @ 1..) = (claims, rng.u8(..8)) else {
        return format!("begin {:?}", pair.begin(key, rng, lease).await);
    };
    let (memory, redis) = (&pair.memory, &pair.redis);
    let now = tokio::time::Instant::now();
    let (there, here) = match what {
        1 => (
            memory.renew(at_memory, lease).await,
            redis.renew(at_redis, lease).await,
        ),
        2 | 3 => (
            memory.dispatch(at_memory, &part, now, lease).await,
            redis.dispatch(at_redis, &part, now, lease).await,
        ),
        4 => {
            let doubt = rng.bool();
            (
                memory.release(at_memory, &part, doubt, lease).await,
                redis.release(at_redis, &part, doubt, lease).await,
            )
        }
        5 => {
            let ids: Vec<_> = part
                .iter()
                .map(|at| rng.bool().then(|| format!("id-{at}-{}", rng.u8(..))))
                .collect();
            let settlement = Settlement {
                message_ids: &ids[..rng.usize(..=ids.len())],
                timestamp_ms: rng.bool().then_some(7),
                unsent: *rng.choice(&[Unsent::NotSent, Unsent::MaybeSent]).unwrap(),
            };
            memory.settle(at_memory, &part, settlement).await;
            redis.settle(at_redis, &part, settlement).await;
            (Ok(true), Ok(true))
        }
        6 => {
            let (number, which) = (
                rng.u8(..),
                *rng.choice(&[Section::File, Section::Thumbnail]).unwrap(),
            );
            memory.stored(at_memory, which, file(number)).await.unwrap();
            redis.stored(at_redis, which, file(number)).await.unwrap();
            (Ok(true), Ok(true))
        }
        _ => {
            memory.drop_claim(at_memory);
            let before = pair.server.calls("evalsha").await;
            redis.drop_claim(at_redis);
            let dropped = async { while pair.server.calls("evalsha").await == before {} };
            soon("it is done in the background", dropped).await;
            (Ok(true), Ok(true))
        }
    };
    assert_eq!(here.unwrap(), there.unwrap(), "{what} {part:?} {lease:?}");
    format!("{what} {part:?} {lease:?}")
}

#[tokio::test]
async fn records_are_kept_for_their_time_and_no_longer() {
    let (easemob, redis) = (Easemob::start(), Redis::start().await);
    let gateway = replica(&easemob, &redis).start().await;
    send(&gateway.client().await, says("1", "once"))
        .await
        .unwrap();
    let mut client = redis.client().await;
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS")
        .arg("*:i:*")
        .query_async(&mut client)
        .await
        .unwrap();
    assert_eq!(keys.len(), 1);
    let left: i64 = redis::cmd("TTL")
        .arg(&keys[0])
        .query_async(&mut client)
        .await
        .unwrap();
    assert!((24 * 3_600 - 60..=24 * 3_600).contains(&left), "{left}");
}

/// What a run that died has dispatched stays in doubt; the rest is free again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_run_has_dispatched_stays_in_doubt() {
    let redis = Redis::start().await;
    let mut pair = Pair::of(&redis).await;
    let violations = Violations::default();
    let id = RequestId::check("dead".into(), violations.root());
    let key = Key::shared("caller", "shop", &id.flatten().unwrap());
    let begin = Begin {
        key,
        fingerprints: &pair.fingerprints[..1],
        recipients: 5,
        resend_maybe_sent: false,
        at_once: false,
        lease: Duration::from_millis(500),
        trace: None,
    };
    for store in [&pair.memory, &pair.redis] {
        let Begun::New(claim) = store.begin(&begin).await.unwrap() else {
            panic!("it is the first");
        };
        assert!(
            store
                .dispatch(claim, &[0, 3], tokio::time::Instant::now(), Duration::ZERO)
                .await
                .unwrap()
        );
    }
    tokio::time::sleep(Duration::from_millis(600)).await;
    let told = pair.begin(key, &mut Rng::with_seed(4), LONG).await;
    assert_eq!(told.matches("Unknown").count(), 2, "{told}");
    assert_eq!(told.matches("Claimed").count(), 3, "{told}");
}
