//! O2: six gateways, each a process, one Redis, and callers who always want more. What counts is what Easemob's
//! own clock has seen.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use easemob_gateway::proto::{Groups, SendMessageRequest, message::Target};
use fastrand::Rng;
use tokio::{task::JoinSet, time::sleep};
use tonic::{Code, Request};
use tonic_types::StatusExt;

use crate::support::{
    binary::Binary,
    easemob::{Easemob, Received, Script},
    ledger::Client,
    redis::Redis,
    request::{message, request, text, users, verdict},
    soak, within,
};

const PROCESSES: usize = 6;

/// What callers were told, and what became of it.
#[derive(Default)]
struct Told {
    /// Came back exactly when they were told to.
    returned: AtomicUsize,
    /// And were admitted then.
    admitted: AtomicUsize,
}

struct Fleet {
    easemob: Easemob,
    _redis: Redis,
    _binaries: Vec<Binary>,
    clients: Vec<Client>,
    told: Arc<Told>,
}

impl Fleet {
    async fn start(quota: &str) -> Self {
        let (easemob, redis) = (Easemob::start(), Redis::start().await);
        easemob.always_on_send(Script::read().stay(Duration::from_millis(20)).accept());
        let toml = format!(
            "[apps.shop]\nbase_url = '{}'\norg_name = 'sandbox'\napp_name = 'demo'\n\
             client_id = 'sandbox-client-id'\nclient_secret_env = 'SECRET'\n\
             [apps.shop.limits]\nrequest_bytes = 0\n[apps.shop.quota]\n{quota}\n\
             [store]\nkind = 'redis'\nurl = '{}'\nfallback_share = 0.16\nanswer_timeout = '5s'\n",
            easemob.url(),
            redis.url()
        );
        let (mut binaries, mut clients) = (Vec::new(), Vec::new());
        for _ in 0..PROCESSES {
            let binary = Binary::serve(&toml, &[("SECRET", "sandbox-client-secret")]).await;
            clients.push(binary.client().await);
            binaries.push(binary);
        }
        Self {
            easemob,
            _redis: redis,
            _binaries: binaries,
            clients,
            told: Arc::default(),
        }
    }

    /// So many callers at each gateway that always want to send, in all sizes.
    fn send(
        &self,
        each: usize,
        sizes: RangeInclusive<usize>,
        patience: Duration,
        target: fn(usize) -> Target,
    ) -> JoinSet<()> {
        let mut senders = JoinSet::new();
        for client in &self.clients {
            for _ in 0..each {
                let (client, sizes) = (client.clone(), sizes.clone());
                let told = Arc::clone(&self.told);
                senders.spawn(greedy(client, sizes, patience, target, told));
            }
        }
        senders
    }

    /// When how many messages arrived.
    fn arrivals(&self, key: &str) -> Vec<(Instant, u64)> {
        let size = |send: &Received| send.body[key].as_array().unwrap().len() as u64;
        let seen = self.easemob.seen();
        seen.sends
            .iter()
            .map(|send| (send.at, size(send)))
            .collect()
    }

    fn print(&self, worst: u64, used: u64, limit: u64) {
        let (admitted, returned) = self.returned();
        println!(
            "worst window {worst} of {limit}, used {used} per mille, \
             {admitted} of {returned} admitted who came back when told"
        );
    }

    fn returned(&self) -> (usize, usize) {
        let count = |of: &AtomicUsize| of.load(Ordering::Relaxed);
        (count(&self.told.admitted), count(&self.told.returned))
    }

    /// Who came back when told was admitted, but for so few in a hundred.
    #[track_caller]
    fn assert_true_to_its_word(&self, but_for: usize) {
        let (admitted, returned) = self.returned();
        assert!(returned >= 50, "{returned} came back");
        let least = returned * (100 - but_for);
        assert!(admitted * 100 >= least, "{admitted} of {returned}");
    }
}

async fn greedy(
    mut client: Client,
    sizes: RangeInclusive<usize>,
    patience: Duration,
    target: fn(usize) -> Target,
    told: Arc<Told>,
) {
    let mut rng = Rng::new();
    let (mut was_told, mut size) = (false, 1);
    loop {
        // Who was told to come back does so with the same message.
        if !was_told {
            size = rng.usize(sizes.clone());
        }
        let message = message(target(size), text("x"));
        let mut request: Request<SendMessageRequest> = Request::new(request(message));
        request.set_timeout(patience);
        let status = match client.send_message(request).await {
            Ok(_) => {
                note(&told, &mut was_told, true);
                continue;
            }
            Err(status) => status,
        };
        // It had its turn, or an answer came too late: late in its time, or on a slow machine.
        if status.code() == Code::Unknown {
            note(&told, &mut was_told, true);
            continue;
        }
        if status.details().is_empty() || status.code() == Code::DeadlineExceeded {
            was_told = false;
            continue;
        }
        let refused = ("QUOTA_EXCEEDED".to_owned(), "NOT_SENT".to_owned());
        assert_eq!(verdict(&status), refused, "{status:?}");
        assert_eq!(status.code(), Code::ResourceExhausted);
        note(&told, &mut was_told, false);
        let wait = status
            .get_details_retry_info()
            .and_then(|info| info.retry_delay);
        sleep(wait.unwrap_or_else(|| panic!("waiting helps: {status:?}"))).await;
        was_told = true;
    }
}

fn note(told: &Told, was_told: &mut bool, admitted: bool) {
    if std::mem::take(was_told) {
        told.returned.fetch_add(1, Ordering::Relaxed);
        told.admitted.fetch_add(admitted.into(), Ordering::Relaxed);
    }
}

/// The most that any window of Easemob's clock has.
fn worst(arrivals: &[(Instant, u64)], window: Duration) -> u64 {
    let mut arrivals = arrivals.to_vec();
    arrivals.sort_unstable();
    let (mut first, mut sum, mut worst) = (0, 0, 0);
    for &(at, messages) in &arrivals {
        sum += messages;
        while at - arrivals[first].0 >= window {
            sum -= arrivals[first].1;
            first += 1;
        }
        worst = worst.max(sum);
    }
    worst
}

fn sum(arrivals: &[(Instant, u64)]) -> u64 {
    arrivals.iter().map(|(_, messages)| messages).sum()
}

fn many_users(count: usize) -> Target {
    let ids: Vec<_> = (0..count).map(|number| format!("u{number}")).collect();
    users(&ids.iter().map(String::as_str).collect::<Vec<_>>())
}

/// With Easemob's own figures. In small the first minute alone: all of it goes at once, and then nothing does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_processes_use_a_minutes_quota_and_no_more() {
    let minute = Duration::from_secs(60);
    let fleet =
        Fleet::start("users = { calls_per_second = 100, messages_per_minute = 6000 }").await;
    let begin = Instant::now();
    let patience = Duration::from_secs(15);
    let _many = fleet.send(5, 1..=600, patience, many_users);
    let _few = fleet.send(5, 1..=30, patience, many_users);
    let used_up = async {
        while sum(&fleet.arrivals("to")) < 5_700 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    within(minute / 2, "the quota is used", used_up).await;
    if soak() {
        sleep((begin + 3 * minute).saturating_duration_since(Instant::now())).await;
    } else {
        sleep(Duration::from_secs(2)).await;
    }
    let arrivals = fleet.arrivals("to");
    let worst = worst(&arrivals, minute);
    let windows = if soak() { 3 } else { 1 };
    let used = sum(&arrivals) * 1_000 / (6_000 * windows);
    fleet.print(worst, used, 6_000);
    assert!(worst <= 6_000, "{worst} in a minute");
    assert!(used >= 950, "{used} per mille");
    if soak() {
        fleet.assert_true_to_its_word(5);
    }
}

fn many_groups(count: usize) -> Target {
    let group_ids = (0..count).map(|number| (1_000 + number).to_string());
    Target::Groups(Groups {
        group_ids: group_ids.collect(),
        ..Groups::default()
    })
}

/// The same where quotas are new every second, so that many are told when to come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_processes_use_a_seconds_quota_and_no_more() {
    let fleet = Fleet::start("groups = { calls_per_second = 0, messages_per_second = 60 }").await;
    let seconds: u64 = if soak() { 30 } else { 6 };
    let _senders = fleet.send(10, 1..=3, Duration::from_secs(1), many_groups);
    sleep(Duration::from_secs(seconds)).await;
    let arrivals = fleet.arrivals("to");
    let worst = worst(&arrivals, Duration::from_secs(1));
    let used = sum(&arrivals) * 1_000 / (60 * seconds);
    fleet.print(worst, used, 60);
    assert!(worst <= 60, "{worst} in a second");
    assert!(used > 0, "nothing goes");
    if soak() {
        // The time that a call takes is a good part of a second, and known only once it has ended.
        fleet.assert_true_to_its_word(10);
    }
}
