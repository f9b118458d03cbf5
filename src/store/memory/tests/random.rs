//! The rules, all at once, against random runs: an onlooker who knows only what runs were allowed to
//! do finds nobody held by two, and nothing sent again unasked.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::{Instant, advance};

use super::{LEASE, MESSAGE, begin_of, ids, key, memory};
use crate::store::{Begin, Begun, Claim, Settlement, State, Unsent};

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
                let done = memory.dispatch(held.claim, &part, Instant::now(), LEASE);
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
