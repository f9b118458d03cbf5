//! A list bounded in number and in bytes; what is oldest goes first.

use std::collections::VecDeque;

pub(super) struct Ring<T> {
    items: VecDeque<(usize, T)>,
    bytes: usize,
    most_items: usize,
    most_bytes: usize,
    /// Items ever pushed: the position of the next one.
    pushed: u64,
}

impl<T> Ring<T> {
    pub(super) fn new(most_items: usize, most_bytes: usize) -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
            most_items,
            most_bytes,
            pushed: 0,
        }
    }

    pub(super) fn push(&mut self, bytes: usize, item: T) {
        self.items.push_back((bytes, item));
        self.bytes += bytes;
        self.pushed += 1;
        while self.items.len() > self.most_items || self.bytes > self.most_bytes {
            match self.items.pop_front() {
                Some((bytes, _)) => self.bytes -= bytes,
                None => break,
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// What is kept, oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.items.iter().map(|(_, item)| item)
    }

    /// What is kept of what was pushed at `position` or later.
    pub(super) fn since(&self, position: u64) -> impl Iterator<Item = &T> {
        let new = usize::try_from(self.pushed.saturating_sub(position)).unwrap_or(usize::MAX);
        let old = self.items.len().saturating_sub(new);
        self.items.range(old..).map(|(_, item)| item)
    }

    /// Forgets all items; positions go on.
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(ring: &Ring<u32>) -> Vec<u32> {
        ring.iter().copied().collect()
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let mut ring = Ring::new(3, 1000);
        for item in 0..5 {
            ring.push(1, item);
        }
        assert_eq!(kept(&ring), [2, 3, 4]);
        assert_eq!(ring.pushed(), 5);
    }

    #[test]
    fn the_oldest_go_when_they_are_too_large() {
        let mut ring = Ring::new(100, 10);
        ring.push(4, 1);
        ring.push(4, 2);
        ring.push(9, 3);
        assert_eq!(kept(&ring), [3]);
        ring.push(11, 4);
        assert_eq!(kept(&ring), [0; 0], "larger than the ring itself");
    }

    #[test]
    fn a_position_outlives_what_was_dropped_and_cleared() {
        let mut ring = Ring::new(2, 1000);
        ring.push(1, 1);
        ring.push(1, 2);
        ring.push(1, 3);
        assert_eq!(ring.since(0).copied().collect::<Vec<_>>(), [2, 3]);
        assert_eq!(ring.since(2).copied().collect::<Vec<_>>(), [3]);
        assert_eq!(ring.since(3).count(), 0);
        ring.clear();
        ring.push(1, 4);
        assert_eq!(ring.since(3).copied().collect::<Vec<_>>(), [4]);
    }
}
