//! What Redis said last of a quota, and what is left of it since.

use tokio::time::Instant;

use super::{Limit, USABLE};

/// Parts of a window in which Redis tells what leaves.
pub(super) const SLOTS: u32 = 16;

/// What Redis said last.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) at: Instant,
    pub(super) left: i64,
    pub(super) left_calls: i64,
    /// Replicas, this one among them, and the others that wait.
    pub(super) live: u64,
    pub(super) busy: u64,
    /// How much more may go at once, whatever was promised.
    pub(super) open: u64,
    /// What leaves in each sixteenth of the window from then on.
    pub(super) slots: Vec<u64>,
    /// Somebody here still waits.
    pub(super) short: bool,
}

/// What was left when Redis last said so, and what has left its windows since. What nothing is known of, or only
/// what is long over, is all free.
pub(super) fn left(view: &Option<View>, messages: Limit, calls: Limit, now: Instant) -> (u64, u64) {
    let Some(view) = view else {
        return (messages.amount, calls.amount);
    };
    let passed = now.duration_since(view.at);
    let positive = |left: i64| u64::try_from(left).unwrap_or(0);
    let of_calls = match passed > calls.length * 2 {
        true => calls.amount,
        false => positive(view.left_calls).min(calls.amount),
    };
    // What was on its way then has ended, and has left its window.
    if passed > messages.length + 3 * USABLE {
        return (messages.amount, of_calls);
    }
    let slot = messages.length / SLOTS;
    let gone = (1u32..)
        .zip(&view.slots)
        .filter(|(number, _)| slot * *number <= passed)
        .map(|(_, amount)| amount)
        .sum::<u64>();
    ((positive(view.left) + gone).min(messages.amount), of_calls)
}

pub(super) fn part(of: u64, millionths: u64) -> u64 {
    of.saturating_mul(millionths) / 1_000_000
}
