//! The replicas that a batch names, its origin first.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use archipelago_clock::ReplicaId;

use crate::{
    DecodeError, Limits,
    reader::{Reader, malformed, within},
    replica,
};

/// How many ids the lists that a thread remembers may have together. Then it begins anew.
const KNOWN_IDS_MAX: usize = 131_072;

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

/// The list that came last of each origin: an origin names the same replicas again and again, and a list that is there to the
/// byte is not read again.
#[derive(Default)]
struct Known {
    /// By the incarnation of the origin, which is as good as unique.
    lists: HashMap<u64, List, foldhash::fast::RandomState>,
    ids: usize,
}

struct List {
    bytes: Box<[u8]>,
    replicas: Arc<[ReplicaId]>,
}

impl Known {
    fn put(&mut self, incarnation: u64, list: List) {
        if self.ids + list.replicas.len() > KNOWN_IDS_MAX {
            *self = Known::default();
        }
        self.ids += list.replicas.len();
        let before = self.lists.insert(incarnation, list);
        self.ids -= before.map_or(0, |before| before.replicas.len());
    }
}

/// At least one replica, each of them once.
pub(crate) fn read(reader: &mut Reader, limits: &Limits) -> Result<Arc<[ReplicaId]>, DecodeError> {
    let start = reader.at();
    let len = reader.array("replicas")?;
    within("replicas_max", len, limits.replicas_max)?;
    if len == 0 {
        return Err(malformed("replicas", "the origin is missing"));
    }
    let origin = replica::read(reader)?;
    let incarnation = origin.incarnation().bits();
    KNOWN.with_borrow_mut(|known| {
        if let Some(list) = known.lists.get(&incarnation).filter(|list| reader.pass(start, &list.bytes)) {
            return Ok(list.replicas.clone());
        }
        let mut replicas = Vec::with_capacity(len);
        replicas.push(origin);
        for _ in 1..len {
            replicas.push(replica::read(reader)?);
        }
        if is_one_twice(&replicas) {
            return Err(malformed("replicas", "one is named twice"));
        }
        let replicas = Arc::<[ReplicaId]>::from(replicas);
        known.put(incarnation, List { bytes: reader.since(start)[..].into(), replicas: replicas.clone() });
        Ok(replicas)
    })
}

/// Behind the origin most batches name replicas in the order in which vectors have them.
fn is_one_twice(replicas: &[ReplicaId]) -> bool {
    let (origin, others) = (&replicas[0], &replicas[1..]);
    if others.windows(2).all(|pair| pair[0] < pair[1]) {
        return others.binary_search(origin).is_ok();
    }
    let mut sorted: Vec<&ReplicaId> = replicas.iter().collect();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests {
    use archipelago_clock::Incarnation;
    use bytes::Bytes;

    use super::*;
    use crate::writer::Writer;

    fn id(name: &str, incarnation: u64) -> ReplicaId {
        ReplicaId::new(name, Incarnation::from_bits(incarnation)).expect("a legal name")
    }

    /// What is read of these, and what stands behind them.
    fn reread(replicas: &[ReplicaId]) -> Result<(Arc<[ReplicaId]>, u64), DecodeError> {
        let mut writer = Writer::default();
        writer.array(replicas.len());
        replicas.iter().for_each(|replica| replica::write(&mut writer, replica));
        writer.unsigned(7);
        let mut reader = Reader::new(Bytes::from(writer.into_vec()));
        let read = read(&mut reader, &Limits::default())?;
        Ok((read, reader.unsigned("what follows")?))
    }

    #[test]
    fn a_list_is_what_was_written_whatever_its_origin_named_before() {
        let (a, b, c, also_1) = (id("a", 1), id("b", 2), id("c", 3), id("other", 1));
        let lists: [&[ReplicaId]; 7] = [
            std::slice::from_ref(&a),
            &[a.clone(), b.clone()],
            &[a.clone(), b.clone(), c.clone()],
            &[a.clone(), c.clone()],
            &[also_1.clone(), c.clone()],
            &[b.clone(), a.clone()],
            &[a.clone(), id("b", 4)],
        ];
        for list in lists.iter().chain(lists.iter().rev()).flat_map(|list| [list, list]) {
            let (read, behind) = reread(list).unwrap();
            assert_eq!((&read[..], behind), (*list, 7));
        }
        for twice in [&[a.clone(), a.clone()][..], &[a.clone(), c.clone(), b.clone(), c.clone()]] {
            assert!(reread(twice).is_err());
            assert!(reread(twice).is_err(), "nor is it remembered");
        }
        assert!(reread(&[]).is_err());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let others: Vec<ReplicaId> = (0..1_000).map(|number| id(&format!("n{number}"), number)).collect();
        for origin in 0..300 {
            let list: Vec<ReplicaId> =
                [id("origin", 1_000_000 + origin)].into_iter().chain(others.iter().cloned()).collect();
            assert_eq!(reread(&list).unwrap().0[..], list[..]);
            KNOWN.with_borrow(|known| {
                let ids: usize = known.lists.values().map(|list| list.replicas.len()).sum();
                assert_eq!(known.ids, ids);
                assert!(ids <= KNOWN_IDS_MAX);
            });
        }
    }

    #[test]
    fn a_list_over_the_limit_is_refused_also_if_it_was_read_before() {
        let list = [id("a", 1), id("b", 2), id("c", 3)];
        reread(&list).unwrap();
        let mut writer = Writer::default();
        writer.array(list.len());
        list.iter().for_each(|replica| replica::write(&mut writer, replica));
        let limits = Limits { replicas_max: 2, ..Limits::default() };
        assert!(matches!(
            read(&mut Reader::new(Bytes::from(writer.into_vec())), &limits),
            Err(DecodeError::OverLimit { limit: "replicas_max", .. })
        ));
    }
}
