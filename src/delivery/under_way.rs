//! The parts of one message: each in a task of its own, so many at once, until the answer is due.

use tokio::{
    task::{AbortHandle, Id, JoinError, JoinSet},
    time::timeout_at,
};
use tokio_util::task::TaskTracker;

use super::{Deadline, Failure, Outcome, tally::Settled};
use crate::easemob::FirstByte;

/// A part that is to be sent: it notes at its first byte that Easemob may have it.
pub(super) struct Start<P> {
    pub(super) first_byte: FirstByte,
    pub(super) part: P,
}

/// Runs the parts, and tells of each what is known at the deadline.
///
/// A part outlives the caller and its deadline once it is dispatched; one that is not is ended with
/// them, and never dispatched. `tasks` is told of all.
pub(super) async fn run<P>(
    mut parts: impl ExactSizeIterator<Item = Start<P>>,
    at_once: usize,
    deadline: Deadline,
    tasks: &TaskTracker,
) -> Vec<Outcome>
where
    P: Future<Output = Settled> + Send + 'static,
{
    let count = parts.len();
    let mut outcomes: Vec<Option<Outcome>> = Vec::new();
    outcomes.resize_with(count, || None);
    let mut under_way = UnderWay::default();
    if !deadline.has_passed() {
        let all = async {
            for index in 0..count {
                if under_way.parts.len() >= at_once.max(1) {
                    under_way.note_next(&mut outcomes).await;
                }
                if let Some(start) = parts.next() {
                    under_way.begin(index, start, tasks);
                }
            }
            while under_way.note_next(&mut outcomes).await {}
        };
        if timeout_at(deadline.answer_by(), all).await.is_err() {
            for part in &under_way.parts {
                outcomes[part.index] = Some(Err(part.verdict()));
            }
        }
    }
    let not_begun = |outcome: Option<_>| outcome.unwrap_or(Err(Failure::DeadlineExceeded));
    outcomes.into_iter().map(not_begun).collect()
}

/// Parts that have begun and not ended. Dropped, it leaves those alone that are dispatched, and ends
/// the others.
#[derive(Default)]
struct UnderWay {
    tasks: JoinSet<Settled>,
    parts: Vec<Part>,
}

struct Part {
    index: usize,
    first_byte: FirstByte,
    task: AbortHandle,
}

impl UnderWay {
    fn begin<P>(&mut self, index: usize, start: Start<P>, tasks: &TaskTracker)
    where
        P: Future<Output = Settled> + Send + 'static,
    {
        self.parts.push(Part {
            index,
            first_byte: start.first_byte,
            task: self.tasks.spawn(tasks.track_future(start.part)),
        });
    }

    /// Notes the next part that ends, and how; `false` where none is under way.
    async fn note_next(&mut self, outcomes: &mut [Option<Outcome>]) -> bool {
        let Some(ended) = self.tasks.join_next_with_id().await else {
            return false;
        };
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(part) = self.take(id) else {
            return true;
        };
        outcomes[part.index] = Some(match ended {
            Ok((_, settled)) => settled.take(),
            Err(_panicked) if part.first_byte.crossed() => Err(Failure::in_doubt(
                "a fault of the gateway after the request went out",
            )),
            Err(_panicked) => Err(Failure::Internal),
        });
        true
    }

    fn take(&mut self, id: Id) -> Option<Part> {
        let at = self.parts.iter().position(|part| part.task.id() == id)?;
        Some(self.parts.swap_remove(at))
    }
}

impl Part {
    /// What is known of it when no time is left. What is not dispatched by now never will be.
    fn verdict(&self) -> Failure {
        match self.first_byte.forbid() {
            true => Failure::DeadlineExceeded,
            false => Failure::in_doubt("the deadline passed while Easemob had not answered"),
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        for part in &self.parts {
            if part.first_byte.forbid() {
                part.task.abort();
            }
        }
        self.tasks.detach_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use tokio::{
        runtime::Handle,
        sync::Semaphore,
        time::{Instant, sleep},
    };

    use super::*;
    use crate::{
        app::Quota,
        easemob::Accepted,
        quota::{Asker, Kind, Quotas},
    };

    fn accepted() -> Settled {
        let outcome: Outcome = Ok(Accepted {
            message_ids: Vec::new(),
            timestamp_ms: None,
        });
        outcome.into()
    }

    fn deadline(seconds: u64) -> Deadline {
        Deadline::after(Duration::from_secs(seconds))
    }

    async fn run_and_panic(first_byte: FirstByte) -> Failure {
        let tasks = TaskTracker::new();
        let part = async { panic!("as scripted") };
        let parts = [Start { first_byte, part }];
        let mut outcomes = run(parts.into_iter(), 1, deadline(1), &tasks).await;
        assert!(tasks.is_empty());
        outcomes.remove(0).unwrap_err()
    }

    #[tokio::test]
    async fn a_panic_before_the_first_byte_is_a_fault_of_ours_and_sent_nothing() {
        let failure = run_and_panic(FirstByte::default()).await;
        assert!(matches!(failure, Failure::Internal));
        assert!(!failure.may_have_been_sent());
    }

    #[tokio::test]
    async fn a_panic_after_the_first_byte_leaves_the_outcome_in_doubt() {
        let failure = run_and_panic(FirstByte::of_a_request_under_way()).await;
        assert!(failure.may_have_been_sent());
    }

    /// D5: what had its turn counts, whatever became of it; its place is free, and the rest of the quota is there for others.
    #[tokio::test(start_paused = true)]
    async fn a_panic_frees_its_place_and_leaves_the_quota_to_others() {
        let mut quota = Quota::default();
        quota.users.messages_per_minute = 2;
        let quotas = Arc::new(Quotas::new(&quota, 10, &Handle::current()));
        let places = Arc::new(Semaphore::new(1));
        let asker = Asker {
            name: "billing".into(),
            weight: 1,
        };
        let admit = async || {
            let until = Instant::now() + Duration::from_secs(1);
            quotas.admit(Kind::Users, &asker, &[1], until).await
        };
        let part = {
            let (admission, places) = (admit().await.unwrap(), Arc::clone(&places));
            async move {
                let _turn = admission.turn(1, Some(&places)).await;
                panic!("as scripted")
            }
        };
        let first_byte = FirstByte::default();
        let parts = [Start { first_byte, part }].into_iter();
        let mut outcomes = run(parts, 1, deadline(1), &TaskTracker::new()).await;
        let failure = outcomes.remove(0).unwrap_err();
        assert!(matches!(failure, Failure::Internal));
        assert_eq!(places.available_permits(), 1);
        let usage = quotas.usage(Kind::Users);
        assert_eq!((usage.used, usage.waiting), (1, 0));

        let next = admit().await.unwrap();
        drop(next.turn(1, Some(&places)).await);
        admit().await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_parts_at_once_and_every_outcome_in_its_place() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let parts = (0..100_u64).map(|i| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            let part = async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(Duration::from_millis(fastrand::u64(1..100))).await;
                now.fetch_sub(1, Ordering::SeqCst);
                let outcome: Outcome = Ok(Accepted {
                    message_ids: vec![Some(i.to_string())],
                    timestamp_ms: None,
                });
                Settled::from(outcome)
            };
            let first_byte = FirstByte::default();
            Start { first_byte, part }
        });
        let parts: Vec<_> = parts.collect();
        let outcomes = run(parts.into_iter(), 8, deadline(60), &TaskTracker::new()).await;
        for (i, outcome) in outcomes.into_iter().enumerate() {
            assert_eq!(outcome.unwrap().message_ids, [Some(i.to_string())]);
        }
        assert_eq!(most.load(Ordering::SeqCst), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_tells_of_each_part_what_is_known_of_it() {
        let begin = Instant::now();
        let tasks = TaskTracker::new();
        let ended = Arc::new(AtomicUsize::new(0));
        // Done, dispatched, waiting, and not begun.
        let parts = (0..4).map(|i| {
            let ended = Arc::clone(&ended);
            let part = async move {
                sleep(Duration::from_secs(if i == 0 { 1 } else { 20 })).await;
                ended.fetch_add(1, Ordering::SeqCst);
                accepted()
            };
            let first_byte = match i {
                1 => FirstByte::of_a_request_under_way(),
                _ => FirstByte::default(),
            };
            Start { first_byte, part }
        });
        let parts: Vec<_> = parts.collect();

        let outcomes = run(parts.into_iter(), 2, deadline(10), &tasks).await;

        assert_eq!(begin.elapsed(), Duration::from_millis(10_000 - 25));
        assert!(outcomes[0].is_ok());
        assert!(outcomes[1].as_ref().unwrap_err().may_have_been_sent());
        for outcome in &outcomes[2..] {
            let failure = outcome.as_ref().unwrap_err();
            assert!(matches!(failure, Failure::DeadlineExceeded), "{failure}");
        }
        // The one that is dispatched goes on, and is waited for.
        tasks.close();
        tasks.wait().await;
        assert_eq!(ended.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_leaves_ends_what_is_not_dispatched() {
        let tasks = TaskTracker::new();
        let parts = [FirstByte::of_a_request_under_way(), FirstByte::default()];
        let parts = parts.map(|first_byte| Start {
            first_byte,
            part: async {
                sleep(Duration::from_secs(5)).await;
                accepted()
            },
        });
        {
            let running = run(parts.into_iter(), 8, deadline(60), &tasks);
            let left = tokio::time::timeout(Duration::from_secs(1), running).await;
            left.unwrap_err();
        }
        sleep(Duration::from_millis(1)).await;
        assert_eq!(tasks.len(), 1);
        tasks.close();
        tasks.wait().await;
    }
}
