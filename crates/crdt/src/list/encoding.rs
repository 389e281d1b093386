use std::collections::BTreeMap;

use archipelago_clock::Dot;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{
    ListDots,
    node::{Item, Node, Side},
};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Content<T, D> {
    Live(T),
    Deleted(D),
}

impl<T: Serialize, A: Serialize> Serialize for ListDots<T, A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn pair<A>(dot: &Dot<A>) -> (&A, u64) {
            (&dot.actor, dot.sequence)
        }
        serializer.collect_seq(self.nodes.iter().map(|(dot, node)| {
            let content = match &node.item {
                Item::Live(item) => Content::Live(item),
                Item::Deleted(deletion) => Content::Deleted(pair(deletion)),
            };
            (&dot.actor, dot.sequence, node.parent.as_ref().map(pair), node.side, content)
        }))
    }
}

impl<'de, T: Deserialize<'de>, A: Ord + Deserialize<'de>> Deserialize<'de> for ListDots<T, A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Encoded<T, A> = (A, u64, Option<(A, u64)>, Side, Content<T, (A, u64)>);
        let encoded: Vec<Encoded<T, A>> = Vec::deserialize(deserializer)?;
        let given = encoded.len();
        let dot = |(actor, sequence)| Dot::new(actor, sequence);
        let nodes = encoded.into_iter().map(|(actor, sequence, parent, side, content)| {
            let item = match content {
                Content::Live(item) => Item::Live(item),
                Content::Deleted(deletion) => Item::Deleted(dot(deletion)),
            };
            (Dot::new(actor, sequence), Node { parent: parent.map(dot), side, item })
        });
        let nodes: BTreeMap<_, _> = nodes.collect();
        if nodes.len() != given {
            return Err(D::Error::custom("the same item twice in a list"));
        }
        Ok(ListDots::of_nodes(nodes))
    }
}
