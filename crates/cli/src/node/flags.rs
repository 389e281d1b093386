//! Every option of a node as a flag, made from the list that the configuration keeps itself.

use std::{collections::BTreeMap, path::PathBuf};

use archipelago_server::{
    Config, ConfigError, Sources,
    config::{flag, variable},
};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};

/// The variable that names the file.
const FILE_VARIABLE: &str = "ARCHIPELAGO_CONFIG";

/// The configuration of a node: a file, and flags that go before it.
#[derive(Clone, Debug)]
pub(crate) struct NodeFlags {
    file: Option<PathBuf>,
    flags: BTreeMap<String, String>,
}

impl NodeFlags {
    /// The configuration that flags, variables of the environment and the file give.
    pub(crate) fn load(self) -> Result<Config, ConfigError> {
        // A variable that is no text is none of ours.
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Config::load(&Sources { file: self.file, variables: variables.collect(), flags: self.flags })
    }
}

impl Args for NodeFlags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .env(FILE_VARIABLE)
            .value_parser(value_parser!(PathBuf))
            .help("The configuration, TOML; `archipelago config example` prints one");
        Config::options().iter().fold(command.arg(file), |command, option| {
            let help = format!("{} [env: {}]", option.doc.concat().trim(), variable(option));
            let flag = flag(option);
            command.arg(Arg::new(flag.clone()).long(flag).value_name("VALUE").help(help))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for NodeFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = Config::options().into_iter().filter_map(|option| {
            let flag = flag(&option);
            let value = matches.get_one::<String>(&flag)?.clone();
            Some((flag, value))
        });
        Ok(NodeFlags { file: matches.get_one("config").cloned(), flags: given.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
