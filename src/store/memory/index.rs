//! Where records stand, by the hashes of their keys: words in the order of the hashes, with gaps between them. A search
//! reads on from one place of memory, and what it does not find is written there: with many records it is the first look
//! at a place that costs, and there is one.

use branches::prefetch_read_data;

use super::table::Place;

/// Nothing is here: the last word of all, which is none, since nothing has the last place.
const GAP: u64 = u64::MAX;
/// Words beyond the last home, for what is pushed along.
const TAIL: usize = 64;
/// Homes that are made at first.
const LEAST: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Each a hash in the upper half, and a place in the lower. It stands at its home or after it, and there is no gap
    /// before it since.
    words: Vec<u64>,
    /// As many as hashes are spread over.
    homes: usize,
    len: usize,
}

impl Index {
    /// Bytes of a record, at worst: homes double when four fifths are taken.
    pub(super) const OVERHEAD: usize = size_of::<u64>() * 2 * 5 / 4;

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Brings nearer what `find` and `insert` look at first.
    pub(super) fn expect(&self, hash: u32) {
        if let Some(home) = self.words.get(self.home(word(hash, 0))) {
            prefetch_read_data::<_, 0>(home);
        }
    }

    /// The place of this hash that is the one.
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(Place) -> bool) -> Option<Place> {
        let from = self.first_from(word(hash, 0));
        let words = self.words[from..].iter();
        let with_hash = words.take_while(|word| **word != GAP && hash_of(**word) == hash);
        with_hash
            .map(|word| place_of(*word))
            .find(|place| is_it(*place))
    }

    /// Adds a place.
    pub(super) fn insert(&mut self, hash: u32, place: Place) {
        if self.len >= self.homes / 5 * 4 {
            self.grow();
        }
        let mut carried = word(hash, place);
        let from = self.first_from(carried);
        self.len += 1;
        for word in &mut self.words[from..] {
            carried = std::mem::replace(word, carried);
            if carried == GAP {
                return;
            }
        }
        // More than the tail has room for.
        self.words.reserve_exact(TAIL);
        self.words.push(carried);
    }

    /// Takes a place away.
    pub(super) fn remove(&mut self, hash: u32, place: Place) {
        let word = word(hash, place);
        let mut at = self.first_from(word);
        if self.words.get(at) != Some(&word) {
            return;
        }
        // What is not at home moves up.
        while let Some(next) = self.words.get(at + 1).copied()
            && next != GAP
            && self.home(next) <= at
        {
            self.words[at] = next;
            at += 1;
        }
        self.words[at] = GAP;
        self.len -= 1;
    }

    /// Where the first word stands, or would stand, that is not before this one.
    fn first_from(&self, word: u64) -> usize {
        let home = self.home(word).min(self.words.len());
        let before = self.words[home..].iter().take_while(|other| **other < word);
        home + before.count()
    }

    fn grow(&mut self) {
        self.homes = (2 * self.homes).max(LEAST);
        let words = std::mem::replace(&mut self.words, vec![GAP; self.homes + TAIL]);
        let mut free = 0;
        for word in words.into_iter().filter(|word| *word != GAP) {
            let at = self.home(word).max(free);
            if at >= self.words.len() {
                self.words.resize(at + TAIL, GAP);
            }
            self.words[at] = word;
            free = at + 1;
        }
    }

    /// Homes are in the order of the hashes.
    fn home(&self, word: u64) -> usize {
        ((u64::from(hash_of(word)) * self.homes as u64) >> 32) as usize
    }
}

fn word(hash: u32, place: Place) -> u64 {
    u64::from(hash) << 32 | u64::from(place)
}

fn hash_of(word: u64) -> u32 {
    (word >> 32) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half")]
fn place_of(word: u64) -> Place {
    word as Place
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Hashes that crowd at both ends and in the middle, and others.
    fn hash() -> impl Strategy<Value = u32> {
        prop_oneof![
            0..4_u32,
            (0..4_u32).prop_map(|n| u32::MAX - n),
            (0..4_u32).prop_map(|n| (1 << 31) + n),
            any::<u32>(),
        ]
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u32),
        /// Of those that are there, the one at this share of the list.
        Remove(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => hash().prop_map(Step::Insert),
            1 => any::<usize>().prop_map(Step::Remove),
        ]
    }

    /// Words in their order, each at home or pushed along from there without a gap.
    fn check(index: &Index, words: &BTreeSet<u64>) -> Result<(), TestCaseError> {
        let stand = (0..).zip(&index.words).filter(|(_, word)| **word != GAP);
        let stand: Vec<(usize, u64)> = stand.map(|(at, word)| (at, *word)).collect();
        prop_assert!(stand.iter().map(|(_, word)| word).eq(words));
        for (at, word) in stand {
            let pushed = &index.words[index.home(word)..at];
            prop_assert!(!pushed.contains(&GAP), "a gap before {at}");
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_does_what_a_sorted_list_does(steps in prop::collection::vec(step(), 1..600)) {
            let mut index = Index::default();
            let mut words = BTreeSet::new();
            for (place, step) in (0..).zip(steps) {
                match step {
                    Step::Insert(hash) => {
                        index.insert(hash, place);
                        words.insert(word(hash, place));
                    }
                    Step::Remove(share) => {
                        let at = share % words.len().max(1);
                        if let Some(one) = words.iter().nth(at).copied() {
                            index.remove(hash_of(one), place_of(one));
                            words.remove(&one);
                            prop_assert_eq!(index.find(hash_of(one), |at| at == place_of(one)), None);
                        }
                        // One that is not there.
                        index.remove(7, place);
                    }
                }
                prop_assert_eq!(index.len(), words.len());
            }
            check(&index, &words)?;
            for one in words {
                prop_assert_eq!(index.find(hash_of(one), |at| at == place_of(one)), Some(place_of(one)));
            }
            prop_assert_eq!(Index::default().find(1, |_| true), None);
        }
    }

    #[test]
    fn one_hash_for_all_fits_beyond_the_tail() {
        let mut index = Index::default();
        for place in 0..1_000 {
            index.insert(u32::MAX, place);
        }
        for place in (0..1_000).rev() {
            assert_eq!(index.find(u32::MAX, |at| at == place), Some(place));
            index.remove(u32::MAX, place);
        }
        assert_eq!(index.len(), 0);
        assert!(index.words.iter().all(|word| *word == GAP));
    }
}
