use std::panic::{AssertUnwindSafe, catch_unwind};

use archipelago_clock::ReplicaId;
use archipelago_conflict::Strategy;
use archipelago_crdt::PnCounter;
use archipelago_testkit::simulation::{Simulation, SimulationBuilder, Weather};

const TEA: &str = "stock/tea";

/// Clients who sell tea, one at a time.
fn shop() -> SimulationBuilder {
    Simulation::builder()
        .replicas(4)
        .prefix("stock/", Strategy::CrdtMerge)
        .weather(Weather::network())
        .writes(60)
        .workload(|turn| {
            let mut sold: PnCounter<ReplicaId> = turn.crdt(TEA, "sold");
            sold.increment(turn.replica().clone(), 1).expect("a few");
            turn.put_crdt(TEA, "sold", &sold);
            turn.note(1);
        })
}

#[test]
fn crdts_of_ones_own_fields_join_and_an_invariant_that_holds_is_not_violated() {
    let simulation = shop()
        .invariant("everything sold is counted", |verdict| {
            let noted = i128::try_from(verdict.acknowledged().count()).expect("a few");
            for island in verdict.islands() {
                let sold: Option<PnCounter<ReplicaId>> = island.crdt(TEA, "sold");
                let sold = sold.map_or(0, |sold| sold.value());
                if sold != noted {
                    return Err(format!("{} of {noted} at {}", sold, island.name()));
                }
            }
            Ok(())
        })
        .build();
    simulation.assert_sound(0..20);
    let survey = simulation.run_seeds(0..2);
    assert_eq!((survey.seeds, survey.failed, survey.writes), (2, 0, 120));
}

#[test]
fn an_invariant_that_does_not_hold_is_told_with_the_seed_and_a_trace() {
    let simulation = shop().invariant("nothing is sold", |_| Err("tea was sold".to_owned())).build();
    let told =
        catch_unwind(AssertUnwindSafe(|| simulation.assert_sound(3..5))).expect_err("it does not hold");
    let told = told.downcast_ref::<String>().expect("a text");
    for part in ["seed 3", "nothing is sold: tea was sold", "invariant", "calm"] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
}

#[test]
fn a_simulation_in_which_nothing_is_written_is_refused() {
    assert!(catch_unwind(|| Simulation::builder().build()).is_err());
    assert!(catch_unwind(|| Simulation::builder().entity("a").replicas(0).build()).is_err());
    let outcome = Simulation::builder().entities(["a", "b"]).replicas(2).build().run(0);
    outcome.assert_sound();
    assert!(outcome.writes > 0 && !outcome.trace.is_empty());
}
