use clap::ValueEnum;

use crate::{
    broker::Servers,
    failure::{Failure, Outcome},
};

/// The faults of a command.
pub(crate) trait Kind: ValueEnum + Copy {
    /// Whether there is such a thing with so many servers.
    fn is_of(self, servers: Servers) -> bool;

    /// As it is written on the command line and in reports.
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Those that are wanted, or else all that there are.
pub(crate) fn chosen<K: Kind>(only: &[K], servers: Servers) -> Outcome<Vec<K>> {
    if let Some(fault) = only.iter().find(|fault| !fault.is_of(servers)) {
        let instead = match servers {
            Servers::Single => "add",
            Servers::Cluster => "leave out",
        };
        return Err(Failure::Broken(format!("for `{}`, {instead} --cluster", fault.name())));
    }
    let all = K::value_variants().iter().copied();
    Ok(match only {
        [] => all.filter(|fault| fault.is_of(servers)).collect(),
        only => only.to_vec(),
    })
}
