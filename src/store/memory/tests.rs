//! The rules, one by one with time paused, and all at once against random runs.

use proptest::prelude::*;
use tokio::time::advance;

use super::*;
use crate::{
    message::Fingerprint,
    store::{Record, State, Unsent},
};

const LEASE: Duration = Duration::from_secs(10);
const MESSAGE: [Fingerprint; 1] = [Fingerprint::of([1; 16])];

fn key(number: u32) -> Key {
    let violations = crate::invalid::Violations::default();
    let id = crate::id::RequestId::check(number.to_string(), violations.root());
    Key::new("caller", "app", &id.flatten().unwrap())
}

fn begin_of(key: Key, recipients: usize, fingerprints: &[Fingerprint]) -> Begin<'_> {
    Begin {
        key,
        fingerprints,
        recipients,
        resend_maybe_sent: false,
        lease: LEASE,
    }
}

fn begin(memory: &Memory, number: u32, recipients: usize) -> Result<Begun, Error> {
    memory.begin(&begin_of(key(number.into()), recipients, &MESSAGE))
}

fn first(memory: &Memory, number: u32, recipients: usize) -> Claim {
    match begin(memory, number, recipients) {
        Ok(Begun::New(claim)) => claim,
        other => panic!("{other:?}"),
    }
}

fn again(memory: &Memory, number: u32, recipients: usize) -> (Claim, Record) {
    match begin(memory, number, recipients) {
        Ok(Begun::Again(claim, record)) => (claim, record),
        other => panic!("{other:?}"),
    }
}

fn settled(memory: &Memory, number: u32, recipients: usize) -> Vec<State> {
    match begin(memory, number, recipients) {
        Ok(Begun::Settled(record)) => record.recipients,
        other => panic!("{other:?}"),
    }
}

fn ids(ids: &[Option<String>]) -> Settlement<'_> {
    Settlement {
        message_ids: ids,
        timestamp_ms: Some(7),
        unsent: Unsent::MaybeSent,
    }
}

fn accepted(id: &str) -> State {
    State::Accepted {
        message_id: id.to_owned(),
        timestamp_ms: Some(7),
    }
}

fn memory() -> Memory {
    Memory::new(&Config::default())
}

#[tokio::test(start_paused = true)]
async fn a_repeat_gets_what_was_accepted_and_the_rest_to_send() {
    let memory = memory();
    let claim = first(&memory, 1, 4);
    assert!(memory.dispatch(claim, &[0, 1], LEASE));
    memory.settle(claim, &[0, 1], ids(&[Some("10".into()), None]));
    memory.settle(claim, &[2, 3], Settlement::none(Unsent::NotSent));

    let (claim, record) = again(&memory, 1, 4);
    let claimed = State::Claimed { doubt: false };
    let expected = [accepted("10"), State::Unknown, claimed.clone(), claimed];
    assert_eq!(record.recipients, expected);
    assert!(memory.dispatch(claim, &[2, 3], LEASE));
    memory.settle(claim, &[2, 3], ids(&[Some("12".into()), Some("13".into())]));
    let expected = [
        accepted("10"),
        State::Unknown,
        accepted("12"),
        accepted("13"),
    ];
    assert_eq!(settled(&memory, 1, 4), expected);
}

#[tokio::test(start_paused = true)]
async fn another_message_under_the_same_id_is_told_apart() {
    let memory = memory();
    first(&memory, 1, 1);
    let begin = |fingerprints: &[Fingerprint], recipients| {
        memory.begin(&begin_of(key(1), recipients, fingerprints))
    };
    let (own, other) = (Fingerprint::of([1; 16]), Fingerprint::of([2; 16]));
    assert!(matches!(begin(&[other], 1), Ok(Begun::Reused)));
    assert!(matches!(begin(&[own], 2), Ok(Begun::Reused)));
    assert!(matches!(begin(&[other, own], 1), Ok(Begun::Running(..))));
}

#[tokio::test(start_paused = true)]
async fn what_nothing_was_sent_of_is_forgotten() {
    let memory = memory();
    for count in [1, 5] {
        let claim = first(&memory, 1, count);
        assert_eq!(memory.usage().records, 1);
        memory.abandon(claim);
        assert_eq!(
            memory.usage(),
            Usage {
                records: 0,
                bytes: 0
            }
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeat_waits_until_the_run_ends() {
    let memory = memory();
    let claim = first(&memory, 1, 2);
    let Ok(Begun::Running(running, record)) = begin(&memory, 1, 2) else {
        panic!("it runs");
    };
    assert_eq!(
        record.recipients,
        [const { State::Claimed { doubt: false } }; 2]
    );
    let waiting = tokio::spawn(running.ended());
    assert!(memory.dispatch(claim, &[0], LEASE));
    memory.settle(claim, &[0], ids(&[Some("1".into())]));
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    memory.settle(claim, &[1], Settlement::none(Unsent::MaybeSent));
    waiting.await.unwrap();
    assert_eq!(memory.start.elapsed(), Duration::ZERO);
    assert_eq!(settled(&memory, 1, 2), [accepted("1"), State::Unknown]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_died_while_it_waited_leaves_everything_to_the_next() {
    let memory = memory();
    let dead = first(&memory, 1, 1);
    advance(LEASE - Duration::from_millis(1)).await;
    assert!(memory.renew(dead, LEASE));
    advance(LEASE - Duration::from_millis(1)).await;
    let Ok(Begun::Running(running, _)) = begin(&memory, 1, 1) else {
        panic!("it runs");
    };
    running.ended().await;
    let (claim, _) = again(&memory, 1, 1);
    assert!(!memory.renew(dead, LEASE));
    assert!(!memory.dispatch(dead, &[0], LEASE));
    assert!(memory.dispatch(claim, &[0], LEASE));
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_run_dispatched_is_never_given_away_unasked() {
    let memory = memory();
    let dead = first(&memory, 1, 1);
    assert!(memory.dispatch(dead, &[0], LEASE));
    advance(LEASE - Duration::from_millis(1)).await;
    assert!(matches!(begin(&memory, 1, 1), Ok(Begun::Running(..))));
    advance(Duration::from_millis(1)).await;
    assert_eq!(settled(&memory, 1, 1), [State::Unknown]);

    // Asked for, it is; and stays in doubt unless it is accepted this time.
    let resend = Begin {
        resend_maybe_sent: true,
        ..begin_of(key(1), 1, &MESSAGE)
    };
    let Ok(Begun::Again(claim, record)) = memory.begin(&resend) else {
        panic!("it is asked for");
    };
    assert_eq!(record.recipients, [State::Claimed { doubt: true }]);
    memory.settle(claim, &[0], Settlement::none(Unsent::NotSent));
    assert_eq!(settled(&memory, 1, 1), [State::Unknown]);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_ends_the_doubt() {
    let memory = memory();
    let late = first(&memory, 1, 1);
    assert!(memory.dispatch(late, &[0], LEASE));
    advance(LEASE).await;
    assert_eq!(settled(&memory, 1, 1), [State::Unknown]);
    memory.settle(late, &[0], ids(&[Some("1".into())]));
    assert_eq!(settled(&memory, 1, 1), [accepted("1")]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_sent_nothing_may_be_made_again() {
    let memory = memory();
    let claim = first(&memory, 1, 1);
    assert!(memory.dispatch(claim, &[0], LEASE));
    assert!(!memory.dispatch(claim, &[0], LEASE), "it is under way");
    assert!(memory.release(claim, &[0], false, LEASE));
    assert!(memory.dispatch(claim, &[0], LEASE));
}

#[tokio::test(start_paused = true)]
async fn files_are_remembered_even_where_nothing_was_sent() {
    let memory = memory();
    let claim = first(&memory, 1, 1);
    let violations = crate::invalid::Violations::default();
    let file = StoredFile {
        uuid: crate::id::FileId::check("u".into(), violations.root()).unwrap(),
        secret: None,
        size_bytes: 3,
        sha256: [3; 32],
    };
    memory.stored(claim, Section::File, file.clone());
    memory.abandon(claim);
    let (_, record) = again(&memory, 1, 1);
    assert_eq!(record.files.file, Some(file));
    assert_eq!(record.files.thumbnail, None);
}

#[tokio::test(start_paused = true)]
async fn a_record_lives_as_long_as_it_was_said_from_its_last_use() {
    let memory = memory();
    let ttl = Config::default().ttl();
    let claim = first(&memory, 1, 1);
    assert!(memory.dispatch(claim, &[0], LEASE));
    memory.settle(claim, &[0], ids(&[Some("1".into())]));
    advance(ttl - Duration::from_millis(1)).await;
    settled(&memory, 1, 1);
    advance(ttl - Duration::from_millis(1)).await;
    settled(&memory, 1, 1);
    advance(ttl).await;
    first(&memory, 1, 1);
    assert_eq!(memory.usage().records, 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_outlives_the_time_of_its_record() {
    let memory = Memory::new(&Config {
        ttl: Some(Duration::from_secs(1)),
        ..Config::default()
    });
    let claim = first(&memory, 1, 1);
    assert!(memory.dispatch(claim, &[0], LEASE));
    advance(Duration::from_secs(5)).await;
    assert!(matches!(begin(&memory, 1, 1), Ok(Begun::Running(..))));
}

/// M4.
#[tokio::test(start_paused = true)]
async fn a_full_store_refuses_and_forgets_nothing() {
    let memory = Memory::new(&Config {
        memory_bytes: 100_000,
        ..Config::default()
    });
    let mut held = 0;
    let refused = loop {
        match begin(&memory, held, 1) {
            Ok(Begun::New(claim)) => {
                assert!(memory.dispatch(claim, &[0], LEASE));
                memory.settle(claim, &[0], ids(&[Some("1".into())]));
            }
            Err(error) => break error,
            other => panic!("{other:?}"),
        }
        held += 1;
        advance(Duration::from_millis(10)).await;
    };
    assert!(held > 500, "{held}");
    assert!(memory.usage().bytes <= 100_000);
    let Error::Full { retry_after } = refused else {
        panic!("{refused}");
    };
    assert!(retry_after <= Config::default().ttl());
    for number in 0..held {
        assert_eq!(settled(&memory, number, 1), [accepted("1")]);
    }
}

/// What `docs/delivery.md` and the setting tell of the room that records take.
#[tokio::test(start_paused = true)]
async fn records_take_as_much_room_as_documented() {
    let memory = memory();
    let id = || Some("1029457500870543736".to_owned());
    let mut before = 0;
    for (number, recipients) in [(0, 1), (1, 10), (2, 100), (3, 600)] {
        let claim = first(&memory, number, recipients);
        let part: Vec<u32> = (0..).take(recipients).collect();
        assert!(memory.dispatch(claim, &part, LEASE));
        memory.settle(claim, &part, ids(&vec![id(); recipients]));
        let bytes = memory.usage().bytes - before;
        before += bytes;
        let documented = match recipients {
            1 => 133,
            more => 245 + 45 * more / 4,
        };
        assert_eq!(bytes, documented, "{recipients} recipients");
    }
}

#[tokio::test(start_paused = true)]
async fn room_comes_back_when_it_was_said() {
    let one = bytes(&Entry::new(Fingerprint::of([1; 16]), 1, 0, 0));
    let memory = Memory::new(&Config {
        memory_bytes: 2 * one,
        ..Config::default()
    });
    for number in [1, 2] {
        let claim = first(&memory, number, 1);
        assert!(memory.dispatch(claim, &[0], LEASE));
        memory.settle(claim, &[0], ids(&[Some("1".into())]));
        advance(Duration::from_secs(60)).await;
    }
    // Settled records are a little smaller than those of runs: what is left is less than one.
    let Err(Error::Full { retry_after }) = begin(&memory, 3, 1) else {
        panic!("it is full");
    };
    assert_eq!(
        retry_after,
        Config::default().ttl() - Duration::from_secs(120)
    );
    advance(retry_after - Duration::from_millis(1)).await;
    assert!(begin(&memory, 3, 1).is_err());
    advance(Duration::from_millis(1)).await;
    first(&memory, 3, 1);
}

#[derive(Debug, Clone)]
enum Step {
    Begin {
        key: u8,
        resend: bool,
    },
    Renew {
        run: usize,
    },
    Dispatch {
        run: usize,
        part: Vec<u32>,
    },
    Release {
        run: usize,
        part: Vec<u32>,
        doubt: bool,
    },
    Settle {
        run: usize,
        part: Vec<u32>,
        with: u8,
    },
    Abandon {
        run: usize,
    },
    Pass {
        seconds: u8,
    },
}

/// Recipients of each request.
const RECIPIENTS: u32 = 4;

fn step() -> impl Strategy<Value = Step> {
    let run = 0..6usize;
    let part = proptest::collection::btree_set(0..RECIPIENTS, 1..=RECIPIENTS as usize)
        .prop_map(|part| part.into_iter().collect::<Vec<_>>());
    prop_oneof![
        4 => (0..2u8, any::<bool>()).prop_map(|(key, resend)| Step::Begin { key, resend }),
        1 => run.clone().prop_map(|run| Step::Renew { run }),
        4 => (run.clone(), part.clone()).prop_map(|(run, part)| Step::Dispatch { run, part }),
        2 => (run.clone(), part.clone(), any::<bool>()).prop_map(|(run, part, doubt)| Step::Release { run, part, doubt }),
        4 => (run.clone(), part, 0..4u8).prop_map(|(run, part, with)| Step::Settle { run, part, with }),
        1 => run.prop_map(|run| Step::Abandon { run }),
        3 => (1..9u8).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

/// What an onlooker knows of one recipient of one request, from what runs were allowed to do.
#[derive(Debug, Clone, Default)]
struct Fate {
    /// Who holds it, and until when it must not be given to another.
    held: Option<(usize, u64)>,
    /// The run whose attempt is under way.
    under_way: Option<usize>,
    /// An attempt was made, and is not proven to have sent nothing.
    sent: bool,
    /// The run that goes on though its earlier attempt may have sent.
    resends: Option<usize>,
    accepted: bool,
}

/// A run, as it knows itself.
#[derive(Debug)]
struct Held {
    key: u8,
    claim: Claim,
    resend: bool,
    /// The end of the longest lease that it ever had.
    lives_until: u64,
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nobody_is_held_by_two_and_nothing_sent_is_given_away_unasked(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(watch(steps))?;
    }
}

async fn watch(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let memory = memory();
    let mut now = 0;
    let mut runs: Vec<Held> = Vec::new();
    let mut fates = vec![vec![Fate::default(); RECIPIENTS as usize]; 2];
    let lease = LEASE.as_secs();
    for step in steps {
        match step {
            Step::Begin {
                key: number,
                resend,
            } => {
                let begin = Begin {
                    resend_maybe_sent: resend,
                    ..begin_of(key(number.into()), RECIPIENTS as usize, &MESSAGE)
                };
                let fates = &mut fates[usize::from(number)];
                let begun = memory.begin(&begin).unwrap();
                if !matches!(begun, Begun::Running(..)) {
                    // Whoever ran before is dead: what it had under way is in doubt from now on.
                    for fate in fates.iter_mut() {
                        fate.sent |= fate.under_way.is_some();
                    }
                }
                let (claim, states) = match begun {
                    Begun::New(claim) => (
                        claim,
                        vec![State::Claimed { doubt: false }; RECIPIENTS as usize],
                    ),
                    Begun::Again(claim, record) => (claim, record.recipients),
                    Begun::Settled(record) => {
                        for (fate, state) in fates.iter().zip(record.recipients) {
                            let accepted = matches!(state, State::Accepted { .. });
                            prop_assert_eq!(fate.accepted, accepted);
                            prop_assert!(fate.sent);
                        }
                        continue;
                    }
                    Begun::Running(..) => {
                        let mut of_key = runs.iter().filter(|run| run.key == number);
                        let held = of_key.any(|run| run.lives_until > now);
                        prop_assert!(held, "nobody runs");
                        continue;
                    }
                    Begun::Reused => panic!("it is the same"),
                };
                for (fate, state) in fates.iter_mut().zip(states) {
                    match state {
                        State::Claimed { doubt } => {
                            let held = fate.held.filter(|(_, until)| *until > now);
                            prop_assert!(held.is_none(), "held by {held:?}");
                            prop_assert!(!fate.accepted);
                            prop_assert!(!fate.sent || resend, "given away unasked");
                            prop_assert_eq!(doubt, fate.sent);
                            fate.held = Some((runs.len(), now + lease));
                            fate.under_way = None;
                        }
                        State::Accepted { .. } => prop_assert!(fate.accepted),
                        State::Unknown => prop_assert!(fate.sent && !fate.accepted),
                        other => panic!("{other:?}"),
                    }
                }
                runs.push(Held {
                    key: number,
                    claim,
                    resend,
                    lives_until: now + lease,
                });
            }
            Step::Renew { run } => {
                let Some(held) = runs.get_mut(run) else {
                    continue;
                };
                let done = memory.renew(held.claim, LEASE);
                if done {
                    held.lives_until = now + lease;
                }
                for fate in &mut fates[usize::from(held.key)] {
                    if let Some((owner, until)) = &mut fate.held
                        && *owner == run
                        && done
                    {
                        *until = (*until).max(now + lease);
                    }
                }
            }
            Step::Dispatch { run, part } => {
                let Some(held) = runs.get_mut(run) else {
                    continue;
                };
                let done = memory.dispatch(held.claim, &part, LEASE);
                if done {
                    held.lives_until = now + lease;
                }
                for at in part {
                    let fate = &mut fates[usize::from(held.key)][at as usize];
                    if done {
                        let owner = fate.held.map(|(owner, _)| owner);
                        prop_assert_eq!(owner, Some(run), "not the owner");
                        prop_assert!(fate.held.is_some_and(|(_, until)| until > now));
                        prop_assert!(fate.under_way.is_none() && !fate.accepted);
                        let asked = held.resend || fate.resends == Some(run);
                        prop_assert!(!fate.sent || asked, "sent again unasked");
                        fate.held = Some((run, now + lease));
                        fate.under_way = Some(run);
                    }
                }
            }
            Step::Release { run, part, doubt } => {
                let Some(held) = runs.get_mut(run) else {
                    continue;
                };
                let done = memory.release(held.claim, &part, doubt, LEASE);
                if done {
                    held.lives_until = now + lease;
                }
                let fates = &mut fates[usize::from(held.key)];
                for fate in fates.iter_mut() {
                    if let Some((owner, until)) = &mut fate.held
                        && *owner == run
                        && done
                    {
                        *until = (*until).max(now + lease);
                    }
                }
                for at in part {
                    let fate = &mut fates[at as usize];
                    if done && fate.under_way == Some(run) {
                        fate.under_way = None;
                        fate.sent |= doubt;
                        // Whoever releases in doubt means to send again.
                        fate.resends = doubt.then_some(run).or(fate.resends);
                    }
                }
            }
            Step::Settle { run, part, with } => {
                let Some(held) = runs.get_mut(run) else {
                    continue;
                };
                // Only what this run has sent can have an answer.
                let fates = &mut fates[usize::from(held.key)];
                let part: Vec<u32> = part
                    .into_iter()
                    .filter(|at| fates[*at as usize].under_way == Some(run))
                    .collect();
                let message_ids = vec![Some("1".to_owned()); part.len()];
                let (settlement, is_accepted, is_sent) = match with {
                    0 | 1 => (ids(&message_ids), true, true),
                    2 => (Settlement::none(Unsent::MaybeSent), false, true),
                    _ => (Settlement::none(Unsent::NotSent), false, false),
                };
                memory.settle(held.claim, &part, settlement);
                for at in part {
                    let fate = &mut fates[at as usize];
                    fate.sent |= is_sent;
                    fate.accepted |= is_accepted;
                    fate.under_way = None;
                    fate.held = None;
                }
            }
            Step::Abandon { run } => {
                let Some(held) = runs.get_mut(run) else {
                    continue;
                };
                memory.abandon(held.claim);
                for fate in &mut fates[usize::from(held.key)] {
                    if fate.held.is_some_and(|(owner, _)| owner == run) && fate.under_way.is_none()
                    {
                        fate.held = None;
                    }
                }
            }
            Step::Pass { seconds } => {
                now += u64::from(seconds);
                advance(Duration::from_secs(seconds.into())).await;
            }
        }
    }
    Ok(())
}
