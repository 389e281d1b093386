use std::fmt::Debug;

use archipelago_crdt::Crdt;
use proptest::prelude::*;

/// One step of a history.
#[derive(Clone, Debug)]
enum Step<Op> {
    Update { replica: u8, op: Op },
    Merge { from: u8, to: u8 },
}

/// The states of three replicas after a random history of updates and merges: what replicas can really be in, at
/// one moment.
///
/// `ops` makes operations; `update` does one as the actor 0, 1 or 2, on the state of that replica, and may refuse it
/// by changing nothing.
///
/// ```
/// use archipelago_crdt::OrSet;
/// use archipelago_testkit::{generate, proptest::prelude::*};
///
/// # fn example() -> impl Strategy<Value = [OrSet<char, u8>; 3]> {
/// generate::replicas("[a-c]", |set: &mut OrSet<char, u8>, actor, letter: &String| {
///     let letter = letter.chars().next().unwrap_or('a');
///     set.insert(actor, letter).expect("few writes");
/// })
/// # }
/// ```
pub fn replicas<C, Op>(
    ops: impl Strategy<Value = Op>,
    update: impl Fn(&mut C, u8, &Op),
) -> impl Strategy<Value = [C; 3]>
where
    C: Crdt + Clone + Default + Debug,
    Op: Clone + Debug,
{
    let step = prop_oneof![
        3 => (0..3u8, ops).prop_map(|(replica, op)| Step::Update { replica, op }),
        2 => (0..3u8, 0..3u8).prop_map(|(from, to)| Step::Merge { from, to }),
    ];
    proptest::collection::vec(step, 0..16).prop_map(move |steps| {
        let mut states = [C::default(), C::default(), C::default()];
        for step in &steps {
            match step {
                Step::Update { replica, op } => update(&mut states[usize::from(*replica)], *replica, op),
                Step::Merge { from, to } => {
                    let sent = states[usize::from(*from)].clone();
                    states[usize::from(*to)].merge(&sent);
                }
            }
        }
        states
    })
}
