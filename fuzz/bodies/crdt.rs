//! What must hold of any bytes that claim to be CRDTs.

use archipelago_crdt::{EXTENSION_TYPE, Value, dynamic};

/// CRDTs that can be read have one form, join the same from both sides, and tell what is new in them.
///
/// The first byte says where the two payloads part.
pub(crate) fn crdt(data: &[u8]) {
    let Some((at, payloads)) = data.split_first() else { return };
    let (one, other) = payloads.split_at(usize::from(*at).min(payloads.len()));
    let (Some(one), Some(other)) = (canonical(one), canonical(other)) else { return };
    match dynamic::join(&one, &other) {
        Err(_) => assert_ne!(dynamic::kind_of(&one), dynamic::kind_of(&other), "only kinds keep CRDTs apart"),
        Ok(joined) => {
            assert_eq!(dynamic::join(&other, &one).as_ref(), Ok(&joined), "commutative");
            assert_eq!(dynamic::join(&joined, &one).as_ref(), Ok(&joined), "nothing known is forgotten");
            let news = dynamic::delta(&one, &other).expect("of one kind");
            let with_news = news.map_or(Ok(other.clone()), |news| dynamic::join(&other, &news));
            assert_eq!(with_news.as_ref(), Ok(&joined), "a delta says what the state says");
        }
    }
}

/// The one form of a payload that can be read.
fn canonical(payload: &[u8]) -> Option<Vec<u8>> {
    let mut extension = vec![0xc9];
    extension.extend(u32::try_from(payload.len()).expect("a small input").to_be_bytes());
    extension.push(EXTENSION_TYPE.cast_unsigned());
    extension.extend_from_slice(payload);
    let canonical = dynamic::normalize(&extension).ok()?;
    assert!(dynamic::is_crdt(&canonical));
    assert_eq!(dynamic::normalize(&canonical).as_ref(), Ok(&canonical), "one form");
    assert_eq!(dynamic::join(&canonical, &canonical).as_ref(), Ok(&canonical), "idempotent");
    assert_eq!(dynamic::delta(&canonical, &canonical), Ok(None), "nothing is new in itself");
    let value: Value = rmp_serde::from_slice(&canonical).expect("a CRDT is a value");
    assert_eq!(rmp_serde::to_vec_named(&value).expect("what was read can be written"), canonical);
    value.readable();
    Some(canonical)
}
