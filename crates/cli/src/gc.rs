//! `archipelago gc`: what of removed data could be forgotten, and who holds that back.

use std::{path::PathBuf, process::ExitCode};

use archipelago::{
    FjallStore, ReclaimReport,
    manager::{ReadError, reclaimable_in},
    store::StoreError,
};
use clap::Args;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};

/// Show what of removed data could be forgotten, and which member holds that back.
///
/// A removal leaves a tombstone behind, which goes by itself once every member of the namespace has applied the removal.
/// This reads the folder of a master that does not run, and changes nothing in it. What is known of the other members is
/// what this master had heard of them when it ran last. A member that never comes back must be retired, by
/// MultiMasterManager::retire on any running master.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only show it. Reclaiming itself needs no command.
    #[arg(long, required = true)]
    dry_run: bool,
    /// The folder of the master's store.
    #[arg(long, value_name = "DIR", env = "ARCHIPELAGO_STORE")]
    store: PathBuf,
    /// Name at most so many entities.
    #[arg(long, value_name = "N", default_value_t = 20)]
    entities: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0} is no folder; --store names the folder of a master")]
    NoFolder(PathBuf),
    #[error("cannot open the store: {0}")]
    Open(StoreError),
    #[error("cannot read the store: {0}")]
    Read(#[from] ReadError),
}

pub(crate) fn run(options: &Options) -> ExitCode {
    match report(options) {
        Ok(report) if options.json => {
            println!("{}", serde_json::json!(report));
            ExitCode::SUCCESS
        }
        Ok(report) => {
            print(&report);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn report(options: &Options) -> Result<ReclaimReport, Error> {
    if !options.store.is_dir() {
        // Opening would make it.
        return Err(Error::NoFolder(options.store.clone()));
    }
    let store = FjallStore::open(&options.store).map_err(Error::Open)?;
    Ok(reclaimable_in(&store, options.entities)?)
}

fn print(report: &ReclaimReport) {
    let ReclaimReport { tombstones, reclaimable, reclaimable_bytes, .. } = report;
    println!("{tombstones} tombstones, {reclaimable} of them could go: about {reclaimable_bytes} bytes");
    for entity in &report.entities {
        println!("  {:?}", entity.as_str());
    }
    let unnamed = reclaimable.saturating_sub(report.entities.len() as u64);
    if unnamed > 0 {
        println!("  and {unnamed} more (--entities names more of them)");
    }
    if report.held_back_by.is_empty() {
        return;
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["held back by", "tombstones", ""]);
    for held in &report.held_back_by {
        let note = if held.is_heard { "" } else { "never heard" };
        table.add_row([held.master_id.to_string(), held.tombstones.to_string(), note.to_owned()]);
    }
    println!("{table}");
}
