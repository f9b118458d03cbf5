//! So many places and no more, of which a newcomer takes the oldest: for connections that have not
//! yet shown what they are worth.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// A bounded set of places. Whoever comes gets one; where none is free, the holder of the oldest
/// loses it. So a crowd that takes places and stays silent pushes out itself, and a good peer needs
/// its place no longer than a round trip.
#[derive(Debug, Clone)]
pub(super) struct Places {
    capacity: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    /// By age; letting go of the sender tells the holder that its place is gone.
    holders: BTreeMap<u64, oneshot::Sender<()>>,
    next: u64,
}

impl Places {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            taken: Arc::default(),
        }
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        lock(&self.taken).holders.len()
    }

    /// Takes a place, the oldest one's if there is no other.
    pub(super) fn take(&self) -> Place {
        let (holder, lost) = oneshot::channel();
        let mut taken = lock(&self.taken);
        if taken.holders.len() >= self.capacity {
            taken.holders.pop_first();
        }
        let number = taken.next;
        taken.next += 1;
        taken.holders.insert(number, holder);
        Place {
            number,
            lost,
            taken: Arc::clone(&self.taken),
        }
    }
}

/// A place, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    lost: oneshot::Receiver<()>,
    taken: Arc<Mutex<Taken>>,
}

impl Place {
    /// Ends when the place has gone to a newcomer.
    pub(super) async fn lost(&mut self) {
        // Nothing is ever sent: this is the sender being dropped.
        let _ = (&mut self.lost).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.taken).holders.remove(&self.number);
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    // Nothing between lock and unlock leaves the map half changed.
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, timeout};

    use super::*;

    async fn is_lost(place: &mut Place) -> bool {
        timeout(Duration::ZERO, place.lost()).await.is_ok()
    }

    #[tokio::test]
    async fn the_oldest_gives_way_to_a_newcomer() {
        let places = Places::new(2);
        let mut oldest = places.take();
        let mut older = places.take();
        assert!(!is_lost(&mut oldest).await);

        let mut newest = places.take();

        assert!(is_lost(&mut oldest).await);
        assert!(!is_lost(&mut older).await);
        assert!(!is_lost(&mut newest).await);
    }

    #[tokio::test]
    async fn a_place_given_back_is_free() {
        let places = Places::new(1);
        drop(places.take());
        let mut first = places.take();
        assert!(!is_lost(&mut first).await);
        // One that lost its place has none to give back.
        let mut second = places.take();
        drop(first);
        assert!(!is_lost(&mut second).await);
    }
}
