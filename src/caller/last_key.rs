//! The key that a connection's calls came with last. Nearly all connections have one for all of their calls, and its
//! digest costs a call more than all else about its key.

use std::{
    ptr,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use secrecy::{ExposeSecret, SecretSlice};

use super::{Caller, Callers, is_same};

/// Whose key it was, until there is another key or another list of callers. What is kept is in the connection's
/// memory anyway: HTTP/2 may refer to any header that came before.
#[derive(Debug, Default)]
pub struct LastKey(Mutex<Option<Seen>>);

#[derive(Debug)]
struct Seen {
    /// The header that it stood in.
    header: SecretSlice<u8>,
    /// The list that knows it. An idle connection keeps no list that was replaced.
    callers: Weak<Callers>,
    caller: Caller,
}

impl LastKey {
    /// The caller, where this header came last and the list is still the same.
    pub fn of(&self, header: &[u8], callers: &Arc<Callers>) -> Option<Caller> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = last.as_ref()?;
        // No other list has its address for as long as this refers to it.
        let is_it = ptr::eq(seen.callers.as_ptr(), Arc::as_ptr(callers))
            && is_same(seen.header.expose_secret(), header);
        is_it.then(|| seen.caller.clone())
    }

    /// Notes whose key stood in this header, by this list.
    pub fn was(&self, header: &[u8], callers: &Arc<Callers>, caller: &Caller) {
        let seen = Seen {
            header: header.to_vec().into(),
            callers: Arc::downgrade(callers),
            caller: caller.clone(),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn only_the_last_header_counts_and_only_by_the_same_list() {
        let last = LastKey::default();
        let [list, other_list] = [(), ()].map(|()| Arc::new(Callers::default()));
        let name = |header: &str, callers| {
            let caller = last.of(header.as_bytes(), callers)?;
            Some(caller.name().to_owned())
        };
        assert_eq!(name("Bearer 1", &list), None);
        for (header, caller) in [("Bearer 1", "billing"), ("Bearer 2", "orders")] {
            let caller = Caller::new(caller, &[], NonZeroU32::MIN);
            last.was(header.as_bytes(), &list, &caller);
        }
        assert_eq!(name("Bearer 2", &list).as_deref(), Some("orders"));
        assert_eq!(name("Bearer 2", &other_list), None);
        for other in ["Bearer 1", "Bearer ", "Bearer 23", "bearer 2", ""] {
            assert_eq!(name(other, &list), None, "{other}");
        }
    }
}
