//! How much of a limit is used, exactly, whatever the delays on the way.
//!
//! Easemob counts a call when it arrives, which is some time between its turn and its end. So a charge stays
//! from the turn until a whole window after the end: two calls that fall into one window of Easemob's
//! clock are then always charged at one time here, and what is charged at one time never exceeds the
//! limit. A window that slides over the turns alone lets delayed calls bunch up beyond it.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// Parts of a window in which ends are told apart. A charge leaves at the end of its part, so this is
/// what exactness costs: a thousandth of the limit.
const PARTS: u32 = 1_000;

/// The use of one limit.
#[derive(Debug)]
pub(super) struct Window {
    limit: u64,
    length: Duration,
    part: Duration,
    origin: Instant,
    /// Charges of calls that have their turn and have not ended.
    under_way: u64,
    /// Charges of calls that ended, by the part in which they leave, the earliest first.
    ended: VecDeque<(u64, u64)>,
    ended_sum: u64,
    /// How long calls take, smoothed: for the time at which what is under way will leave.
    call_time: Duration,
}

impl Window {
    pub(super) fn new(limit: u32, length: Duration) -> Self {
        Self {
            limit: limit.into(),
            length,
            part: length / PARTS,
            origin: Instant::now(),
            under_way: 0,
            ended: VecDeque::new(),
            ended_sum: 0,
            call_time: Duration::ZERO,
        }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// How much is charged at this time.
    pub(super) fn used(&mut self, now: Instant) -> u64 {
        let part = self.part_of(now);
        while let Some(&(leaves, amount)) = self.ended.front() {
            if leaves > part {
                break;
            }
            self.ended.pop_front();
            self.ended_sum -= amount;
        }
        self.under_way + self.ended_sum
    }

    /// Whether this much more may go at this time.
    pub(super) fn fits(&mut self, amount: u64, now: Instant) -> bool {
        self.used(now) + amount <= self.limit
    }

    /// Charges a call that has its turn.
    pub(super) fn charge(&mut self, amount: u64) {
        self.under_way += amount;
    }

    /// The call ended, whether Easemob counted it or not: the charge stays for a window.
    pub(super) fn end(&mut self, amount: u64, began: Instant, now: Instant) {
        self.under_way -= amount;
        // An eighth of the newest: a slow call counts, and is forgotten again.
        self.call_time = (self.call_time * 7 + now.duration_since(began)) / 8;
        // In the part after the last that the window touches.
        let leaves = self.part_of(now + self.length) + 1;
        match self.ended.back_mut() {
            Some((last, sum)) if *last == leaves => *sum += amount,
            _ => self.ended.push_back((leaves, amount)),
        }
        self.ended_sum += amount;
    }

    /// The call ended: charged for a window more where it may have been counted since it began.
    pub(super) fn settle(&mut self, amount: u64, counted_since: Option<Instant>, now: Instant) {
        match counted_since {
            Some(began) => self.end(amount, began, now),
            None => self.give_back(amount),
        }
    }

    /// The same for calls that may have begun before this was counted.
    pub(super) fn end_at_most(&mut self, amount: u64, now: Instant) {
        self.end(amount.min(self.under_way), now, now);
    }

    /// The call is proven not to have reached Easemob's count.
    pub(super) fn give_back(&mut self, amount: u64) {
        self.under_way -= amount;
    }

    /// When this much will fit, if nothing else goes meanwhile; more than the limit counts as further
    /// rounds through it. What is under way is expected to end in the usual time.
    pub(super) fn when_fits(&mut self, amount: u64, now: Instant) -> Instant {
        if self.fits(amount, now) || self.limit == 0 {
            return now;
        }
        let round = self.length + self.part + self.call_time;
        let rounds = u32::try_from((amount - 1) / self.limit).unwrap_or(u32::MAX);
        let mut lacking = (amount - 1) % self.limit + 1;
        lacking = lacking.saturating_sub(self.limit.saturating_sub(self.used(now)));
        let within_round = if lacking == 0 {
            now
        } else {
            self.ended
                .iter()
                .find_map(|&(leaves, amount)| {
                    lacking = lacking.saturating_sub(amount);
                    (lacking == 0).then(|| self.begin_of(leaves))
                })
                .unwrap_or(now + round)
        };
        within_round + round.saturating_mul(rounds)
    }

    fn part_of(&self, at: Instant) -> u64 {
        nanos(at.duration_since(self.origin)) / nanos(self.part).max(1)
    }

    fn begin_of(&self, part: u64) -> Instant {
        self.origin + Duration::from_nanos(nanos(self.part).saturating_mul(part))
    }
}

/// In 64 bits, which last for 584 years: dividing 128 costs more than all else here.
fn nanos(time: Duration) -> u64 {
    time.as_secs() * 1_000_000_000 + u64::from(time.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_charge_stays_for_a_window_after_the_end() {
        let mut window = Window::new(10, MINUTE);
        let began = Instant::now();
        window.charge(10);
        let ended = began + Duration::from_secs(5);
        window.end(10, began, ended);
        assert!(!window.fits(1, ended + MINUTE));
        assert!(window.fits(10, ended + MINUTE + MINUTE / PARTS * 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_charge_that_is_under_way_stays_however_long() {
        let mut window = Window::new(10, MINUTE);
        window.charge(10);
        assert!(!window.fits(1, Instant::now() + MINUTE * 100));
        window.give_back(10);
        assert!(window.fits(10, Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_that_is_told_is_the_time_when_it_fits() {
        let mut window = Window::new(100, MINUTE);
        let start = Instant::now();
        for second in 0..10 {
            let now = start + Duration::from_secs(second);
            window.charge(10);
            window.end(10, now, now);
        }
        let now = start + Duration::from_secs(10);
        for amount in [1, 10, 11, 55, 100] {
            let when = window.when_fits(amount, now);
            assert!(!window.fits(amount, now));
            // A look does not change the window: charges leave only as time passes.
            let mut later = Window {
                ended: window.ended.clone(),
                ..Window::new(100, MINUTE)
            };
            later.origin = window.origin;
            later.ended_sum = window.ended_sum;
            assert!(!later.fits(amount, when - MINUTE / PARTS), "{amount}");
            assert!(later.fits(amount, when), "{amount}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_the_limit_takes_further_windows() {
        let mut window = Window::new(100, MINUTE);
        let now = Instant::now();
        let when = window.when_fits(250, now);
        assert!(when >= now + 2 * MINUTE && when < now + 2 * MINUTE + Duration::from_secs(1));
    }

    /// Arrivals anywhere between turn and end, in any order: no window of the clock has more than the
    /// limit.
    #[test]
    fn no_window_of_easemobs_clock_has_more_than_the_limit() {
        use proptest::prelude::*;
        let calls = prop::collection::vec((1u64..40, 0u64..9_000, 0.0..1.0f64, 0u64..700), 1..300);
        proptest!(|(calls in calls)| {
            let origin = Instant::now();
            let mut window = Window::new(100, Duration::from_secs(10));
            let mut now = origin;
            // (end, amount, begin), (arrival, amount)
            let (mut open, mut arrivals) = (Vec::<(Instant, u64, Instant)>::new(), Vec::new());
            for (amount, duration, arrives, pause) in calls {
                now += Duration::from_millis(pause);
                open.sort_by_key(|&(end, ..)| std::cmp::Reverse(end));
                while open.last().is_some_and(|&(end, ..)| end <= now) {
                    let (end, amount, began) = open.pop().unwrap();
                    window.end(amount, began, end);
                }
                if window.fits(amount, now) {
                    window.charge(amount);
                    let duration = Duration::from_millis(duration);
                    arrivals.push((now + duration.mul_f64(arrives), amount));
                    open.push((now + duration, amount, now));
                }
            }
            for &(from, _) in &arrivals {
                let within = |at: Instant| at >= from && at < from + Duration::from_secs(10);
                let sum: u64 = arrivals.iter().filter(|(at, _)| within(*at)).map(|(_, n)| n).sum();
                prop_assert!(sum <= 100, "{sum} in one window");
            }
        });
    }
}
