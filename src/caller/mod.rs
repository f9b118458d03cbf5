//! Who asks, and what it may use. Deliveries carry the caller from the door to Easemob.

mod audit;
mod config;
mod file;
pub mod key;
mod last_key;

use std::{
    collections::{BTreeSet, HashMap},
    num::NonZeroU32,
    sync::Arc,
};

use subtle::ConstantTimeEq;

pub use self::{
    audit::{Audit, Refusal},
    config::{CallerConfig, Config, Mode, Reflection},
    last_key::LastKey,
};

/// A service that calls the gateway. Clones share what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(Arc<Known>);

#[derive(Debug, PartialEq, Eq)]
struct Known {
    name: Arc<str>,
    /// None: all of them.
    apps: Option<BTreeSet<String>>,
    weight: NonZeroU32,
}

impl Caller {
    /// The one caller there is where nobody has to prove who they are: it may use every app.
    pub fn anonymous() -> Self {
        Self(Arc::new(Known {
            name: Arc::from("anonymous"),
            apps: None,
            weight: NonZeroU32::MIN,
        }))
    }

    fn new(name: &str, apps: &[String], weight: NonZeroU32) -> Self {
        Self(Arc::new(Known {
            name: Arc::from(name),
            apps: Some(apps.iter().cloned().collect()),
            weight,
        }))
    }

    /// Name of the caller, as in the settings and in telemetry.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The name, to be kept.
    pub fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.0.name)
    }

    /// Whether it is nobody in particular: no caller is asked who it is.
    pub fn is_anonymous(&self) -> bool {
        self.0.apps.is_none()
    }

    /// Whether the caller may use an app. Takes no account of whether there is one of this name, nor
    /// does the time it takes.
    pub fn may_use(&self, app: &str) -> bool {
        self.0.apps.as_ref().is_none_or(|apps| apps.contains(app))
    }

    /// Its share of an app's quota, beside the weights of the others.
    pub fn weight(&self) -> NonZeroU32 {
        self.0.weight
    }
}

/// What a caller's verified certificate says it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// URIs among the certificate's subject alternative names, such as a SPIFFE ID.
    pub uris: Vec<String>,
    /// DNS names among them.
    pub dns_names: Vec<String>,
}

/// A key's digest, and whose key it is.
type Key = ([u8; 32], Caller);

/// Everybody who may call, and how they prove it.
#[derive(Debug, Default)]
pub struct Callers {
    /// By the digest's first half.
    keys: HashMap<[u8; 16], Vec<Key>>,
    identities: HashMap<String, Caller>,
    count: usize,
}

impl Callers {
    /// How many callers there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The caller whose key this is. However many keys there are, it takes the same time; and the time tells nothing about
    /// any of them, since nobody can choose a key by its digest, and digests are compared as wholes.
    pub fn by_key(&self, key: &[u8]) -> Option<&Caller> {
        let digest = key::sha256(key);
        let alike = self.keys.get(half(&digest))?;
        let found = alike.iter().find(|(known, _)| is_same(known, &digest));
        found.map(|(_, caller)| caller)
    }

    /// The caller that a certificate names. One that names two callers is none of them.
    pub fn by_identity(&self, identity: &Identity) -> Option<&Caller> {
        let uris = identity.uris.iter().filter(|uri| is_uri(uri)).cloned();
        let names = identity.dns_names.iter().filter(|name| !is_uri(name));
        let names = names.map(|name| name.to_ascii_lowercase());
        let mut found = uris
            .chain(names)
            .filter_map(|name| self.identities.get(&name));
        let first = found.next()?;
        found.all(|other| other == first).then_some(first)
    }

    /// Adds a caller; the digests and the identity belong to nobody else.
    fn add(&mut self, caller: &Caller, keys: Vec<[u8; 32]>, identity: Option<String>) {
        self.count += 1;
        for key in keys {
            let alike = self.keys.entry(*half(&key)).or_default();
            alike.push((key, caller.clone()));
        }
        let identity = identity.map(|identity| (identity, caller.clone()));
        self.identities.extend(identity);
    }
}

fn half(digest: &[u8; 32]) -> &[u8; 16] {
    digest.first_chunk().expect("half of it")
}

/// Whether two digests, or two keys, are the same, in the same time wherever they differ; only their lengths are no
/// secret. By words: a comparison of bytes costs ten times as much.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    let differ = |(one, other)| word(one) ^ word(other);
    let words = one.as_chunks().0.iter().zip(other.as_chunks().0);
    let differing = words.map(differ).fold(0, std::ops::BitOr::bitor);
    // What is left of a word: with what comes before it, it makes a whole one.
    let rest = match one.last_chunk().zip(other.last_chunk()) {
        Some(last) => differ(last),
        None => {
            let bytes = one.iter().zip(other);
            bytes.fold(0, |rest, (one, other)| rest | u64::from(one ^ other))
        }
    };
    (differing | rest).ct_eq(&0).into()
}

/// Whether an identity is a URI, and no DNS name.
fn is_uri(identity: &str) -> bool {
    identity.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callers() -> Callers {
        let mut callers = Callers::default();
        for (name, keys, identity) in [
            ("billing", &["k1", "k2"][..], "spiffe://acme/billing"),
            ("orders", &["k3"], "orders.acme.internal"),
        ] {
            let caller = Caller::new(name, &["shop".to_owned()], NonZeroU32::MIN);
            let keys = keys.iter().map(|key| key::sha256(key.as_bytes()));
            callers.add(&caller, keys.collect(), Some(identity.to_owned()));
        }
        callers
    }

    #[test]
    fn each_key_of_a_caller_is_its_own() {
        let callers = callers();
        let name = |key: &str| callers.by_key(key.as_bytes()).map(Caller::name);
        assert_eq!(name("k1"), Some("billing"));
        assert_eq!(name("k2"), Some("billing"));
        assert_eq!(name("k3"), Some("orders"));
        assert_eq!(name("k4"), None);
        assert_eq!(name(""), None);
    }

    #[test]
    fn digests_of_which_half_is_the_same_are_told_apart() {
        let mut callers = Callers::default();
        let mut digest = key::sha256(b"key");
        for (name, last) in [("other", 1), ("right", 0)] {
            digest[31] ^= last;
            let caller = Caller::new(name, &[], NonZeroU32::MIN);
            callers.add(&caller, vec![digest], None);
            digest[31] ^= last;
        }
        assert_eq!(callers.by_key(b"key").map(Caller::name), Some("right"));
    }

    #[test]
    fn what_differs_in_one_bit_is_not_the_same() {
        let digest = key::sha256(b"key");
        for length in [0, 1, 8, 13, 32] {
            let one = &digest[..length];
            assert!(is_same(one, &digest[..length]));
            assert!(!is_same(one, &[one, b"x"].concat()));
            for bit in 0..8 * length {
                let mut other = one.to_vec();
                other[bit / 8] ^= 1 << (bit % 8);
                assert!(!is_same(one, &other), "bit {bit} of {length} bytes");
            }
        }
    }

    #[test]
    fn a_certificate_names_one_caller_or_none() {
        let callers = callers();
        let name = |uris: &[&str], names: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
            let identity = Identity {
                uris: owned(uris),
                dns_names: owned(names),
            };
            let caller = callers.by_identity(&identity);
            caller.map(|caller| caller.name().to_owned())
        };
        let billing = "spiffe://acme/billing";
        assert_eq!(name(&[billing], &[]).as_deref(), Some("billing"));
        assert_eq!(name(&[billing], &["other"]).as_deref(), Some("billing"));
        assert_eq!(
            name(&[], &["Orders.acme.internal"]).as_deref(),
            Some("orders")
        );
        // Both at once, another trust domain, a prefix, a name of the wrong kind.
        assert_eq!(name(&[billing], &["orders.acme.internal"]), None);
        assert_eq!(name(&["spiffe://evil/billing"], &[]), None);
        assert_eq!(name(&["spiffe://acme/billing/x"], &[]), None);
        assert_eq!(name(&["orders.acme.internal"], &[]), None);
        assert_eq!(name(&[], &[billing]), None);
        assert_eq!(name(&[], &["*.acme.internal"]), None);
        assert_eq!(name(&[], &[]), None);
    }
}
