//! The worked examples that take three replicas, in every interleaving that one of them could notice.

mod support;

use archipelago_conflict::{Custom, Strategy, StrategyTable};
use archipelago_crdt::Value;
use archipelago_engine::{Change, EngineConfig};
use archipelago_proto::Event;
use serde_json::json;
use support::{Replica, config, put};

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Three replicas of which each writes once and receives what the others wrote, in the order `orders` says of each: its
/// own number stands for its write. `None` if each waits for another.
fn play(
    strategies: &StrategyTable,
    writes: &[(Change, u64); 3],
    orders: [[usize; 3]; 3],
) -> Option<[Replica; 3]> {
    let mut replicas = ["a", "b", "c"].map(|name| {
        Replica::new(EngineConfig { strategies: strategies.clone(), ..config(name, Strategy::Lww) })
    });
    let mut written: [Option<Event>; 3] = [None, None, None];
    let mut done = [0; 3];
    loop {
        let before = done;
        for (me, replica) in replicas.iter_mut().enumerate() {
            while let Some(&next) = orders[me].get(done[me]) {
                if next == me {
                    let (change, at) = &writes[me];
                    written[me] = Some(replica.write("x", change.clone(), *at).1);
                } else {
                    let Some(event) = &written[next] else { break };
                    replica.receive(event, None, 9_000);
                }
                done[me] += 1;
            }
        }
        if done == before {
            break;
        }
    }
    (done == [3; 3]).then_some(replicas)
}

/// Plays every interleaving, checks that the three replicas agree, and gives what each outcome was how often.
fn outcomes(strategies: &StrategyTable, writes: &[(Change, u64); 3]) -> Vec<(serde_json::Value, usize)> {
    let mut outcomes: Vec<(serde_json::Value, usize)> = Vec::new();
    for (of_a, of_b) in ORDERS.into_iter().flat_map(|of_a| ORDERS.map(|of_b| (of_a, of_b))) {
        for of_c in ORDERS {
            let orders = [of_a, of_b, of_c];
            let Some(replicas) = play(strategies, writes, orders) else { continue };
            let visible = replicas[0].read("x").expect("a value");
            for replica in &replicas {
                assert_eq!(replica.read("x"), Some(visible.clone()), "{orders:?}");
                assert_eq!(replica.engine.digest(), replicas[0].engine.digest(), "{orders:?}");
                assert_eq!(replica.engine.vector(), replicas[0].engine.vector(), "{orders:?}");
            }
            match outcomes.iter_mut().find(|(known, _)| *known == visible) {
                Some((_, times)) => *times += 1,
                None => outcomes.push((visible, 1)),
            }
        }
    }
    outcomes
}

#[test]
fn a_function_that_is_not_commutative_converges_on_three_replicas_under_every_interleaving() {
    // The texts in the order in which it sees the siblings: "ab" is not "ba".
    let transcript = Custom::new("transcript", 1, |siblings| {
        let texts = siblings.iter().filter_map(|sibling| sibling.value.as_ref()?.as_text());
        Some(Value::from(texts.collect::<String>()))
    });
    let writes = ["a", "b", "c"].map(|text| (put(text), 1_000));
    let mut outcomes = outcomes(&StrategyTable::new(transcript), &writes);
    assert_eq!(
        outcomes.iter().map(|(_, times)| times).sum::<usize>(),
        98,
        "all but those in which replicas wait for one another"
    );
    outcomes.sort_by_key(|(visible, _)| visible.to_string());
    let visible: Vec<_> = outcomes.iter().map(|(visible, _)| visible.as_str().unwrap()).collect();
    // All concurrent, or one has seen one, two or both of the others.
    assert_eq!(visible, ["a", "ab", "abc", "ac", "b", "bc", "c"]);
}

#[test]
fn field_merge_of_three_replicas_keeps_the_newer_field_where_one_stamp_a_record_would_not() {
    // With one stamp for a record, x of time 1 would pass for x of time 3 once it was merged with y.
    let writes = [(json!({ "x": 1 }), 1), (json!({ "y": 1 }), 3), (json!({ "x": 2 }), 2)];
    let writes = writes.map(|(fields, at)| {
        let (field, value) = fields.as_object().and_then(|fields| fields.iter().next()).expect("one field");
        (Change::Patch(vec![(field.as_str().into(), Some(support::value(value)))]), at)
    });
    let mut concurrent = Vec::new();
    for which in 0..8 {
        let either = |bit: usize, one, other| if which & bit == 0 { one } else { other };
        let orders = [
            either(1, [0, 1, 2], [0, 2, 1]),
            either(2, [1, 0, 2], [1, 2, 0]),
            either(4, [2, 0, 1], [2, 1, 0]),
        ];
        let replicas =
            play(&StrategyTable::new(Strategy::FieldMerge), &writes, orders).expect("all write first");
        concurrent.extend(replicas.map(|replica| (replica.read("x"), replica.engine.digest().root())));
    }
    let digest = concurrent[0].1;
    for outcome in concurrent {
        assert_eq!(outcome, (Some(json!({ "x": 2, "y": 1 })), digest));
    }
}
