//! Replicas that are killed while their calls are on the wire, and callers who repeat at the other one: nobody has
//! a message twice, and what was answered OK is there.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use tokio::{sync::Mutex, task::JoinSet, time::sleep};
use tonic::Request;

use super::says;
use crate::support::{
    binary::Binary,
    easemob::{Easemob, Gate, Script},
    ledger::Client,
    redis::Redis,
    times,
};

/// IDs for each replica that is killed.
const ROUND: usize = 15;

/// Two replicas as processes, and the clients of those that run now.
struct Pair {
    toml: String,
    clients: Mutex<[Client; 2]>,
}

impl Pair {
    async fn client(&self, which: usize) -> Client {
        self.clients.lock().await[which].clone()
    }
}

async fn start(toml: &str) -> (Binary, Client) {
    let binary = Binary::serve(toml, &[("SECRET", "sandbox-client-secret")]).await;
    let client = binary.client().await;
    (binary, client)
}

/// Sends under one ID until an answer tells the end: at one replica, and then at the other.
async fn send(pair: Arc<Pair>, number: usize) -> (usize, bool) {
    let id = format!("id-{number}");
    for attempt in 0..100 {
        let mut request = Request::new(says(&id, &id));
        request.set_timeout(Duration::from_secs(30));
        let mut client = pair.client((number + attempt) % 2).await;
        match client.send_message(request).await {
            Ok(_) => return (number, true),
            // In doubt for good: it is not sent again.
            Err(status)
                if status.code() == tonic::Code::Unknown && !status.details().is_empty() =>
            {
                return (number, false);
            }
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("{id} never comes to an end");
}

fn fault(rng: &mut Rng, gate: &Gate) -> Script {
    let read = Script::read().wait(gate);
    match rng.u8(..20) {
        0 => read.reset(),
        1 => read.answer(400, ""),
        2 => read.answer(503, ""),
        _ => read.accept(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_are_killed_send_nothing_twice() {
    let rounds = times(6, 100) as usize;
    let seed =
        std::env::var("KILL_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("KILL_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let (easemob, redis) = (Easemob::start(), Redis::start().await);
    let toml = format!(
        "[apps.shop]\nbase_url = '{}'\norg_name = 'sandbox'\napp_name = 'demo'\n\
         client_id = 'sandbox-client-id'\nclient_secret_env = 'SECRET'\n\
         [apps.shop.timeouts]\nconnect = '600ms'\nattempt = '8s'\ncall = '8s'\ntoken = '1s'\n\
         [apps.shop.quota.users]\ncalls_per_second = 0\nmessages_per_minute = 0\n\
         [store]\nkind = 'redis'\nurl = '{}'\nanswer_timeout = '5s'\n",
        easemob.url(),
        redis.url()
    );
    let (one, other) = (start(&toml).await, start(&toml).await);
    let pair = Arc::new(Pair {
        toml,
        clients: Mutex::new([one.1, other.1]),
    });
    let mut binaries = [one.0, other.0];

    let mut senders = JoinSet::new();
    // Whose call was on the wire, unanswered, when its replica was killed.
    let mut cut = HashSet::new();
    for round in 0..rounds {
        let gate = Gate::default();
        easemob.forget_scripts();
        for _ in 0..ROUND {
            easemob.on_send(fault(&mut rng, &gate));
        }
        easemob.always_on_send(Script::read().wait(&gate).accept());
        let ids = round * ROUND..(round + 1) * ROUND;
        for number in ids.clone() {
            senders.spawn(send(Arc::clone(&pair), number));
        }
        // So many calls of this round are there, and wait for the gate; the others are on their way, wherever that is.
        let on_wire = |texts: Vec<&str>| -> Vec<usize> {
            let numbers = texts.iter().map(|text| text[3..].parse().unwrap());
            numbers.filter(|number| ids.contains(number)).collect()
        };
        let enough = rng.usize(1..=ROUND / 2);
        let arrived = easemob.until("calls are on the wire", |seen| {
            on_wire(seen.texts()).len() >= enough
        });
        let arrived = on_wire(arrived.await.texts());
        let which = rng.choice(&arrived).unwrap() % 2;
        binaries[which].kill().await;
        cut.extend(arrived.into_iter().filter(|number| number % 2 == which));
        gate.open();
        let (binary, client) = start(&pair.toml).await;
        pair.clients.lock().await[which] = client;
        binaries[which] = binary;
    }

    let ends: HashMap<_, _> = senders.join_all().await.into_iter().collect();
    let seen = easemob.seen();
    let mut has: HashMap<String, usize> = HashMap::new();
    for send in seen.sends.iter().filter(|send| !send.refused) {
        *has.entry(send.text().to_owned()).or_default() += 1;
    }
    let (mut ok, mut wrong) = (0, Vec::new());
    for (number, accepted) in &ends {
        let has = has.remove(&format!("id-{number}")).unwrap_or_default();
        ok += usize::from(*accepted);
        if has > 1 || (*accepted && has != 1) {
            wrong.push((number, *accepted, has));
        }
    }
    let (ids, on_wire) = (ends.len(), cut.len());
    println!(
        "{ids} IDs, {rounds} replicas killed with {on_wire} calls on the wire, {ok} OK, the rest in doubt"
    );
    assert_eq!(ids, rounds * ROUND);
    assert!(wrong.is_empty(), "{wrong:?}");
    // Nobody can know what became of these, and nobody says that he does.
    assert!(cut.len() >= rounds, "{cut:?}");
    let known: Vec<_> = cut.iter().filter(|number| ends[*number]).collect();
    assert!(known.is_empty(), "{known:?}");
}
