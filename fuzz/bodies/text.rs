//! What must hold of any bytes that claim to be texts.

use archipelago_clock::ReplicaId;
use archipelago_crdt::{Crdt, DeltaCrdt, Text};

/// Texts that can be read have one form, join the same from both sides, tell what is new in them, and can be shown and
/// edited.
///
/// The first byte says where the two updates part.
pub(crate) fn text(data: &[u8]) {
    let Some((at, updates)) = data.split_first() else { return };
    let (one, other) = updates.split_at(usize::from(*at).min(updates.len()));
    let (Some(one), Some(other)) = (canonical(one), canonical(other)) else { return };
    let joined = merged(&one, &other);
    assert_eq!(merged(&other, &one), joined, "commutative");
    assert!(joined.covers(&one) && joined.covers(&other), "nothing known is forgotten");
    let news = one.delta_since(&other);
    assert_eq!(news.is_none(), other.covers(&one), "a delta exactly when something is new");
    let with_news = news.map_or(other.clone(), |news| merged(&other, &news));
    assert_eq!(with_news, joined, "a delta says what the state says");
    assert_eq!(merged(&merged(&one, &joined), &other), joined, "idempotent");
    let again = canonical(&joined.to_yjs_update("text")).expect("what was written can be read");
    assert_eq!((again.as_str(), &again), (joined.as_str(), &joined));
    edit(joined);
}

fn merged(one: &Text, other: &Text) -> Text {
    let mut joined = one.clone();
    joined.merge(other);
    joined
}

/// An update that can be read, and what is written of it.
fn canonical(update: &[u8]) -> Option<Text> {
    let text = Text::from_yjs_update(update, "text").ok()?;
    let written = text.to_yjs_update("text");
    let read = Text::from_yjs_update(&written, "text").expect("what was written can be read");
    assert_eq!(read, text, "one form");
    assert_eq!(read.to_yjs_update("text"), written, "one form");
    Some(text)
}

fn edit(mut text: Text) {
    let us: ReplicaId = "us@0000000000000001".parse().expect("a replica");
    let before = text.clone();
    let len = text.len();
    text.insert(&us, len / 2, "é😀").expect("nobody else is this actor");
    assert_eq!(text.len(), len + 2);
    text.remove(..len.min(1)).expect("what is there");
    assert!(text.covers(&before));
    assert_eq!(text.set(&us, "something else").map(drop), Ok(()));
    assert_eq!(text.as_str(), "something else");
}
