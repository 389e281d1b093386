//! A merge function that loses data, found by simulation: `cargo run --example simulation`, and
//! `cargo test --example simulation`.
//!
//! A shopping cart is a list of things. Of two carts that were filled apart, the first attempt takes the longer one, which
//! looks right in a demonstration. The simulation breaks replicas, links and disks by seeds until something that a customer
//! was told is in the cart is not; then it leaves out all of the history that has nothing to do with it.

#![allow(clippy::print_stdout, reason = "an example is there to be watched")]

use archipelago::{
    conflict::{Custom, Sibling},
    crdt::Value,
};
use archipelago_testkit::simulation::{Detail, Simulation, Verdict, Weather};

const CART: &str = "carts/ada";

/// What one might write first.
fn longer(carts: &[Sibling]) -> Option<Value> {
    carts.iter().filter_map(|cart| cart.value.clone()).max_by_key(|cart| things(cart).len())
}

/// All that is in any of them.
fn union(carts: &[Sibling]) -> Option<Value> {
    let mut all: Vec<i64> = carts.iter().filter_map(|cart| cart.value.as_ref()).flat_map(things).collect();
    all.sort_unstable();
    all.dedup();
    Some(all.into_iter().collect())
}

fn things(cart: &Value) -> Vec<i64> {
    cart.as_list().unwrap_or_default().iter().filter_map(Value::as_int).collect()
}

/// Customers who put one thing after the other into one cart, at any of three replicas.
fn shop(merge: fn(&[Sibling]) -> Option<Value>) -> Simulation {
    Simulation::builder()
        .name("shop")
        .replicas(3)
        .prefix("carts/", Custom::new("cart", 1, merge))
        .workload(|turn| {
            let thing = i64::try_from(turn.number()).expect("a small number");
            turn.update(CART, |cart| {
                let mut cart = cart.as_ref().map(things).unwrap_or_default();
                cart.push(thing);
                Some(cart.into_iter().collect())
            });
            turn.note(thing);
        })
        .weather(Weather::mixed())
        .writes(30)
        .invariant("what was put into the cart is in it", all_there)
        .build()
}

fn all_there(verdict: &Verdict<'_>) -> Result<(), String> {
    for replica in verdict.islands() {
        let cart = replica.read(CART).as_ref().map(things).unwrap_or_default();
        if let Some(lost) = verdict.acknowledged().find(|thing| !things_hold(&cart, thing)) {
            return Err(format!("{} shows {cart:?}, and {lost} was put in", replica.name()));
        }
    }
    Ok(())
}

fn things_hold(cart: &[i64], thing: &Value) -> bool {
    thing.as_int().is_some_and(|thing| cart.contains(&thing))
}

fn main() {
    let naive = shop(longer);
    let (seed, found) =
        (0..).find_map(|seed| Some((seed, naive.minimise(seed)?))).expect("seeds without end");
    let whole = naive.scenario().case(seed).steps.len();
    println!("the longer cart: seed {seed}: {}\n", found.violation);
    println!("of {whole} steps {} are enough:", found.case.steps.len());
    for line in naive.scenario().run(&found.case, Detail::Traced).trace {
        println!("{line}");
    }
    let survey = shop(union).run_seeds(0..200);
    println!(
        "\nboth carts: {} seeds, {} things put in, {} seeds in which one is lost",
        survey.seeds, survey.writes, survey.failed
    );
}

#[cfg(test)]
mod tests {
    use super::{longer, shop, union};

    #[test]
    fn a_merge_that_takes_the_longer_cart_loses_things() {
        let naive = shop(longer);
        let found = (0..20).find_map(|seed| naive.minimise(seed)).expect("one of twenty seeds shows it");
        assert_eq!(found.violation.checker, "invariant");
        assert!(found.case.steps.len() <= 4, "{:?}", found.case.steps);
    }

    #[test]
    fn a_merge_that_takes_both_carts_loses_nothing_in_200_seeds() {
        shop(union).assert_sound(0..200);
    }
}
