//! Callers against a quota, on a clock that costs no time. Easemob's own count is kept apart: it counts a call when it
//! arrives, some time between its turn and its end.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::*;
use crate::app::{Quota, UserQuota};

const MINUTE: Duration = Duration::from_secs(60);

fn quotas(calls_per_second: u32, messages_per_minute: u32) -> Arc<Quotas> {
    let quota = Quota {
        users: UserQuota {
            calls_per_second,
            messages_per_minute,
        },
        ..Quota::default()
    };
    Arc::new(Quotas::new(&quota, 1_000, &Handle::current()))
}

fn asker(name: &str, weight: u32) -> Asker {
    Asker {
        name: Arc::from(name),
        weight,
    }
}

/// What arrived at Easemob: when, from whom, how many messages.
type Ledger = Arc<Mutex<Vec<(Instant, Arc<str>, u64)>>>;

/// Sends one message in one call, as a delivery does. Whether it went.
async fn send(
    quotas: &Arc<Quotas>,
    ledger: &Ledger,
    asker: &Asker,
    messages: u64,
    time: Duration,
    rng: &mut Rng,
) -> Result<(), Refusal> {
    let admission = quotas
        .admit(Kind::Users, asker, &[messages], Instant::now() + time)
        .await?;
    let _turn = admission.turn(messages, None).await;
    let there = Duration::from_millis(rng.u64(0..150));
    let back = Duration::from_millis(rng.u64(0..150));
    sleep(there).await;
    ledger
        .lock()
        .unwrap()
        .push((Instant::now(), Arc::clone(&asker.name), messages));
    sleep(back).await;
    Ok(())
}

/// A caller that always has `streams` messages to send, and waits as it is told.
fn greedy(
    quotas: &Arc<Quotas>,
    ledger: &Ledger,
    asker: &Asker,
    streams: u64,
    sizes: std::ops::RangeInclusive<u64>,
) {
    for stream in 0..streams {
        let (quotas, ledger, asker, sizes) = (
            Arc::clone(quotas),
            Arc::clone(ledger),
            asker.clone(),
            sizes.clone(),
        );
        let mut rng = Rng::with_seed(stream);
        tokio::spawn(async move {
            loop {
                let messages = rng.u64(sizes.clone());
                let sent = send(
                    &quotas,
                    &ledger,
                    &asker,
                    messages,
                    Duration::from_secs(15),
                    &mut rng,
                )
                .await;
                if let Err(Refusal::TooLate { retry_after, .. }) = sent {
                    sleep(retry_after.expect("it fits some time")).await;
                }
            }
        });
    }
}

/// The most that any window of the clock has.
fn worst(ledger: &Ledger, length: Duration) -> u64 {
    let mut arrivals = ledger.lock().unwrap().clone();
    arrivals.sort_by_key(|(at, ..)| *at);
    let (mut first, mut sum, mut worst) = (0, 0, 0);
    for &(at, _, messages) in &arrivals {
        sum += messages;
        while at - arrivals[first].0 >= length {
            sum -= arrivals[first].2;
            first += 1;
        }
        worst = worst.max(sum);
    }
    worst
}

fn sum_between(ledger: &Ledger, name: Option<&str>, from: Instant, to: Instant) -> u64 {
    let arrivals = ledger.lock().unwrap();
    let matching = arrivals
        .iter()
        .filter(|(at, who, _)| *at >= from && *at < to && name.is_none_or(|name| &**who == name));
    matching.map(|(.., messages)| messages).sum()
}

#[tokio::test(start_paused = true)]
async fn all_of_a_quota_is_used_and_no_minute_has_more() {
    let (quotas, ledger) = (quotas(0, 6_000), Ledger::default());
    let start = Instant::now();
    greedy(&quotas, &ledger, &asker("one", 1), 40, 1..=1);
    greedy(&quotas, &ledger, &asker("many", 1), 40, 1..=600);
    sleep(10 * MINUTE).await;
    assert!(
        worst(&ledger, MINUTE) <= 6_000,
        "{}",
        worst(&ledger, MINUTE)
    );
    // From the second minute on: the first takes the whole quota at once.
    let used = sum_between(&ledger, None, start + MINUTE, start + 10 * MINUTE);
    assert!(used >= 9 * 6_000 * 95 / 100, "{used} of {}", 9 * 6_000);
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_second_are_bounded_too() {
    let (quotas, ledger) = (quotas(50, 0), Ledger::default());
    greedy(&quotas, &ledger, &asker("one", 1), 100, 1..=1);
    sleep(MINUTE).await;
    assert!(worst(&ledger, Duration::from_secs(1)) <= 50);
    assert!(ledger.lock().unwrap().len() >= 60 * 50 / 2);
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_ten_times_its_share_takes_nothing_from_the_others() {
    let (quotas, ledger) = (quotas(0, 6_000), Ledger::default());
    let start = Instant::now();
    // Ten times its third, in all sizes.
    greedy(&quotas, &ledger, &asker("greedy", 1), 200, 1..=600);
    for name in ["a", "b"] {
        let (quotas, ledger, asker) = (Arc::clone(&quotas), Arc::clone(&ledger), asker(name, 1));
        // 32 a second are within its share of 33.
        tokio::spawn(async move {
            let mut rng = Rng::with_seed(1);
            loop {
                let (quotas, ledger, asker) =
                    (Arc::clone(&quotas), Arc::clone(&ledger), asker.clone());
                let mut own = Rng::with_seed(rng.u64(..));
                tokio::spawn(async move {
                    let time = Duration::from_secs(15);
                    let _refused = send(&quotas, &ledger, &asker, 1, time, &mut own).await;
                });
                sleep(Duration::from_secs(1) / 32).await;
            }
        });
    }
    sleep(10 * MINUTE).await;
    assert!(worst(&ledger, MINUTE) <= 6_000);
    let (from, to) = (start + 2 * MINUTE, start + 10 * MINUTE);
    for name in ["a", "b"] {
        let got = sum_between(&ledger, Some(name), from, to);
        assert!(
            got >= 8 * 60 * 32 * 95 / 100,
            "{name} got {got} of {}",
            8 * 60 * 32
        );
    }
    let all = sum_between(&ledger, None, from, to);
    assert!(all >= 8 * 6_000 * 95 / 100, "{all}");
}

#[tokio::test(start_paused = true)]
async fn weights_are_shares() {
    let (quotas, ledger) = (quotas(0, 6_000), Ledger::default());
    let start = Instant::now();
    greedy(&quotas, &ledger, &asker("three", 3), 300, 1..=10);
    greedy(&quotas, &ledger, &asker("one", 1), 300, 1..=10);
    sleep(10 * MINUTE).await;
    let (from, to) = (start + 2 * MINUTE, start + 10 * MINUTE);
    let three = sum_between(&ledger, Some("three"), from, to);
    let one = sum_between(&ledger, Some("one"), from, to);
    let share = three as f64 / (three + one) as f64;
    assert!((0.70..0.80).contains(&share), "{share}");
}

#[tokio::test(start_paused = true)]
async fn small_calls_do_not_pass_a_large_one_for_ever() {
    let (quotas, ledger) = (quotas(0, 6_000), Ledger::default());
    greedy(&quotas, &ledger, &asker("small", 1), 500, 1..=1);
    sleep(2 * MINUTE).await;
    let mut rng = Rng::with_seed(7);
    let asked = Instant::now();
    let time = 2 * MINUTE;
    send(&quotas, &ledger, &asker("large", 1), 600, time, &mut rng)
        .await
        .unwrap();
    assert!(
        asked.elapsed() < time + Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn who_cannot_go_in_time_is_refused_at_once_and_told_when() {
    let quotas = quotas(0, 600);
    let amy = asker("amy", 1);
    let first = quotas
        .admit(Kind::Users, &amy, &[600], Instant::now())
        .await
        .unwrap();
    drop(first.turn(600, None).await);
    let asked = Instant::now();
    let refusal = quotas
        .admit(Kind::Users, &amy, &[1], asked + Duration::from_secs(15))
        .await
        .unwrap_err();
    let Refusal::TooLate {
        retry_after: Some(wait),
        ..
    } = refusal
    else {
        panic!("{refusal:?}")
    };
    assert_eq!(Instant::now(), asked);
    assert!(
        wait >= MINUTE && wait < MINUTE + Duration::from_secs(1),
        "{wait:?}"
    );
    sleep(wait).await;
    quotas
        .admit(Kind::Users, &amy, &[1], Instant::now())
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_larger_than_the_quota_is_told_the_time_that_it_needs() {
    let quotas = quotas(0, 600);
    let amy = asker("amy", 1);
    let calls = [600, 600, 600];
    let refusal = quotas
        .admit(Kind::Users, &amy, &calls, Instant::now() + MINUTE)
        .await
        .unwrap_err();
    let Refusal::TooLate {
        retry_after: None,
        needs,
    } = refusal
    else {
        panic!("{refusal:?}")
    };
    assert!(needs >= 2 * MINUTE, "{needs:?}");
    let in_time = Instant::now() + needs + Duration::from_secs(1);
    quotas
        .admit(Kind::Users, &amy, &calls, in_time)
        .await
        .unwrap();
    assert_eq!(
        quotas
            .admit(Kind::Users, &amy, &[601], in_time)
            .await
            .unwrap_err(),
        Refusal::NeverFits
    );
}

/// A closed loop of far more than the quota, in which everybody comes back exactly when told.
#[tokio::test(start_paused = true)]
async fn who_comes_back_when_told_is_admitted() {
    let (quotas, ledger) = (quotas(0, 600), Ledger::default());
    let counts = Arc::new(Mutex::new((0, 0)));
    for client in 0..200 {
        let (quotas, ledger, counts) = (
            Arc::clone(&quotas),
            Arc::clone(&ledger),
            Arc::clone(&counts),
        );
        tokio::spawn(async move {
            let mut rng = Rng::with_seed(client);
            let asker = asker(&format!("caller-{}", client % 3), 1);
            let mut told = false;
            loop {
                let sent = send(
                    &quotas,
                    &ledger,
                    &asker,
                    10,
                    Duration::from_secs(5),
                    &mut rng,
                )
                .await;
                if told {
                    let mut counts = counts.lock().unwrap();
                    counts.0 += u32::from(sent.is_ok());
                    counts.1 += 1;
                }
                told = match sent {
                    Err(Refusal::TooLate {
                        retry_after: Some(wait),
                        ..
                    }) => {
                        sleep(wait).await;
                        true
                    }
                    Err(refusal) => panic!("{refusal:?}"),
                    Ok(()) => false,
                };
            }
        });
    }
    sleep(30 * MINUTE).await;
    let (admitted, returned) = *counts.lock().unwrap();
    assert!(returned > 1_000);
    assert!(admitted * 100 >= returned * 95, "{admitted} of {returned}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_everybody_up_and_then_they_go() {
    let quotas = quotas(100, 6_000);
    let amy = asker("amy", 1);
    quotas.pause(Kind::Users, Duration::from_secs(3));
    let asked = Instant::now();
    let refused = quotas
        .admit(Kind::Users, &amy, &[1], asked + Duration::from_secs(1))
        .await;
    assert!(matches!(refused, Err(Refusal::TooLate { .. })));
    let admission = quotas
        .admit(Kind::Users, &amy, &[1], asked + Duration::from_secs(5))
        .await
        .unwrap();
    let _turn = admission.turn(1, None).await;
    assert!(asked.elapsed() >= Duration::from_secs(3));
    assert!(asked.elapsed() < Duration::from_secs(4));
    // Another kind was never held up.
    let directed = quotas
        .admit(Kind::Directed, &amy, &[1], Instant::now())
        .await
        .unwrap();
    drop(directed.turn(1, None).await);
}

#[tokio::test(start_paused = true)]
async fn a_turn_comes_with_a_place_and_gives_it_back() {
    let quotas = quotas(0, 0);
    let amy = asker("amy", 1);
    let (left, right) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(1)));
    let until = Instant::now() + MINUTE;
    let admission = quotas
        .admit(Kind::Users, &amy, &[1, 1, 1], until)
        .await
        .unwrap();
    let first = admission.turn(1, Some(&left)).await;
    let mut second = Box::pin(admission.turn(1, Some(&left)));
    assert!(timeout(Duration::from_secs(1), &mut second).await.is_err());
    // Who waits for a place of one shard does not hold up another shard.
    let third = timeout(Duration::from_secs(2), admission.turn(1, Some(&right))).await;
    drop(third.unwrap());
    drop(first);
    drop(timeout(Duration::from_secs(1), second).await.unwrap());
    assert_eq!(
        (left.available_permits(), right.available_permits()),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn the_queue_of_one_caller_is_bounded() {
    let quota = Quota::default();
    let quotas = Arc::new(Quotas::new(&quota, 2, &Handle::current()));
    let (amy, ben) = (asker("amy", 1), asker("ben", 1));
    let until = Instant::now() + MINUTE;
    let first = quotas.admit(Kind::Users, &amy, &[1], until).await.unwrap();
    let _second = quotas.admit(Kind::Users, &amy, &[1], until).await.unwrap();
    assert_eq!(
        quotas
            .admit(Kind::Users, &amy, &[1], until)
            .await
            .unwrap_err(),
        Refusal::QueueFull
    );
    quotas.admit(Kind::Users, &ben, &[1], until).await.unwrap();
    drop(first);
    quotas.admit(Kind::Users, &amy, &[1], until).await.unwrap();
}

/// Callers that go away at any time, and calls that are proven not sent, leave nothing behind.
#[tokio::test(start_paused = true)]
async fn nothing_leaks_when_callers_go_away_at_any_time() {
    let quotas = quotas(100, 600);
    let places = Arc::new(Semaphore::new(5));
    let mut rng = Rng::with_seed(11);
    let mut tasks = Vec::new();
    for number in 0..3_000u64 {
        let (quotas, places) = (Arc::clone(&quotas), Arc::clone(&places));
        let mut own = Rng::with_seed(number);
        let patience = Duration::from_micros(own.u64(0..30_000_000));
        tasks.push(tokio::spawn(timeout(patience, async move {
            let asker = asker(["a", "b", "c"][own.usize(0..3)], own.u32(1..4));
            let messages = own.u64(1..50);
            let until = Instant::now() + MINUTE;
            let Ok(admission) = quotas.admit(Kind::Users, &asker, &[messages], until).await else {
                return;
            };
            let turn = admission.turn(messages, Some(&places)).await;
            sleep(Duration::from_millis(own.u64(0..300))).await;
            if own.f64() < 0.3 {
                turn.not_sent();
                // As a retry does.
                drop(admission.turn(messages, Some(&places)).await);
            }
        })));
        sleep(Duration::from_micros(rng.u64(0..20_000))).await;
    }
    for task in tasks {
        let _gone = task.await.unwrap();
    }
    sleep_until(Instant::now() + 2 * MINUTE).await;
    let Use { used, waiting, .. } = quotas.usage(Kind::Users);
    assert_eq!((used, waiting), (0, 0));
    assert_eq!(places.available_permits(), 5);
    // And all of it can be had at once.
    let admission = quotas
        .admit(Kind::Users, &asker("a", 1), &[600], Instant::now())
        .await
        .unwrap();
    drop(admission.turn(600, Some(&places)).await);
}
