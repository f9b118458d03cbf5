//! Recipients by their places in an order that does not depend on how a request lists them: what is
//! remembered of a message holds for every way of asking for it.

use smallvec::{SmallVec, smallvec};

use super::Target;

/// Places of recipients. Most messages have one, which takes no memory of its own.
pub type Places = SmallVec<[u32; 1]>;

impl Target {
    /// The places of the recipients in the target's own order, which does not depend on how a request
    /// lists them.
    pub fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.recipients.len()).collect();
        let id = |at: usize| self.recipients[at].as_str().bytes();
        if self.kind.ignores_case() {
            let lower = |at: usize| id(at).map(|b| b.to_ascii_lowercase());
            order.sort_unstable_by(|a, b| lower(*a).cmp(lower(*b)));
        } else {
            order.sort_unstable_by(|a, b| id(*a).cmp(id(*b)));
        }
        order
    }

    /// The place of each recipient in that order.
    pub fn places(&self) -> Places {
        if self.recipients.len() == 1 {
            return Places::from_buf([0]);
        }
        let mut places = smallvec![0; self.recipients.len()];
        for (place, at) in (0..).zip(self.order()) {
            places[at] = place;
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        invalid::Violations,
        message::{Kind, target::Options},
    };

    fn places(kind: Kind, ids: &[&str]) -> Places {
        let violations = Violations::default();
        let check = |id: &&str| crate::id::RecipientId::check((*id).into(), violations.root());
        let target = Target {
            kind,
            recipients: ids.iter().filter_map(check).collect(),
            options: Options::default(),
        };
        target.places()
    }

    #[test]
    fn a_recipient_has_its_place_however_it_is_listed_and_spelled() {
        assert_eq!(places(Kind::Users, &["bob", "Amy", "zoe"])[..], [1, 0, 2]);
        assert_eq!(places(Kind::Users, &["ZOE", "amy", "Bob"])[..], [2, 0, 1]);
        assert_eq!(places(Kind::Groups, &["b", "a", "Z"])[..], [2, 1, 0]);
    }
}
