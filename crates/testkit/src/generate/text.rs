use archipelago_clock::ReplicaId;
use archipelago_crdt::Text;
use proptest::prelude::*;

use super::replicas;

/// Three texts of one history; what is beyond the end was refused.
pub fn texts() -> impl Strategy<Value = [Text; 3]> {
    let ops = (0..6usize, 0..3usize, "[a-c😀]{0,2}");
    replicas(ops, |text: &mut Text, actor, (start, len, new)| {
        let actor: ReplicaId = format!("r{actor}@{actor:016x}").parse().expect("a replica id");
        drop(text.replace(&actor, *start..start + len, new));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::crdt_laws!(Text, together: texts());
}
