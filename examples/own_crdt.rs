//! A CRDT of one's own and the tests that show it to be one: `cargo run --example own_crdt`, and
//! `cargo test --example own_crdt`.
//!
//! The table of a game's best scores merges by the greater score for each player. The tests at the end are all that
//! it takes to check it; the program shows what the same laws say of a table that adds the scores up instead.

#![allow(clippy::print_stdout, reason = "an example is there to be watched")]

use std::collections::BTreeMap;

use archipelago::crdt::{Crdt, DeltaCrdt};
use archipelago_testkit::{laws, merge_laws, proptest::prelude::*};
use serde::{Deserialize, Serialize};

/// The best score of each player.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct BestScores(BTreeMap<String, u64>);

impl BestScores {
    /// Notes a score, and returns the delta.
    fn played(&mut self, player: &str, score: u64) -> Self {
        let delta = BestScores(BTreeMap::from([(player.to_owned(), score)]));
        self.merge(&delta);
        delta
    }
}

impl Crdt for BestScores {
    fn merge(&mut self, other: &Self) {
        for (player, &score) in &other.0 {
            let best = self.0.entry(player.clone()).or_insert(score);
            *best = score.max(*best);
        }
    }
}

impl DeltaCrdt for BestScores {
    type Delta = Self;

    fn merge_delta(&mut self, delta: &Self) {
        self.merge(delta);
    }

    fn delta_since(&self, since: &Self) -> Option<Self> {
        let is_news = |player: &String, score: u64| since.0.get(player).is_none_or(|known| score > *known);
        let news = self.0.iter().filter(|&(player, &score)| is_news(player, score));
        let news: BTreeMap<_, _> = news.map(|(player, &score)| (player.clone(), score)).collect();
        (!news.is_empty()).then_some(BestScores(news))
    }
}

/// Few players and few scores, so that tables meet over the same ones.
fn tables() -> impl Strategy<Value = BestScores> {
    prop::collection::vec(("[ab]", 0..4u64), 0..4).prop_map(|games| {
        let mut table = BestScores::default();
        for (player, score) in games {
            table.played(&player, score);
        }
        table
    })
}

/// What one might write first: it counts the scores that both tables know twice.
fn summed(a: &BestScores, b: &BestScores) -> BestScores {
    let mut sum = a.clone();
    b.0.iter().for_each(|(player, score)| *sum.0.entry(player.clone()).or_default() += score);
    sum
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut here, mut there) = (BestScores::default(), BestScores::default());
    here.played("Ada", 30);
    there.played("Ada", 20);
    there.played("Bob", 10);

    laws::commutative(&here, &there)?;
    laws::delta(&here, &there, &here)?;
    laws::encoding(&here)?;
    here.merge(&there);
    println!("the best scores   {here:?}\n");

    let best = |a: &BestScores, b: &BestScores| {
        let mut best = a.clone();
        best.merge(b);
        best
    };
    println!("of the best score\n{}", merge_laws(best, tables()));
    println!("of the summed scores\n{}", merge_laws(summed, tables()));
    Ok(())
}

#[cfg(test)]
mod best_scores {
    use archipelago_testkit::crdt_laws;

    use super::*;

    crdt_laws!(BestScores, tables());

    #[test]
    fn summed_scores_are_commutative_and_associative_only() {
        let report = merge_laws!(summed, tables() => commutative, associative);
        assert!(report.idempotent.is_err());
    }

    #[test]
    fn the_example_runs() {
        main().expect("the example runs to its end");
    }
}
