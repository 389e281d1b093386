//! Values with CRDTs in them.

use archipelago_clock::ReplicaId;
use archipelago_crdt::{Crdt, OrSet, PnCounter, Value, dynamic::DynamicCrdt};
use proptest::prelude::*;

use super::{crdts::insertions_and_removals, replicas, siblings::replica};

/// A record with CRDTs as a program holds it.
#[derive(Clone, Debug, Default)]
struct Post {
    views: PnCounter<ReplicaId>,
    tags: OrSet<char>,
}

impl Crdt for Post {
    fn merge(&mut self, other: &Self) {
        self.views.merge(&other.views);
        self.tags.merge(&other.tags);
    }
}

/// Three records with a counter `views` and an add-wins set `tags` of one history, as the engine sees them: what
/// [`Strategy::CrdtMerge`](archipelago_conflict::Strategy::CrdtMerge) joins. Their actors are those of
/// [`replica_ids`](super::replica_ids).
pub fn values_with_crdts() -> impl Strategy<Value = [Value; 3]> {
    let op = prop_oneof![(0..4u64).prop_map(Ok), insertions_and_removals().prop_map(Err),];
    let posts = replicas(op, |post: &mut Post, actor, op| match op {
        Ok(by) => drop(post.views.increment(replica(actor), *by)),
        Err((true, tag)) => drop(post.tags.insert(replica(actor), *tag)),
        Err((false, tag)) => drop(post.tags.remove(tag)),
    });
    posts.prop_map(|posts| {
        posts.map(|Post { views, tags }| {
            let views = DynamicCrdt::from_typed(&views).expect("a known kind");
            let tags = DynamicCrdt::from_typed(&tags).expect("a known kind");
            Value::from_iter([
                ("views".to_owned(), Value::from(views)),
                ("tags".to_owned(), Value::from(tags)),
            ])
        })
    })
}
