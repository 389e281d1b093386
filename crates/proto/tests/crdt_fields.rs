//! A record with CRDTs among its fields is split, joined field by field without its type, and read again.

use archipelago_clock::ReplicaId;
use archipelago_crdt::{Crdt, GSet, OrMap, OrSet, PnCounter, dynamic};
use archipelago_proto::{FieldName, Limits, decode_value, encode_value, join_fields, split_fields};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Post {
    title: String,
    views: PnCounter,
    tags: OrSet<String>,
    scores: OrMap<String, PnCounter>,
    seen_by: Option<GSet<u32>>,
}

fn fields(post: &Post) -> Vec<(FieldName, Bytes)> {
    let limits = Limits::default();
    let bytes = encode_value(post, &limits).expect("a small record");
    split_fields(&bytes, &limits).expect("a record within the limits").expect("a struct is a map")
}

#[test]
fn crdt_fields_join_without_the_type_of_the_record() {
    let us: ReplicaId = "us@0000000000000001".parse().unwrap();
    let eu: ReplicaId = "eu@0000000000000002".parse().unwrap();
    let mut ours = Post {
        title: "Islands".to_owned(),
        views: PnCounter::new(),
        tags: OrSet::new(),
        scores: OrMap::new(),
        seen_by: Some(GSet::new()),
    };
    ours.tags.insert(us.clone(), "sea".to_owned()).unwrap();
    let mut theirs = ours.clone();
    ours.views.increment(us.clone(), 100).unwrap();
    ours.tags.remove(&"sea".to_owned());
    ours.scores.update(us, "alice".to_owned(), |score, actor| score.increment(actor, 2)).unwrap();
    theirs.views.increment(eu.clone(), 75).unwrap();
    theirs.tags.insert(eu.clone(), "travel".to_owned()).unwrap();
    theirs.scores.update(eu, "alice".to_owned(), |score, actor| score.decrement(actor, 1)).unwrap();
    theirs.seen_by.as_mut().unwrap().insert(7);

    let joined: Vec<(FieldName, Vec<u8>)> = fields(&ours)
        .into_iter()
        .zip(fields(&theirs))
        .map(|((name, ours), (_, theirs))| {
            assert_eq!(dynamic::is_crdt(&ours), &*name != "title", "{name:?}");
            if !dynamic::is_crdt(&ours) {
                return (name, ours.to_vec());
            }
            let joined = dynamic::join(&ours, &theirs).unwrap();
            if let Some(delta) = dynamic::delta(&theirs, &ours).unwrap() {
                assert_eq!(dynamic::join(&ours, &delta).unwrap(), joined);
            }
            (name, joined)
        })
        .collect();
    let joined = join_fields(joined.iter().map(|(name, value)| (&**name, &value[..])));
    let joined: Post = decode_value(&joined, &Limits::default()).unwrap();

    let mut expected = ours;
    expected.views.merge(&theirs.views);
    expected.tags.merge(&theirs.tags);
    expected.scores.merge(&theirs.scores);
    expected.seen_by.as_mut().unwrap().merge(theirs.seen_by.as_ref().unwrap());
    assert_eq!(joined, expected);
    assert_eq!(joined.views.value(), 175);
}
