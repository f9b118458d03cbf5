//! Records by their keys, the longest unused first. They stand in slots that never move, and eight bytes of an index
//! lead to each: with a million of them it is visits to memory that cost, so there are few, and growing makes none.

use branches::prefetch_write_data;

use super::index::Index;
use crate::store::Key;

/// Where a record stands.
pub(super) type Place = u32;

/// No place.
const NONE: Place = Place::MAX;
/// Slots that are made at once.
const CHUNK: usize = 512;

/// See the module.
#[derive(Debug)]
pub(super) struct Table<T> {
    index: Index,
    chunks: Vec<Vec<Slot<T>>>,
    /// Slots that were left, to be filled first.
    left: Vec<Place>,
    oldest: Place,
    newest: Place,
}

#[derive(Debug)]
struct Slot<T> {
    key: Key,
    older: Place,
    newer: Place,
    /// None where it was left.
    value: Option<T>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            index: Index::default(),
            chunks: Vec::new(),
            left: Vec::new(),
            oldest: NONE,
            newest: NONE,
        }
    }
}

impl<T> Table<T> {
    /// Bytes of a record beside its value.
    pub(super) const OVERHEAD: usize = size_of::<Slot<T>>() - size_of::<T>() + Index::OVERHEAD;

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Brings nearer what `find` and `insert` look at first: with many records, each look at a place that nobody looked at lately costs
    /// as much as a fiftieth of a send.
    pub(super) fn expect(&self, key: &Key) {
        self.index.expect(hash(key));
        let Some((chunk, slot)) = chunk_and_slot(self.free()) else {
            return;
        };
        if let Some(chunk) = self.chunks.get(chunk) {
            let slot = chunk.as_ptr().wrapping_add(slot);
            prefetch_write_data::<_, 0>(slot);
            // It is longer than a line of the cache.
            prefetch_write_data::<_, 0>(slot.wrapping_byte_add(64));
        }
    }

    /// Where the record of a key is.
    pub(super) fn find(&self, key: &Key) -> Option<Place> {
        let is_it = |place| self.slot(place).is_some_and(|slot| slot.key == *key);
        self.index.find(hash(key), is_it)
    }

    /// The same, where it probably still is here.
    pub(super) fn find_at(&self, probably: Place, key: &Key) -> Option<Place> {
        let slot = self.slot(probably);
        match slot.is_some_and(|slot| slot.key == *key && slot.value.is_some()) {
            true => Some(probably),
            false => self.find(key),
        }
    }

    /// A record.
    pub(super) fn get(&mut self, place: Place) -> Option<&mut T> {
        self.slot_mut(place)?.value.as_mut()
    }

    /// The record that was not used for longest.
    pub(super) fn oldest(&mut self) -> Option<(Place, &mut T)> {
        let place = self.oldest;
        Some((place, self.get(place)?))
    }

    /// Adds the record of a key that has none; it is the newest. None where there is no place for it.
    pub(super) fn insert(&mut self, key: Key, value: T) -> Option<Place> {
        let slot = Slot {
            key,
            older: NONE,
            newer: NONE,
            value: Some(value),
        };
        let place = self.fill(slot)?;
        self.append(place);
        self.index.insert(hash(&key), place);
        Some(place)
    }

    /// Makes a record the newest.
    pub(super) fn renew(&mut self, place: Place) {
        if place != self.newest && self.slot(place).is_some() {
            self.unlink(place);
            self.append(place);
        }
    }

    /// Takes a record away.
    pub(super) fn remove(&mut self, place: Place) -> Option<T> {
        let slot = self.slot_mut(place)?;
        let (key, value) = (slot.key, slot.value.take()?);
        self.unlink(place);
        self.left.push(place);
        self.index.remove(hash(&key), place);
        // What a crowd took is given back when the last of it has gone.
        if self.len() == 0 && self.chunks.len() > 1 {
            *self = Self::default();
        }
        Some(value)
    }

    /// Where the next record goes.
    fn free(&self) -> Place {
        let after = |chunk: &Vec<_>| (self.chunks.len() - 1) * CHUNK + chunk.len();
        self.left
            .last()
            .copied()
            .unwrap_or_else(|| Place::try_from(self.chunks.last().map_or(0, after)).unwrap_or(NONE))
    }

    fn fill(&mut self, slot: Slot<T>) -> Option<Place> {
        let place = self.free();
        if self.left.pop().is_some() {
            *self.slot_mut(place)? = slot;
            return Some(place);
        }
        let (chunk, _) = chunk_and_slot(place)?;
        if chunk == self.chunks.len() {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        self.chunks[chunk].push(slot);
        Some(place)
    }

    fn append(&mut self, place: Place) {
        let newest = self.newest;
        if let Some(slot) = self.slot_mut(place) {
            (slot.older, slot.newer) = (newest, NONE);
        }
        *self.newer_of(newest) = place;
        self.newest = place;
    }

    fn unlink(&mut self, place: Place) {
        let Some(slot) = self.slot(place) else { return };
        let (older, newer) = (slot.older, slot.newer);
        *self.newer_of(older) = newer;
        *self.older_of(newer) = older;
    }

    /// What comes after this one; after none comes the oldest.
    fn newer_of(&mut self, place: Place) -> &mut Place {
        match chunk_and_slot(place) {
            Some((chunk, slot)) => &mut self.chunks[chunk][slot].newer,
            None => &mut self.oldest,
        }
    }

    /// What comes before this one; before none comes the newest.
    fn older_of(&mut self, place: Place) -> &mut Place {
        match chunk_and_slot(place) {
            Some((chunk, slot)) => &mut self.chunks[chunk][slot].older,
            None => &mut self.newest,
        }
    }

    fn slot(&self, place: Place) -> Option<&Slot<T>> {
        let (chunk, slot) = chunk_and_slot(place)?;
        self.chunks.get(chunk)?.get(slot)
    }

    fn slot_mut(&mut self, place: Place) -> Option<&mut Slot<T>> {
        let (chunk, slot) = chunk_and_slot(place)?;
        self.chunks.get_mut(chunk)?.get_mut(slot)
    }
}

fn chunk_and_slot(place: Place) -> Option<(usize, usize)> {
    let at = usize::try_from(place).ok()?;
    (place != NONE).then_some((at / CHUNK, at % CHUNK))
}

/// Part of a key is as good as a hash of it: keys are sums under a secret, so that whoever chooses request IDs does not choose
/// where they go.
fn hash(key: &Key) -> u32 {
    let [_, _, _, _, hash @ .., _, _, _, _, _, _, _, _] = *key.as_bytes();
    u32::from_ne_bytes(hash)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{id::RequestId, invalid::Violations};

    fn key(number: u16) -> Key {
        let violations = Violations::default();
        let id = RequestId::check(number.to_string(), violations.root());
        Key::shared("caller", "app", &id.flatten().unwrap())
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u16),
        Renew(u16),
        Remove(u16),
        RemoveOldest,
    }

    fn step() -> impl Strategy<Value = Step> {
        let number = 0..40_u16;
        prop_oneof![
            4 => number.clone().prop_map(Step::Insert),
            2 => number.clone().prop_map(Step::Renew),
            2 => number.prop_map(Step::Remove),
            1 => Just(Step::RemoveOldest),
        ]
    }

    proptest! {
        #[test]
        fn it_does_what_a_list_does(steps in prop::collection::vec(step(), 1..400)) {
            let mut table = Table::default();
            let mut list: Vec<u16> = Vec::new();
            for step in steps {
                let place = |table: &Table<u16>, number| table.find(&key(number));
                match step {
                    Step::Insert(number) if !list.contains(&number) => {
                        prop_assert_eq!(place(&table, number), None);
                        let at = table.insert(key(number), number);
                        prop_assert_eq!(at, place(&table, number));
                        list.push(number);
                    }
                    Step::Insert(_) => {}
                    Step::Renew(number) => {
                        if let Some(at) = place(&table, number) {
                            table.renew(at);
                            list.retain(|other| *other != number);
                            list.push(number);
                        }
                    }
                    Step::Remove(number) => {
                        let removed = place(&table, number).and_then(|at| table.remove(at));
                        prop_assert_eq!(removed, list.contains(&number).then_some(number));
                        list.retain(|other| *other != number);
                    }
                    Step::RemoveOldest => {
                        let oldest = table.oldest().map(|(at, number)| (at, *number));
                        prop_assert_eq!(oldest.map(|(_, number)| number), list.first().copied());
                        if let Some((at, number)) = oldest {
                            // Also by a place that has become another's, or nobody's.
                            prop_assert_eq!(table.find_at(at, &key(number)), Some(at));
                            table.remove(at);
                            prop_assert_eq!(table.find_at(at, &key(number)), None);
                            list.remove(0);
                        }
                    }
                }
                prop_assert_eq!(table.len(), list.len());
                for number in &list {
                    let at = place(&table, *number);
                    prop_assert_eq!(at.and_then(|at| table.get(at).copied()), Some(*number));
                    prop_assert_eq!(table.find_at(0, &key(*number)), at);
                }
            }
        }
    }

    #[test]
    fn slots_that_were_left_are_filled_again_and_given_back_with_the_last() {
        let mut table = Table::default();
        let stays = table.insert(key(5_000), 0).unwrap();
        for round in 0..10 {
            for number in 0..2_000 {
                table.insert(key(number), round);
            }
            assert_eq!(table.chunks.len(), 2_001_usize.div_ceil(CHUNK));
            table.renew(stays);
            while table.len() > 1 {
                let (place, _) = table.oldest().unwrap();
                table.remove(place);
            }
        }
        assert_eq!(table.find(&key(5_000)), Some(stays));
        assert_eq!(table.remove(stays), Some(0));
        assert_eq!(table.chunks.len(), 0);
        let place = table.insert(key(1), 1);
        assert_eq!(place, table.find(&key(1)));
    }
}
