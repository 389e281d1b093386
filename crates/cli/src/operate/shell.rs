//! `completions` and `man`: what a system knows of this program, made of the arguments themselves.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{error::OperateError, output};

/// Print the completions of a shell.
///
/// For bash: archipelago completions bash > /etc/bash_completion.d/archipelago
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

/// Print the manual page, or write those of all commands into a folder.
///
/// archipelago man | man -l -
#[derive(Debug, Args)]
pub(crate) struct ManPages {
    /// Write a page for each command into this folder, archipelago-COMMAND.1.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(options: &Completions, program: &Command) -> Result<(), OperateError> {
    let mut text = Vec::new();
    // Shells would offer hidden commands, too.
    let visible = program.get_subcommands().filter(|command| !command.is_hide_set());
    let mut shown = Command::new("archipelago")
        .version(env!("CARGO_PKG_VERSION"))
        .args(program.get_arguments())
        .subcommands(visible.cloned());
    clap_complete::generate(options.shell, &mut shown, "archipelago", &mut text);
    io::stdout().write_all(&text).map_err(output::failed)
}

pub(super) fn man(options: &ManPages, program: Command) -> Result<(), OperateError> {
    let Some(dir) = &options.dir else {
        let mut page = Vec::new();
        Man::new(program).render(&mut page).map_err(OperateError::Output)?;
        return io::stdout().write_all(&page).map_err(output::failed);
    };
    fs::create_dir_all(dir).map_err(|source| OperateError::Write { path: dir.clone(), source })?;
    pages(&program, "archipelago".into(), dir)
}

/// The page of a command, and those of the commands below it.
fn pages(command: &Command, name: String, dir: &Path) -> Result<(), OperateError> {
    let path = dir.join(format!("{name}.1"));
    let failed = |source| OperateError::Write { path: path.clone(), source };
    let mut page = Vec::new();
    Man::new(command.clone().name(name.clone())).render(&mut page).map_err(failed)?;
    fs::write(&path, page).map_err(failed)?;
    let mut visible = command.get_subcommands().filter(|command| !command.is_hide_set());
    visible.try_for_each(|below| pages(below, format!("{name}-{}", below.get_name()), dir))
}
