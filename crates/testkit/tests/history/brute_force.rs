//! The definition of linearizability, tried out: every order of every choice of unknown operations, with every version
//! that an unknown write may have had. Shares nothing with the checker.

use archipelago_testkit::history::{History, KvOp, KvResult, Operation, Outcome};

type Key = (Option<String>, u64);

/// Whether a history of one key, of linearizable reads and writes, is linearizable.
pub(crate) fn is_linearizable(history: &History) -> bool {
    let operations: Vec<&Operation> = history.operations().iter().collect();
    let told = operations.iter().filter_map(|operation| match operation.result()? {
        KvResult::Written(version) | KvResult::Value(Some((_, version))) => Some(*version),
        _ => None,
    });
    let expected = operations.iter().filter_map(|operation| operation.op.expected());
    // Beyond what anybody names, one version is as good as another, if there is one for each operation.
    let versions_max = told.chain(expected).max().unwrap_or(0) + operations.len() as u64 + 1;
    continues(&operations, &(None, 0), versions_max)
}

fn continues(left: &[&Operation], key: &Key, versions_max: u64) -> bool {
    if left.iter().all(|operation| operation.result().is_none()) {
        return true;
    }
    let may_be_next = |next: &&&Operation| {
        left.iter().all(|other| match other.outcome {
            Outcome::Ok { completed_ns, .. } => completed_ns >= next.invoked_ns,
            _ => true,
        })
    };
    left.iter().filter(may_be_next).any(|&next| {
        let others: Vec<&Operation> =
            left.iter().filter(|other| !std::ptr::eq(**other, next)).copied().collect();
        let after = match &next.outcome {
            Outcome::Ok { result, .. } => answers(&next.op, key, result),
            Outcome::Failed { .. } => vec![],
            Outcome::Unknown => {
                let versions = key.1 + 1..=versions_max;
                versions.flat_map(|version| answers(&next.op, key, &KvResult::Written(version))).collect()
            }
        };
        after.iter().any(|after| continues(&others, after, versions_max))
    })
}

/// The key after the operation, if this is how a store could answer.
fn answers(op: &KvOp, key: &Key, result: &KvResult) -> Vec<Key> {
    let (value, last) = key;
    let current = if value.is_some() { *last } else { 0 };
    let matches = op.expected().is_none_or(|expected| expected == current);
    let exists_as_needed = match op {
        KvOp::Create { .. } => value.is_none(),
        KvOp::Update { .. } | KvOp::Delete { .. } => value.is_some(),
        _ => true,
    };
    let after = match (op, result) {
        (KvOp::Read { .. }, KvResult::Value(None)) => value.is_none().then(|| key.clone()),
        (KvOp::Read { .. }, KvResult::Value(Some((read, version)))) => {
            (value.as_ref() == Some(read) && last == version).then(|| key.clone())
        }
        (KvOp::Read { .. }, _) | (_, KvResult::Value(_)) => None,
        (_, KvResult::Refused) => (!exists_as_needed).then(|| key.clone()),
        (_, KvResult::Conflict) => (!matches).then(|| key.clone()),
        (_, KvResult::Written(version)) => {
            (matches && exists_as_needed && version > last).then(|| (op.value().map(str::to_owned), *version))
        }
    };
    after.into_iter().collect()
}
