//! A store that really does one operation after the other, and its clients, who wait for answers that may be lost.

use std::collections::{BTreeMap, BTreeSet};

use archipelago_testkit::{
    history::{Consistency, History, KvOp, KvResult, LogEntry, Operation, Outcome},
    proptest::prelude::*,
};

/// What a client asks for, and what becomes of it. Instants are relative.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    process: u64,
    key: u8,
    ask: Ask,
    pause_ns: u64,
    /// Until it takes effect, and from then until it is answered.
    delays_ns: (u64, u64),
    fate: Fate,
}

#[derive(Clone, Copy, Debug)]
enum Ask {
    Read,
    Upsert,
    Create,
    Update,
    Delete,
    /// An upsert that expects the version that its key has when it is asked for, less this.
    Swap(u64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Answered,
    /// It takes effect as late as this, and the answer is lost.
    Lost(u64),
    /// It never arrives, and nobody knows.
    Vanished,
    Failed,
}

/// How many clients and keys there are, and what of each hundred operations is unknown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) processes: u64,
    pub(crate) keys: u8,
    pub(crate) unknown_percent: u32,
}

pub(crate) fn plans(size: Size, operations: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Plan>> {
    let ask = prop_oneof![
        6 => Just(Ask::Read),
        4 => Just(Ask::Upsert),
        1 => Just(Ask::Create),
        1 => Just(Ask::Update),
        2 => Just(Ask::Delete),
        2 => (0..2u64).prop_map(Ask::Swap),
    ];
    let fate = prop_oneof![
        95 - size.unknown_percent => Just(Fate::Answered),
        5 => Just(Fate::Failed),
        size.unknown_percent.div_ceil(2) => (0..200u64).prop_map(Fate::Lost),
        size.unknown_percent.div_ceil(2) => Just(Fate::Vanished),
    ];
    let plan = (0..size.processes, 0..size.keys, ask, 0..6u64, (0..10u64, 0..10u64), fate);
    let plan = plan.prop_map(|(process, key, ask, pause_ns, delays_ns, fate)| Plan {
        process,
        key,
        ask,
        pause_ns,
        delays_ns,
        fate,
    });
    proptest::collection::vec(plan, operations)
}

/// What the clients saw, and the log of the store.
pub(crate) fn simulate(plans: &[Plan]) -> (History, Vec<LogEntry>) {
    let mut clocks: BTreeMap<u64, u64> = BTreeMap::new();
    let mut moments = BTreeSet::new();
    let mut operations = Vec::new();
    for (place, plan) in plans.iter().enumerate() {
        let clock = clocks.entry(plan.process).or_default();
        let invoked_ns = *clock + plan.pause_ns;
        let effect_ns = invoked_ns + plan.delays_ns.0;
        let completed_ns = effect_ns + plan.delays_ns.1;
        *clock = completed_ns + 1;
        moments.insert((invoked_ns, place, "begins"));
        match plan.fate {
            Fate::Answered => moments.insert((effect_ns, place, "takes effect")),
            Fate::Lost(late_ns) => moments.insert((effect_ns + late_ns, place, "takes effect")),
            Fate::Vanished | Fate::Failed => false,
        };
        let outcome = match plan.fate {
            Fate::Failed => Outcome::Failed { completed_ns },
            Fate::Answered => Outcome::Ok { result: KvResult::Refused, completed_ns },
            Fate::Lost(_) | Fate::Vanished => Outcome::Unknown,
        };
        let (process, id) = (plan.process, place as u64);
        operations.push(Operation { process, id, op: KvOp::read("x"), invoked_ns, outcome });
    }
    let mut log: Vec<LogEntry> = Vec::new();
    for (_, place, what) in moments {
        let operation = &mut operations[place];
        match what {
            "begins" => operation.op = asked(&plans[place], place, &log),
            _ => {
                let result = serve(&operation.op, &mut log);
                if let Outcome::Ok { result: answer, .. } = &mut operation.outcome {
                    *answer = result;
                }
            }
        }
    }
    (operations.into(), log)
}

fn asked(plan: &Plan, place: usize, log: &[LogEntry]) -> KvOp {
    let (key, value) = (format!("k{}", plan.key), format!("v{place}"));
    match plan.ask {
        Ask::Read => KvOp::read(key),
        Ask::Upsert => KvOp::upsert(key, value),
        Ask::Create => KvOp::create(key, value),
        Ask::Update => KvOp::update(key, value),
        Ask::Delete => KvOp::delete(key),
        Ask::Swap(less) => {
            let version = current(&key, log).map_or(0, |entry| entry.index);
            KvOp::upsert(key, value).expecting(version.saturating_sub(less))
        }
    }
}

fn current<'l>(key: &str, log: &'l [LogEntry]) -> Option<&'l LogEntry> {
    log.iter().rev().find(|entry| entry.key == key).filter(|entry| entry.value.is_some())
}

fn serve(op: &KvOp, log: &mut Vec<LogEntry>) -> KvResult {
    let current = current(op.key(), log);
    let refused = match op {
        KvOp::Read { .. } => {
            let value = current.and_then(|entry| Some((entry.value.clone()?, entry.index)));
            return KvResult::Value(value);
        }
        KvOp::Create { .. } => current.is_some(),
        KvOp::Update { .. } | KvOp::Delete { .. } => current.is_none(),
        KvOp::Upsert { .. } => false,
    };
    if refused {
        return KvResult::Refused;
    }
    if op.expected().is_some_and(|expected| expected != current.map_or(0, |entry| entry.index)) {
        return KvResult::Conflict;
    }
    let index = log.len() as u64 + 1;
    log.push(LogEntry { index, key: op.key().into(), value: op.value().map(str::to_owned) });
    KvResult::Written(index)
}

/// The same history with all reads of this consistency.
pub(crate) fn with_reads(history: &History, promised: Consistency) -> History {
    let mut operations = history.operations().to_vec();
    for operation in &mut operations {
        if let KvOp::Read { consistency, .. } = &mut operation.op {
            *consistency = promised;
        }
    }
    operations.into()
}
