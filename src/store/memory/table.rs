//! Records by their keys, the longest unused first. They stand in slots that never move, and eight bytes of an index
//! lead to each: with a million of them it is visits to memory that cost, so there are few, and growing makes none.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

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
    index: HashTable<Pointer>,
    // Random: whoever chooses request IDs does not choose where they go.
    hasher: DefaultHashBuilder,
    chunks: Vec<Vec<Slot<T>>>,
    /// Slots that were left, to be filled first.
    left: Vec<Place>,
    oldest: Place,
    newest: Place,
}

/// With enough of the hash to grow, and to tell most records apart, without a look at them.
#[derive(Debug, Clone, Copy)]
struct Pointer {
    hash: u32,
    place: Place,
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
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            chunks: Vec::new(),
            left: Vec::new(),
            oldest: NONE,
            newest: NONE,
        }
    }
}

impl<T> Table<T> {
    /// Bytes of a record beside its value. At worst, while they become more: the index doubles when it is 7/8 full, with a
    /// byte more for each.
    pub(super) const OVERHEAD: usize =
        size_of::<Slot<T>>() - size_of::<T>() + (size_of::<Pointer>() + 1) * 16 / 7;

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Where the record of a key is.
    pub(super) fn find(&self, key: &Key) -> Option<Place> {
        let hash = self.hash(key);
        let is_it = |pointer: &Pointer| {
            pointer.hash == hash
                && self
                    .slot(pointer.place)
                    .is_some_and(|slot| slot.key == *key)
        };
        let found = self.index.find(spread(hash), is_it);
        found.map(|pointer| pointer.place)
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
        let pointer = Pointer {
            hash: self.hash(&key),
            place,
        };
        self.index
            .insert_unique(spread(pointer.hash), pointer, |other| spread(other.hash));
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
        let hash = spread(self.hash(&key));
        if let Ok(pointer) = self
            .index
            .find_entry(hash, |pointer| pointer.place == place)
        {
            pointer.remove();
        }
        // What a crowd took is given back when the last of it has gone.
        if self.index.is_empty() && self.chunks.len() > 1 {
            let hasher = self.hasher.clone();
            *self = Self {
                hasher,
                ..Self::default()
            };
        }
        Some(value)
    }

    fn fill(&mut self, slot: Slot<T>) -> Option<Place> {
        if let Some(place) = self.left.pop() {
            *self.slot_mut(place)? = slot;
            return Some(place);
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let chunk = self.chunks.last_mut()?;
        let place = Place::try_from(before + chunk.len()).ok()?;
        chunk.push(slot);
        (place != NONE).then_some(place)
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

    fn hash(&self, key: &Key) -> u32 {
        // Its upper half: the whole would not fit.
        (self.hasher.hash_one(key) >> 32) as u32
    }
}

fn chunk_and_slot(place: Place) -> Option<(usize, usize)> {
    let at = usize::try_from(place).ok()?;
    (place != NONE).then_some((at / CHUNK, at % CHUNK))
}

/// As the index wants it: where to look first in the lower bits, how to tell neighbours apart in the upper ones.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
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
