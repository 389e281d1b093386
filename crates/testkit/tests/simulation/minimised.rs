use archipelago_testkit::simulation::{Act, Detail, Regression, Simulation, Weather};

/// Fails as soon as two replicas have admitted writes of the same entity, whatever else happens.
fn two_writers() -> Simulation {
    Simulation::builder()
        .name("two-writers")
        .replicas(5)
        .entities(["a", "b", "c"])
        .weather(Weather::mixed())
        .writes(100)
        .invariant("one writer", |verdict| {
            let of_a: Vec<usize> = verdict.ledger().of(&"a".into()).map(|write| write.island).collect();
            match of_a.iter().find(|island| **island != of_a[0]) {
                Some(other) => Err(format!("{} and {other} have written", of_a[0])),
                None => Ok(()),
            }
        })
        .build()
}

#[test]
fn a_failing_case_is_made_as_small_as_it_will_go() {
    let simulation = two_writers();
    let whole = simulation.scenario().case(1);
    let found = simulation.minimise(1).expect("five replicas have more than one writer");
    assert_eq!(found.violation.checker, "invariant");
    assert!(found.violation.detail.starts_with("one writer: "), "{}", found.violation.detail);
    let steps = &found.case.steps;
    assert!(whole.steps.len() > 50, "{}", whole.steps.len());
    assert_eq!(steps.len(), 2, "{steps:?}");
    assert!(steps.iter().all(|step| matches!(step.act, Act::Write { .. })), "{steps:?}");
    let settings = &found.case.settings;
    assert_eq!((settings.replicas, settings.loss_permille, settings.gossip_permille), (2, 0, 0));
    let again = simulation.scenario().run(&found.case, Detail::Untraced).violation;
    assert_eq!(again, Some(found.violation));
}

#[test]
fn making_a_case_small_keeps_to_the_runs_that_it_may_take() {
    let simulation = two_writers();
    let found = simulation.scenario().minimise(&simulation.scenario().case(1), 5).expect("it fails");
    assert_eq!(found.runs, 5);
}

#[test]
fn a_case_that_does_not_fail_is_not_made_small() {
    let scenario = archipelago_testkit::simulation::Scenario::named("calm").expect("it is built in");
    assert!(scenario.minimise(&scenario.case(0), 100).is_none());
}

#[test]
fn a_kept_case_comes_back_as_it_was() {
    let found = two_writers().minimise(1).expect("it fails");
    let folder = tempfile::tempdir().expect("a folder");
    let kept = Regression::new(&found);
    let path = kept.write(&folder.path().join("new")).expect("it can be written");
    assert_eq!(path.file_name().and_then(|name| name.to_str()), Some("two-writers-invariant-1.json"));
    assert_eq!(Regression::read(&path).expect("it was written"), kept);
    std::fs::write(&path, "{}").expect("it can be written");
    assert!(Regression::read(&path).is_err());
}

#[test]
fn a_panic_is_a_violation_and_is_made_small_too() {
    let simulation = Simulation::builder()
        .replicas(3)
        .workload(|turn| {
            assert!(turn.island() != 2, "the third replica");
            turn.put("a", 1);
        })
        .build();
    let found = simulation.minimise(0).expect("somebody takes a turn at the third replica");
    assert_eq!(found.violation.checker, "panic");
    assert!(found.violation.detail.contains("the third replica"), "{}", found.violation.detail);
    assert_eq!(found.case.steps.len(), 1);
}
