use archipelago_clock::{Incarnation, ReplicaId};
use archipelago_store::{Durability, MemoryStore};
use proptest::prelude::*;

use super::*;

const REPLICAS: u32 = 3;

/// What a commit does; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    /// So many new writes of a replica, each of which supersedes one of the live ones or none.
    Write {
        replica: u32,
        supersedes: Vec<Option<usize>>,
    },
    /// A write from the past of a replica comes by repair.
    Fetch {
        replica: u32,
        back: u64,
    },
    /// So many go without anything in their place.
    Remove {
        which: Vec<usize>,
    },
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = || proptest::collection::vec(any::<usize>(), 1..40);
    let supersedes = proptest::collection::vec(proptest::option::weighted(0.9, any::<usize>()), 1..150);
    let step = prop_oneof![
        8 => (0..REPLICAS, supersedes).prop_map(|(replica, supersedes)| Step::Write { replica, supersedes }),
        2 => (0..REPLICAS, 0..300u64).prop_map(|(replica, back)| Step::Fetch { replica, back }),
        2 => which().prop_map(|which| Step::Remove { which }),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..60)
}

type Live = BTreeSet<(u32, u64, EntityId)>;

struct World {
    store: MemoryStore,
    index: LiveIndex,
    replicas: ReplicaTable,
    vector: VersionVector,
    live: Live,
    entities: u64,
}

impl World {
    fn new() -> World {
        let id = |number: u32| ReplicaId::new(&format!("m{number}"), Incarnation::from_bits(1)).unwrap();
        let replicas = ReplicaTable::new((0..REPLICAS).map(id).collect());
        let (store, vector) = (MemoryStore::new(), VersionVector::new());
        let index = LiveIndex::load(&store, &vector, &replicas).unwrap();
        World { store, index, replicas, vector, live: Live::new(), entities: 0 }
    }

    fn change(&self, (replica, sequence, entity): &(u32, u64, EntityId), is_there: bool) -> DotChange {
        DotChange { replica: *replica, sequence: *sequence, entity: entity.clone(), is_there }
    }

    fn commit(&mut self, come: Vec<(u32, u64, EntityId)>, gone: Vec<(u32, u64, EntityId)>) {
        let dots: Vec<DotChange> = gone
            .iter()
            .map(|dot| self.change(dot, false))
            .chain(come.iter().map(|dot| self.change(dot, true)))
            .collect();
        let mut batch = Batch::new();
        self.index.put(&mut batch, &self.store, &dots).unwrap();
        self.store.commit(batch, Durability::Memory).unwrap();
        gone.iter().for_each(|dot| assert!(self.live.remove(dot)));
        self.live.extend(come);
    }

    fn pick(&self, which: &[usize]) -> Vec<(u32, u64, EntityId)> {
        let picked: BTreeSet<_> = which
            .iter()
            .filter_map(|which| self.live.iter().nth(which.checked_rem(self.live.len())?))
            .collect();
        picked.into_iter().cloned().collect()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Write { replica, supersedes } => {
                let gone: Vec<usize> = supersedes.iter().flatten().copied().collect();
                let (gone, id) = (self.pick(&gone), self.replicas.replicas()[replica as usize].clone());
                let come = supersedes.iter().map(|_| {
                    self.entities += 1;
                    let sequence = self.vector.get(&id) + 1;
                    self.vector.raise(id.clone(), sequence);
                    (replica, sequence, EntityId::from(format!("e{}", self.entities)))
                });
                let come = come.collect();
                self.commit(come, gone);
            }
            Step::Fetch { replica, back } => {
                let id = self.replicas.replicas()[replica as usize].clone();
                let Some(sequence @ 1..) = self.vector.get(&id).checked_sub(back) else { return };
                self.entities += 1;
                // Two entities can hold one write only if its author was doubled.
                let entity = EntityId::from(format!("e{}", self.entities));
                self.commit(vec![(replica, sequence, entity)], Vec::new());
            }
            Step::Remove { which } => {
                let gone = self.pick(&which);
                self.commit(Vec::new(), gone);
            }
            Step::Reopen => {
                self.store = self.store.reopen();
                self.index = LiveIndex::load(&self.store, &self.vector, &self.replicas).unwrap();
            }
        }
    }

    fn found(&self, replica: u32, page: usize) -> Vec<(u64, EntityId)> {
        let (mut found, mut after) = (Vec::new(), 0);
        loop {
            let dots = self.index.dots(&self.store, replica, after, page).unwrap();
            assert!(dots.len() <= page && dots.is_sorted_by_key(|(sequence, _)| *sequence));
            let Some((last, _)) = dots.last() else { return found };
            after = *last;
            found.extend(dots);
        }
    }

    fn stale(&self) -> u64 {
        let stale = |block: &Block| u64::from((block.written & !block.live).count_ones());
        self.index.read().blocks.values().map(stale).sum()
    }
}

proptest! {
    #[test]
    fn the_index_has_what_a_set_has(steps in steps(), page in 1..200usize) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            let state = world.index.read();
            prop_assert_eq!(state.removals.stale, world.stale());
            for block in state.blocks.values() {
                prop_assert!(block.written != 0 && block.live & !block.written == 0);
            }
        }
        for replica in 0..REPLICAS {
            let of = world.live.iter().filter(|dot| dot.0 == replica);
            let must: Vec<_> = of.map(|(_, sequence, entity)| (*sequence, entity.clone())).collect();
            // Pages may part two entities of one write.
            let all = world.index.dots(&world.store, replica, 0, usize::MAX >> 8).unwrap();
            let as_set = |dots: &[(u64, EntityId)]| dots.iter().cloned().collect::<BTreeSet<_>>();
            prop_assert_eq!(as_set(&all), as_set(&must));
            prop_assert_eq!(all.len(), must.len());
            let doubled = must.windows(2).any(|pair| pair[0].0 == pair[1].0);
            let paged = world.found(replica, page);
            prop_assert!(doubled || paged == all);
        }
    }
}

/// One key after the other is written again and again: rows come and go, and do not gather.
#[test]
fn rows_stay_in_proportion_to_what_is_live() {
    for (writes_per_commit, keys) in [(1, 1), (1, 500), (64, 500), (256, 2_000), (100, 100)] {
        let mut world = World::new();
        let mut last: Vec<Option<(u32, u64, EntityId)>> = vec![None; keys];
        let id = world.replicas.replicas()[0].clone();
        let mut number = 0_usize;
        for _ in 0..20_000 / writes_per_commit {
            let (mut come, mut gone) = (Vec::new(), Vec::new());
            for _ in 0..writes_per_commit.min(keys) {
                number += 1;
                let key = number * 7_919 % keys;
                let sequence = world.vector.get(&id) + 1;
                world.vector.raise(id.clone(), sequence);
                let dot = (0, sequence, EntityId::from(format!("k{key}")));
                gone.extend(last[key].replace(dot.clone()));
                come.push(dot);
            }
            world.commit(come, gone);
        }
        let rows = world.store.scan(Table::Live, Bound::Unbounded, Bound::Unbounded, usize::MAX).unwrap();
        let bytes: usize = rows.iter().map(|row| row.key.len() + row.value.len()).sum();
        let state = world.index.read();
        assert!(state.removals.held <= 2 * state.removals.stale + IDLE_REMOVALS_MAX + 512);
        let most = 2 * keys + 2 * usize::try_from(IDLE_REMOVALS_MAX).unwrap() + 256;
        assert!(rows.len() <= most, "{} rows for {keys} keys", rows.len());
        assert!(bytes <= 60 * keys + 40_000, "{bytes} bytes for {keys} keys");
    }
}

/// Whole blocks go at once, and with them all removals in them.
#[test]
fn what_is_idle_goes_with_the_commit_that_makes_it_so_and_waits_for_no_other() {
    let mut world = World::new();
    let id = world.replicas.replicas()[0].clone();
    let dots: Vec<_> =
        (1..=500).map(|sequence| (0, sequence, EntityId::from(format!("e{sequence}")))).collect();
    for dot in &dots {
        world.vector.raise(id.clone(), dot.1);
        world.commit(vec![dot.clone()], Vec::new());
    }
    for dot in dots {
        world.commit(Vec::new(), vec![dot]);
        let Removals { held, stale, .. } = &world.index.read().removals;
        assert!(*held <= 2 * stale + IDLE_REMOVALS_MAX, "{held} held, {stale} stale");
    }
    let rows = world.store.scan(Table::Live, Bound::Unbounded, Bound::Unbounded, usize::MAX).unwrap();
    assert!(rows.len() as u64 <= IDLE_REMOVALS_MAX, "{} rows", rows.len());
}
