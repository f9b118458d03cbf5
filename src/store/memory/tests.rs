//! The rules, one by one, with time paused.

mod random;

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
    Key::shared("caller", "app", &id.flatten().unwrap())
}

fn begin_of(key: Key, recipients: usize, fingerprints: &[Fingerprint]) -> Begin<'_> {
    Begin {
        key,
        fingerprints,
        recipients,
        resend_maybe_sent: false,
        at_once: false,
        lease: LEASE,
        trace: None,
    }
}

fn begin(memory: &Memory, number: u32, recipients: usize) -> Result<Begun, Error> {
    memory.begin(&begin_of(key(number), recipients, &MESSAGE))
}

fn first(memory: &Memory, number: u32, recipients: usize) -> Claim {
    match begin(memory, number, recipients) {
        Ok(Begun::New(claim)) => claim,
        other => panic!("{other:?}"),
    }
}

fn again(memory: &Memory, number: u32, recipients: usize) -> (Claim, Record) {
    match begin(memory, number, recipients) {
        Ok(Begun::Again(claim, record)) => (claim, *record),
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
    assert!(memory.dispatch(claim, &[0, 1], Instant::now(), LEASE));
    memory.settle(claim, &[0, 1], ids(&[Some("10".into()), None]));
    memory.settle(claim, &[2, 3], Settlement::none(Unsent::NotSent));

    let (claim, record) = again(&memory, 1, 4);
    let claimed = State::Claimed { doubt: false };
    let expected = [accepted("10"), State::Unknown, claimed.clone(), claimed];
    assert_eq!(record.recipients, expected);
    assert!(memory.dispatch(claim, &[2, 3], Instant::now(), LEASE));
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
                bytes: 0,
                max_bytes: 64 << 20,
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
    assert!(memory.dispatch(claim, &[0], Instant::now(), LEASE));
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
    assert!(!memory.dispatch(dead, &[0], Instant::now(), LEASE));
    assert!(memory.dispatch(claim, &[0], Instant::now(), LEASE));
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_run_dispatched_is_never_given_away_unasked() {
    let memory = memory();
    let dead = first(&memory, 1, 1);
    assert!(memory.dispatch(dead, &[0], Instant::now(), LEASE));
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
async fn what_is_begun_at_once_is_dispatched_until_it_is_settled() {
    let memory = memory();
    let begin_at_once = |number| {
        let begin = Begin {
            at_once: true,
            ..begin_of(key(number), 1, &MESSAGE)
        };
        match memory.begin(&begin) {
            Ok(Begun::New(claim)) => claim,
            other => panic!("{other:?}"),
        }
    };
    let dispatched = |number, doubt| match begin(&memory, number, 1) {
        Ok(Begun::Running(_, record)) => {
            assert_eq!(record.recipients, [State::Dispatched { doubt }]);
        }
        other => panic!("{other:?}"),
    };

    let claim = begin_at_once(1);
    dispatched(1, false);
    assert!(memory.dispatch(claim, &[0], Instant::now(), LEASE));
    assert!(memory.release(claim, &[0], true, LEASE));
    dispatched(1, true);
    memory.settle(claim, &[0], Settlement::none(Unsent::NotSent));
    assert_eq!(settled(&memory, 1, 1), [State::Unknown]);

    // Given up before any part had it.
    memory.abandon(begin_at_once(2));
    assert_eq!(memory.usage().records, 1);
    first(&memory, 2, 1);

    // Its run died.
    let dead = begin_at_once(3);
    advance(LEASE).await;
    assert_eq!(settled(&memory, 3, 1), [State::Unknown]);
    memory.settle(dead, &[0], ids(&[Some("1".into())]));
    assert_eq!(settled(&memory, 3, 1), [accepted("1")]);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_ends_the_doubt() {
    let memory = memory();
    let late = first(&memory, 1, 1);
    assert!(memory.dispatch(late, &[0], Instant::now(), LEASE));
    advance(LEASE).await;
    assert_eq!(settled(&memory, 1, 1), [State::Unknown]);
    memory.settle(late, &[0], ids(&[Some("1".into())]));
    assert_eq!(settled(&memory, 1, 1), [accepted("1")]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_sent_nothing_may_be_made_again() {
    let memory = memory();
    let claim = first(&memory, 1, 1);
    assert!(memory.dispatch(claim, &[0], Instant::now(), LEASE));
    assert!(
        !memory.dispatch(claim, &[0], Instant::now(), LEASE),
        "it is under way"
    );
    assert!(memory.release(claim, &[0], false, LEASE));
    assert!(memory.dispatch(claim, &[0], Instant::now(), LEASE));
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
    assert!(memory.dispatch(claim, &[0], Instant::now(), LEASE));
    memory.settle(claim, &[0], ids(&[Some("1".into())]));
    advance(ttl - Duration::from_millis(1)).await;
    settled(&memory, 1, 1);
    advance(ttl - Duration::from_millis(1)).await;
    settled(&memory, 1, 1);
    // By a second at most it is remembered longer.
    advance(ttl + Duration::from_secs(1)).await;
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
    assert!(memory.dispatch(claim, &[0], Instant::now(), LEASE));
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
                assert!(memory.dispatch(claim, &[0], Instant::now(), LEASE));
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
        assert!(memory.dispatch(claim, &part, Instant::now(), LEASE));
        memory.settle(claim, &part, ids(&vec![id(); recipients]));
        let bytes = memory.usage().bytes - before;
        before += bytes;
        let documented = match recipients {
            1 => 116,
            more => 228 + 45 * more / 4,
        };
        assert_eq!(bytes, documented, "{recipients} recipients");
    }
}

#[tokio::test(start_paused = true)]
async fn room_comes_back_when_it_was_said() {
    let begin_one = begin_of(key(1), 1, &MESSAGE);
    let one = bytes(&Entry::new(MESSAGE[0], &begin_one, 0, 0));
    let memory = Memory::new(&Config {
        memory_bytes: 2 * one,
        ..Config::default()
    });
    for number in [1, 2] {
        let claim = first(&memory, number, 1);
        assert!(memory.dispatch(claim, &[0], Instant::now(), LEASE));
        memory.settle(claim, &[0], ids(&[Some("1".into())]));
        advance(Duration::from_secs(60)).await;
    }
    let Err(Error::Full { retry_after }) = begin(&memory, 3, 1) else {
        panic!("it is full");
    };
    assert_eq!(
        retry_after,
        Config::default().ttl() + Duration::from_secs(1) - Duration::from_secs(120)
    );
    advance(retry_after - Duration::from_millis(1)).await;
    assert!(begin(&memory, 3, 1).is_err());
    advance(Duration::from_millis(1)).await;
    first(&memory, 3, 1);
}
