//! The parts of one message, so many at once, until the answer is due. Each is a task of its own; an only one, as most
//! messages have, is part of its caller's, until it outlives that.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use tokio::{
    runtime::Handle,
    task::{AbortHandle, Id, JoinError, JoinSet},
    time::timeout_at,
};
use tokio_util::task::{TaskTracker, task_tracker::TrackedFuture};

use super::{Deadline, Failure, Outcome, deadline::in_time, tally::Settled};
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
    if count == 1
        && let Some(start) = parts.next()
    {
        return vec![run_only(Only::new(start, tasks), deadline).await];
    }
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
                outcomes[part.index] = Some(Err(verdict(&part.first_byte)));
            }
        }
    }
    let not_begun = |outcome: Option<_>| outcome.unwrap_or(Err(Failure::DeadlineExceeded));
    outcomes.into_iter().map(not_begun).collect()
}

/// The same for an only part.
async fn run_only<P>(mut only: Only<P>, deadline: Deadline) -> Outcome
where
    P: Future<Output = Settled> + Send + 'static,
{
    if deadline.has_passed() {
        return Err(Failure::DeadlineExceeded);
    }
    let outcome = in_time(
        deadline.answer_by(),
        pin!(poll_fn(|cx| only.poll_outcome(cx))),
    )
    .await;
    outcome.unwrap_or_else(|_elapsed| Err(verdict(&only.first_byte)))
}

/// An only part that has not ended while it is here. Dropped, it goes on as a task of its own if it is
/// dispatched, and else ends.
struct Only<P: Future<Output = Settled> + Send + 'static> {
    first_byte: FirstByte,
    part: Option<Pin<Box<TrackedFuture<P>>>>,
}

impl<P: Future<Output = Settled> + Send + 'static> Only<P> {
    fn new(start: Start<P>, tasks: &TaskTracker) -> Self {
        Self {
            first_byte: start.first_byte,
            part: Some(Box::pin(tasks.track_future(start.part))),
        }
    }

    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let Some(part) = &mut self.part else {
                return Poll::Pending;
            };
            let settled = ready!(part.as_mut().poll(cx));
            self.part = None;
            Poll::Ready(settled.take())
        }));
        polled.unwrap_or_else(|_panic| {
            self.part = None;
            Poll::Ready(Err(panicked(&self.first_byte)))
        })
    }
}

impl<P: Future<Output = Settled> + Send + 'static> Drop for Only<P> {
    fn drop(&mut self) {
        if let Some(part) = self.part.take()
            && !self.first_byte.forbid()
            // Without a runtime, the process is ending.
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(part);
        }
    }
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
            Err(_panicked) => Err(panicked(&part.first_byte)),
        });
        true
    }

    fn take(&mut self, id: Id) -> Option<Part> {
        let at = self.parts.iter().position(|part| part.task.id() == id)?;
        Some(self.parts.swap_remove(at))
    }
}

/// What is known of a part when no time is left. What is not dispatched by now never will be.
fn verdict(first_byte: &FirstByte) -> Failure {
    match first_byte.forbid() {
        true => Failure::DeadlineExceeded,
        false => Failure::in_doubt("the deadline passed while Easemob had not answered"),
    }
}

/// What is known of a part that ended by a fault of ours.
fn panicked(first_byte: &FirstByte) -> Failure {
    match first_byte.crossed() {
        true => Failure::in_doubt("a fault of the gateway after the request went out"),
        false => Failure::Internal,
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

    /// Of an only part, and of one beside another.
    async fn run_and_panic(first_byte: impl Fn() -> FirstByte) -> [Failure; 2] {
        let mut failures = [1, 2].map(|_| None);
        for (count, failure) in [1, 2].into_iter().zip(&mut failures) {
            let tasks = TaskTracker::new();
            let parts = (0..count).map(|_| Start {
                first_byte: first_byte(),
                part: async { panic!("as scripted") },
            });
            let mut outcomes = run(parts, 2, deadline(1), &tasks).await;
            assert!(tasks.is_empty());
            assert_eq!(outcomes.len(), count);
            *failure = outcomes.remove(0).err();
        }
        failures.map(Option::unwrap)
    }

    #[tokio::test]
    async fn a_panic_before_the_first_byte_is_a_fault_of_ours_and_sent_nothing() {
        for failure in run_and_panic(FirstByte::default).await {
            assert!(matches!(failure, Failure::Internal));
            assert!(!failure.may_have_been_sent());
        }
    }

    #[tokio::test]
    async fn a_panic_after_the_first_byte_leaves_the_outcome_in_doubt() {
        for failure in run_and_panic(FirstByte::of_a_request_under_way).await {
            assert!(failure.may_have_been_sent());
        }
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

    #[tokio::test(start_paused = true)]
    async fn an_only_part_that_is_dispatched_outlives_its_deadline_and_its_caller() {
        for leaves in [false, true] {
            for dispatched in [false, true] {
                let tasks = TaskTracker::new();
                let ended = Arc::new(AtomicUsize::new(0));
                let noted = Arc::clone(&ended);
                let start = Start {
                    first_byte: match dispatched {
                        true => FirstByte::of_a_request_under_way(),
                        false => FirstByte::default(),
                    },
                    part: async move {
                        sleep(Duration::from_secs(20)).await;
                        noted.fetch_add(1, Ordering::SeqCst);
                        accepted()
                    },
                };
                let running = run([start].into_iter(), 8, deadline(10), &tasks);
                let patience = Duration::from_secs(if leaves { 1 } else { 30 });
                match tokio::time::timeout(patience, running).await {
                    Ok(mut outcomes) => {
                        let failure = outcomes.remove(0).unwrap_err();
                        assert_eq!(failure.may_have_been_sent(), dispatched);
                    }
                    Err(_left) => assert!(leaves),
                }
                assert_eq!(tasks.len(), usize::from(dispatched));
                tasks.close();
                tasks.wait().await;
                assert_eq!(ended.load(Ordering::SeqCst), usize::from(dispatched));
            }
        }
    }
}
