//! Who may speak for whom, as one node knows it: a map that is joined with those of others.

use std::collections::{BTreeMap, BTreeSet};

use archipelago_proto::{LISTED_KEYS_MAX, ListedKey};
use serde::{Serialize, Serializer};

use super::PublicKey;

/// A key of the list of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemberKey {
    /// The name that it speaks for.
    pub name: String,
    /// The key.
    #[serde(serialize_with = "as_text")]
    pub key: PublicKey,
    /// False if it was withdrawn: nothing that it signed counts.
    pub is_trusted: bool,
    /// Since when that holds, in milliseconds since the Unix epoch, by the clock of the node where it was decided; 0 if it
    /// is how some node was set up.
    pub since_unix_ms: u64,
}

fn as_text<S: Serializer>(key: &PublicKey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(key)
}

/// Of two states of one key the greater holds. The later one; of two at once the one that withdraws it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    since_unix_ms: u64,
    is_withdrawn: bool,
}

type NameAndKey = (String, PublicKey);

/// The list, and what this node was set up with: the beginning of its list, and whose lists it takes in.
#[derive(Debug, Default)]
pub(super) struct KeyList {
    configured: BTreeSet<NameAndKey>,
    standings: BTreeMap<NameAndKey, Standing>,
}

const AS_SET_UP: Standing = Standing { since_unix_ms: 0, is_withdrawn: false };

impl KeyList {
    pub(super) fn new(configured: impl IntoIterator<Item = NameAndKey>, stored: Vec<ListedKey>) -> KeyList {
        let mut list = KeyList { configured: configured.into_iter().collect(), standings: BTreeMap::new() };
        list.join(&stored);
        list
    }

    /// Whether what is signed by this key is said by whoever has this name.
    pub(super) fn trusts(&self, name: &str, key: PublicKey) -> bool {
        self.says(name, key).unwrap_or(false)
    }

    /// The same; `None` of a key that nobody spoke of. One that is withdrawn before it was ever let in is to stay out.
    pub(super) fn says(&self, name: &str, key: PublicKey) -> Option<bool> {
        let name_and_key = (name.to_owned(), key);
        match self.standings.get(&name_and_key) {
            Some(standing) => Some(!standing.is_withdrawn),
            None => self.configured.contains(&name_and_key).then_some(true),
        }
    }

    /// Whether the list of whoever has this key is taken in: only of those that this node was set up with. Whoever was let in
    /// by others speaks for itself, and cannot let in more.
    pub(super) fn listens_to(&self, name: &str, key: PublicKey) -> bool {
        self.trusts(name, key) && self.configured.contains(&(name.to_owned(), key))
    }

    /// What is known of a key, once somebody here decided on it; false if there is no room for it.
    pub(super) fn decide(&mut self, name: &str, key: PublicKey, is_trusted: bool, now_unix_ms: u64) -> bool {
        let name_and_key = (name.to_owned(), key);
        let known = self.standings.get(&name_and_key).map_or(0, |known| known.since_unix_ms);
        // What was known when it was decided is overruled, whatever the clocks are.
        let since_unix_ms = now_unix_ms.max(known.saturating_add(1));
        self.set(name_and_key, Standing { since_unix_ms, is_withdrawn: !is_trusted })
    }

    /// Takes in another list. True if that changed anything.
    pub(super) fn join(&mut self, keys: &[ListedKey]) -> bool {
        let mut is_changed = false;
        for listed in keys {
            let name_and_key = (listed.name.to_string(), PublicKey::from_bytes(listed.key));
            let standing = Standing { since_unix_ms: listed.since_unix_ms, is_withdrawn: !listed.is_trusted };
            let known = self.standings.get(&name_and_key);
            let is_news = match known {
                Some(known) => *known < standing,
                // Known without a list.
                None => standing != AS_SET_UP || !self.configured.contains(&name_and_key),
            };
            is_changed |= is_news && self.set(name_and_key, standing);
        }
        is_changed
    }

    fn set(&mut self, name_and_key: NameAndKey, standing: Standing) -> bool {
        let is_room = self.standings.len() + self.configured.len() < LISTED_KEYS_MAX
            || self.standings.contains_key(&name_and_key);
        if is_room {
            self.standings.insert(name_and_key, standing);
        }
        is_room
    }

    /// What came to be known beside what this node was set up with, for the store.
    pub(super) fn learned(&self) -> Vec<ListedKey> {
        self.standings.iter().map(|(name_and_key, standing)| listed(name_and_key, *standing)).collect()
    }

    /// All of it, for others.
    pub(super) fn all(&self) -> Vec<ListedKey> {
        let set_up = self.configured.iter().filter(|known| !self.standings.contains_key(known));
        let set_up = set_up.map(|known| listed(known, AS_SET_UP));
        self.learned().into_iter().chain(set_up).collect()
    }
}

fn listed((name, key): &NameAndKey, standing: Standing) -> ListedKey {
    ListedKey {
        name: name.as_str().into(),
        key: key.to_bytes(),
        is_trusted: !standing.is_withdrawn,
        since_unix_ms: standing.since_unix_ms,
    }
}

impl From<ListedKey> for MemberKey {
    fn from(listed: ListedKey) -> Self {
        MemberKey {
            name: listed.name.to_string(),
            key: PublicKey::from_bytes(listed.key),
            is_trusted: listed.is_trusted,
            since_unix_ms: listed.since_unix_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> PublicKey {
        PublicKey::from_bytes([byte; 32])
    }

    #[test]
    fn what_was_decided_last_holds_over_how_it_was_set_up() {
        let mut list = KeyList::new([("paris".to_owned(), key(1))], Vec::new());
        assert!(
            list.trusts("paris", key(1)) && !list.trusts("tokyo", key(1)) && !list.trusts("paris", key(2))
        );
        assert!(list.decide("paris", key(1), false, 5));
        assert!(!list.trusts("paris", key(1)) && !list.listens_to("paris", key(1)));
        // The clock went back, and yet the later decision is the later one.
        assert!(list.decide("paris", key(1), true, 2));
        assert!(list.trusts("paris", key(1)));
    }

    #[test]
    fn whoever_was_let_in_by_another_one_speaks_for_itself_alone() {
        let mut paris = KeyList::new([("paris".to_owned(), key(1))], Vec::new());
        paris.decide("tokyo", key(2), true, 5);
        let mut lima = KeyList::new([("lima".to_owned(), key(3)), ("paris".to_owned(), key(1))], Vec::new());
        assert!(lima.join(&paris.all()));
        assert!(lima.trusts("tokyo", key(2)) && !lima.listens_to("tokyo", key(2)));
        assert!(!lima.join(&paris.all()), "it knew all that already");
        let restarted = KeyList::new([("lima".to_owned(), key(3))], lima.learned());
        assert!(restarted.trusts("tokyo", key(2)));
        assert!(!restarted.trusts("paris", key(1)), "it was taken from the configuration");
    }

    #[test]
    fn a_list_that_is_full_takes_no_more_and_still_withdraws() {
        let mut list = KeyList::new([("paris".to_owned(), key(1))], Vec::new());
        for at in 1..LISTED_KEYS_MAX {
            assert!(list.decide(&format!("n{at}"), key(2), true, 5));
        }
        assert!(!list.decide("one-more", key(2), true, 5));
        assert!(list.decide("n1", key(2), false, 6) && !list.trusts("n1", key(2)));
        assert!(list.all().len() <= LISTED_KEYS_MAX);
    }

    fn lists() -> impl Strategy<Value = Vec<ListedKey>> {
        let one = ("[ab]", 0..2u8, any::<bool>(), 0..4u64);
        let one = one.prop_map(|(name, byte, is_trusted, since_unix_ms)| ListedKey {
            name: name.into(),
            key: [byte; 32],
            is_trusted,
            since_unix_ms,
        });
        proptest::collection::vec(one, 0..8)
    }

    proptest! {
        #[test]
        fn joining_is_commutative_associative_and_idempotent(a in lists(), b in lists(), c in lists()) {
            let joined = |lists: &[&[ListedKey]]| {
                let mut list = KeyList::default();
                for other in lists {
                    list.join(other);
                }
                list.all()
            };
            prop_assert_eq!(joined(&[&a, &b, &c]), joined(&[&c, &b, &a]));
            prop_assert_eq!(joined(&[&a, &joined(&[&b, &c])]), joined(&[&joined(&[&a, &b]), &c]));
            prop_assert_eq!(joined(&[&a, &a]), joined(&[&a]));
        }
    }
}
