//! A floor covers nothing that a member lacks. And as long as nothing but the log brings writes, none falls below one.

use archipelago_clock::{ReplicaId, VersionVector};

use super::Broken;

/// A floor is told while the members have applied this. What it takes over from the floor that its teller holds already,
/// others vouched for.
pub(in crate::simulation) fn told<'m>(
    floor: &VersionVector,
    held: &VersionVector,
    members: impl Iterator<Item = (&'m ReplicaId, &'m VersionVector)>,
) -> Result<(), Broken> {
    for (member, vector) in members {
        if let Some((origin, sequence)) =
            floor.iter().find(|(origin, sequence)| vector.get(origin).max(held.get(origin)) < *sequence)
        {
            let has = vector.get(origin);
            return Err((
                "floors",
                format!("a floor covers {sequence} of {origin}, and {member} has applied {has}"),
            ));
        }
    }
    Ok(())
}
