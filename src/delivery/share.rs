//! Shares: how many places of the process one app may hold, over all shards, so that an app whose Easemob
//! is silent cannot take the places of the others.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Failure;

/// Places that apps share. Half of them are there for whoever comes; of the other half every app has an
/// equal part that no other can take.
#[derive(Debug, Clone)]
pub struct Shares {
    own: Arc<HashMap<Arc<str>, Arc<Semaphore>>>,
    common: Arc<Semaphore>,
    places: usize,
}

/// A place, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

impl Shares {
    /// So many places for these apps. An only app may have all of them.
    pub fn new(places: usize, apps: impl IntoIterator<Item = Arc<str>>) -> Self {
        let places = places.min(Semaphore::MAX_PERMITS);
        let apps: Vec<_> = apps.into_iter().collect();
        let own = match apps.len() {
            0 | 1 => places,
            // One at least: an app without any could be locked out.
            several => (places / 2 / several).max(1),
        };
        let places_of_their_own = own * apps.len();
        let common = places.saturating_sub(places_of_their_own);
        let apps = apps.into_iter();
        let own = apps.map(|app| (app, Arc::new(Semaphore::new(own))));
        Self {
            own: Arc::new(own.collect()),
            common: Arc::new(Semaphore::new(common)),
            places: common + places_of_their_own,
        }
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        let own = self.own.values().map(|own| own.available_permits());
        let free = own.sum::<usize>() + self.common.available_permits();
        self.places.saturating_sub(free)
    }

    /// A place of the app's own, or else one that is there for all.
    pub(super) fn take(&self, app: &str) -> Result<Place, Failure> {
        let own = self.own.get(app).cloned();
        own.and_then(|own| own.try_acquire_owned().ok())
            .or_else(|| Arc::clone(&self.common).try_acquire_owned().ok())
            .map(Place)
            .ok_or(Failure::Overloaded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(places: usize, apps: &[&str]) -> Shares {
        Shares::new(places, apps.iter().map(|&app| Arc::from(app)))
    }

    /// As many as there are to be had.
    fn take_all(shares: &Shares, app: &str) -> Vec<Place> {
        std::iter::from_fn(|| shares.take(app).ok()).collect()
    }

    #[test]
    fn whatever_the_others_hold_an_app_has_its_own() {
        let shares = shares(16, &["a", "b", "c", "d"]);
        let a = take_all(&shares, "a");
        assert_eq!(a.len(), 10);
        for app in ["b", "c", "d"] {
            assert_eq!(take_all(&shares, app).len(), 2, "{app}");
        }
        drop(a);
        assert_eq!(take_all(&shares, "b").len(), 10);
    }

    #[test]
    fn an_only_app_has_every_place() {
        assert_eq!(take_all(&shares(5, &["a"]), "a").len(), 5);
    }

    #[test]
    fn no_app_is_without_a_place() {
        let shares = shares(1, &["a", "b"]);
        let _a = take_all(&shares, "a");
        assert_eq!(take_all(&shares, "b").len(), 1);
    }
}
