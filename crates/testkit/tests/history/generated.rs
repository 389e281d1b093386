use archipelago_testkit::{
    history::{
        AcknowledgedViolation, Consistency, History, KvRegister, KvResult, LinearizabilityError, LogEntry,
        Operation, Outcome, SessionScope, check_acknowledged, check_linearizable, check_model, check_session,
        check_staleness,
    },
    proptest::{prelude::*, sample::Index},
};

use crate::{
    brute_force,
    simulated::{Size, plans, simulate, with_reads},
};

const SMALL: Size = Size { processes: 3, keys: 1, unknown_percent: 30 };
const LARGE: Size = Size { processes: 6, keys: 3, unknown_percent: 15 };

/// Ways to spoil a history; each may leave it legal, which only the definition tells.
#[derive(Clone, Debug)]
enum Mutation {
    /// A read gets the answer of another read.
    StaleRead(Index, Index),
    /// A read returns the value of some write.
    Resurrected(Index, Index),
    /// A write is taken away.
    Dropped(Index),
    /// Two operations change their times.
    Swapped(Index, Index),
    /// An answered operation gets another answer.
    Answered(Index, KvResult),
    /// What was answered is unknown.
    Forgotten(Index),
    /// What was unknown has failed.
    Failed(Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<Index>;
    let answer = prop_oneof![
        Just(KvResult::Refused),
        Just(KvResult::Conflict),
        Just(KvResult::Value(None)),
        (1..8u64).prop_map(KvResult::Written),
    ];
    prop_oneof![
        (index(), index()).prop_map(|(one, other)| Mutation::StaleRead(one, other)),
        (index(), index()).prop_map(|(one, other)| Mutation::Resurrected(one, other)),
        index().prop_map(Mutation::Dropped),
        (index(), index()).prop_map(|(one, other)| Mutation::Swapped(one, other)),
        (index(), answer).prop_map(|(one, answer)| Mutation::Answered(one, answer)),
        index().prop_map(Mutation::Forgotten),
        index().prop_map(Mutation::Failed),
    ]
}

fn pick(operations: &[Operation], index: &Index, is_it: impl Fn(&Operation) -> bool) -> Option<usize> {
    let fitting: Vec<usize> = (0..operations.len()).filter(|place| is_it(&operations[*place])).collect();
    (!fitting.is_empty()).then(|| *index.get(&fitting))
}

fn is_read(operation: &Operation) -> bool {
    matches!(operation.result(), Some(KvResult::Value(_)))
}

fn set_result(operation: &mut Operation, answer: KvResult) {
    if let Outcome::Ok { result, .. } = &mut operation.outcome {
        *result = answer;
    }
}

/// Nothing, if there is nothing to spoil in this way.
fn spoil(operations: &mut Vec<Operation>, mutation: &Mutation) -> Option<()> {
    match mutation {
        Mutation::StaleRead(one, other) => {
            let (to, from) = (pick(operations, one, is_read)?, pick(operations, other, is_read)?);
            let answer = operations[from].result()?.clone();
            set_result(&mut operations[to], answer);
        }
        Mutation::Resurrected(one, other) => {
            let to = pick(operations, one, is_read)?;
            let is_write = |operation: &Operation| matches!(operation.result(), Some(KvResult::Written(_)));
            let write =
                &operations[pick(operations, other, |write| is_write(write) && write.op.value().is_some())?];
            let Some(KvResult::Written(version)) = write.result() else { return None };
            let answer = KvResult::Value(Some((write.op.value()?.to_owned(), *version)));
            set_result(&mut operations[to], answer);
        }
        Mutation::Dropped(one) => {
            let place = pick(operations, one, |operation| operation.op.consistency().is_none())?;
            operations.remove(place);
        }
        Mutation::Swapped(one, other) => {
            let is_answered = |operation: &Operation| operation.result().is_some();
            let (one, other) = (pick(operations, one, is_answered)?, pick(operations, other, is_answered)?);
            let times = |operation: &Operation| Some((operation.invoked_ns, operation.completed_ns()?));
            let (of_one, of_other) = (times(&operations[one])?, times(&operations[other])?);
            for (place, (invoked, completed)) in [(one, of_other), (other, of_one)] {
                operations[place].invoked_ns = invoked;
                if let Outcome::Ok { completed_ns, .. } = &mut operations[place].outcome {
                    *completed_ns = completed;
                }
            }
        }
        Mutation::Answered(one, answer) => {
            let place = pick(operations, one, |operation| operation.result().is_some())?;
            set_result(&mut operations[place], answer.clone());
        }
        Mutation::Forgotten(one) => {
            let place = pick(operations, one, |operation| operation.result().is_some())?;
            operations[place].outcome = Outcome::Unknown;
        }
        Mutation::Failed(one) => {
            let place = pick(operations, one, Operation::is_unknown)?;
            operations[place].outcome = Outcome::Failed { completed_ns: u64::MAX };
        }
    }
    Some(())
}

fn verdict(history: &History) -> bool {
    match check_linearizable(history) {
        Ok(_) => true,
        Err(LinearizabilityError::Violated(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Reads that are certainly too old: another one saw, or a write was answered with, a greater version of the key before
/// they were asked for.
fn a_stale_read(history: &History, one: &Index, other: &Index) -> Option<(usize, History)> {
    let mut operations = history.operations().to_vec();
    let seen = |operation: &Operation| match operation.result()? {
        KvResult::Value(Some((value, version))) => Some((value.clone(), *version)),
        KvResult::Written(version) => Some((operation.op.value()?.to_owned(), *version)),
        _ => None,
    };
    let to = pick(&operations, one, is_read)?;
    let read = operations[to].clone();
    let ended_before =
        |operation: &Operation| operation.completed_ns().is_some_and(|end| end < read.invoked_ns);
    let of_key = |operation: &Operation| operation.op.key() == read.op.key();
    let newest = operations
        .iter()
        .filter(|operation| {
            of_key(operation) && ended_before(operation) && operation.op.consistency().is_none()
        })
        .filter_map(&seen)
        .max_by_key(|(_, version)| *version)?;
    let is_older = |operation: &Operation| {
        of_key(operation) && seen(operation).is_some_and(|(_, version)| version < newest.1)
    };
    let from = pick(&operations, other, is_older)?;
    let answer = KvResult::Value(seen(&operations[from]));
    set_result(&mut operations[to], answer);
    Some((to, operations.into()))
}

fn is_lost(violation: &AcknowledgedViolation) -> bool {
    matches!(violation, AcknowledgedViolation::Lost { .. })
}

fn is_duplicated(violation: &AcknowledgedViolation) -> bool {
    matches!(violation, AcknowledgedViolation::Duplicated { .. })
}

fn is_invented(violation: &AcknowledgedViolation) -> bool {
    matches!(violation, AcknowledgedViolation::Invented { .. })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_verdict_on_spoilt_small_histories_is_that_of_the_definition(
        plans in plans(SMALL, 1..7),
        mutations in proptest::collection::vec(mutation(), 0..3),
    ) {
        let mut operations = simulate(&plans).0.operations().to_vec();
        for mutation in &mutations {
            // A history may have nothing to spoil in this way; the next one has.
            let _ = spoil(&mut operations, mutation);
        }
        let history = History::from(operations);
        let expected = brute_force::is_linearizable(&history);
        prop_assert_eq!(verdict(&history), expected, "{:#?}", history);
    }

    #[test]
    fn a_low_limit_leaves_a_history_undecided_but_never_makes_the_verdict_wrong(
        plans in plans(SMALL, 1..7),
        mutations in proptest::collection::vec(mutation(), 0..3),
        states_max in 1..100u64,
    ) {
        let mut operations = simulate(&plans).0.operations().to_vec();
        for mutation in &mutations {
            let _ = spoil(&mut operations, mutation);
        }
        let history = History::from(operations);
        let is_legal = match check_model(&KvRegister, &history, states_max) {
            Err(LinearizabilityError::Undecided { .. }) => return Ok(()),
            verdict => verdict.is_ok(),
        };
        prop_assert_eq!(is_legal, brute_force::is_linearizable(&history), "{:#?}", history);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_store_that_is_linearizable_passes_every_check(plans in plans(LARGE, 1..200)) {
        let (history, log) = simulate(&plans);
        prop_assert!(verdict(&history));
        let sum = check_acknowledged(&history, &log).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let entries = sum.acknowledged..=sum.acknowledged + sum.unknown;
        prop_assert!(entries.contains(&log.len()), "{sum:?}, {} entries", log.len());
        let of_session = with_reads(&history, Consistency::Session);
        for scope in [SessionScope::Key, SessionScope::Log] {
            prop_assert_eq!(check_session(&of_session, scope), Ok(()));
        }
        for bound_ns in [0, 5, 50] {
            let bounded = with_reads(&history, Consistency::BoundedStaleness { bound_ns });
            prop_assert_eq!(check_staleness(&bounded), Ok(()));
        }
    }

    #[test]
    fn a_read_older_than_what_was_acknowledged_is_always_found(
        plans in plans(LARGE, 30..200),
        one in any::<Index>(),
        other in any::<Index>(),
    ) {
        let (history, _) = simulate(&plans);
        let Some((place, stale)) = a_stale_read(&history, &one, &other) else { return Ok(()) };
        prop_assert!(!verdict(&stale));
        let found = check_staleness(&stale).expect_err("it is older than the bound 0");
        let read = stale.operations()[place].to_string();
        prop_assert!(found.to_string().contains(&read), "{}", found);
    }

    #[test]
    fn a_log_that_lost_repeated_or_made_up_an_entry_is_found(
        plans in plans(LARGE, 10..100),
        one in any::<Index>(),
    ) {
        let (history, log) = simulate(&plans);
        let is_acknowledged = |entry: &&LogEntry| {
            let is_it = |operation: &Operation| operation.result() == Some(&KvResult::Written(entry.index));
            history.operations().iter().any(is_it)
        };
        let acknowledged: Vec<&LogEntry> = log.iter().filter(is_acknowledged).collect();
        prop_assume!(!acknowledged.is_empty());
        let entry = *one.get(&acknowledged);
        let found = |log: &[LogEntry], is_it: fn(&AcknowledgedViolation) -> bool| {
            check_acknowledged(&history, log).is_err_and(|violations| violations.iter().any(is_it))
        };

        let lost: Vec<LogEntry> = log.iter().filter(|other| *other != entry).cloned().collect();
        prop_assert!(found(&lost, is_lost));

        let again = LogEntry { index: log.len() as u64 + 1, ..entry.clone() };
        let repeated = [&log[..], &[again]].concat();
        if entry.value.is_some() {
            prop_assert!(found(&repeated, is_duplicated));
        }

        let other = LogEntry { value: Some("nobody's".into()), ..entry.clone() };
        let made_up: Vec<LogEntry> =
            log.iter().map(|known| if known == entry { other.clone() } else { known.clone() }).collect();
        prop_assert!(found(&made_up, is_invented));
    }
}
