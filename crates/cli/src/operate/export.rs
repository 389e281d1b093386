use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    client::Client,
    error::OperateError,
    output,
    pages::{Detail, Listed, Pages},
    place::{PlaceFile, Task, beside},
    store::AtRest,
    target::{FormArgs, NamespaceArgs, NodeArgs, StoreArgs},
};
use crate::{
    interrupt::Interrupt,
    progress::{Phase, Progress},
};

/// Write all entities as JSON Lines, `{"id": ..., "value": ...}`, which `import` reads.
///
/// To standard output, or with --to into a file: interrupted, the same command goes on where it was (how far it has come is in
/// FILE.place beside FILE.part). Values are as they are stored, so that nothing of a CRDT is lost. What is written
/// meanwhile may be in it or not.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only entities whose id begins so.
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: String,
    /// The file to write.
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    to: Option<PathBuf>,
    /// Show CRDTs as what they amount to: not for `import`, as they would be plain values then.
    #[arg(long)]
    readable: bool,
    #[command(flatten)]
    pub(super) form: FormArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// How far an export into a file has come.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Place {
    /// Where the next page begins.
    cursor: Option<String>,
    entities: u64,
    bytes: u64,
}

pub(super) async fn run(options: Options, interrupt: &Interrupt) -> Result<(), OperateError> {
    let detail = if options.readable { Detail::Values } else { Detail::Stored };
    let phase = Progress::new().phase("export", "entities", 0);
    if let Some(folder) = &options.store.store {
        return at_rest(folder, &options.prefix, detail, phase, interrupt).await;
    }
    let client = Client::new(&options.node)?;
    let pages = Pages::new(&client, &options.namespace.namespace, &options.prefix, detail);
    match &options.to {
        None => to_output(pages, phase, interrupt).await,
        Some(file) => {
            let entities = to_file(file, &client, &options, pages, phase, interrupt).await?;
            match options.form.json {
                true => output::json(&json!({ "entities": entities, "file": file })),
                false => output::line(format!("{entities} entities are in {}", file.display())),
            }
        }
    }
}

async fn at_rest(
    folder: &Path,
    prefix: &str,
    detail: Detail,
    phase: Phase,
    interrupt: &Interrupt,
) -> Result<(), OperateError> {
    let mut rows = interrupt.unless(AtRest::open(folder)).await?.rows(prefix, detail);
    let mut done = 0;
    while let Some(page) = interrupt.unless(rows.next()).await? {
        write(&mut io::stdout().lock(), &page).map_err(output::failed)?;
        done += page.len() as u64;
        phase.reach(done, "");
    }
    phase.finish();
    rows.end()
}

async fn to_output(mut pages: Pages, phase: Phase, interrupt: &Interrupt) -> Result<(), OperateError> {
    let mut done = 0;
    while let Some(page) = interrupt.unless(pages.next()).await? {
        write(&mut io::stdout().lock(), &page).map_err(output::failed)?;
        done += page.len() as u64;
        phase.reach(done, "");
    }
    phase.finish();
    Ok(())
}

async fn to_file(
    path: &Path,
    client: &Client,
    options: &Options,
    pages: Pages,
    phase: Phase,
    interrupt: &Interrupt,
) -> Result<u64, OperateError> {
    let task = Task {
        task: "export".into(),
        node: client.url(),
        namespace: options.namespace.namespace.clone(),
        what: format!(
            "prefix {:?}, {}",
            options.prefix,
            if options.readable { "readable" } else { "as stored" }
        ),
    };
    let (place_file, part) = (PlaceFile::beside(path), beside(path, ".part"));
    let failed = |source| OperateError::Write { path: part.clone(), source };
    let begun: Option<Place> = place_file.read(&task)?;
    if begun.is_none() && path.exists() {
        let reason = "it exists already; remove it, or choose another name".into();
        return Err(OperateError::File { path: path.to_owned(), reason });
    }
    let mut place = begun.unwrap_or_default();
    let mut file = reopened(&part, place.bytes).map_err(failed)?;
    if place.entities > 0 {
        phase.say(format!("going on behind {} entities", place.entities));
    }
    let mut pages = pages.after(place.cursor.clone());
    while let Some(page) = match interrupt.unless(pages.next()).await {
        Err(OperateError::Interrupted) => {
            return Err(OperateError::InterruptedAt { done: place.entities, unit: "entities" });
        }
        page => page?,
    } {
        place.bytes += write(&mut file, &page).map_err(failed)?;
        place.entities += page.len() as u64;
        if let Some(cursor) = pages.next_cursor() {
            place.cursor = Some(cursor.to_owned());
            place_file.write(&task, &place)?;
        }
        phase.reach(place.entities, "");
    }
    file.sync_all().map_err(failed)?;
    fs::rename(&part, path).map_err(|source| OperateError::Write { path: path.to_owned(), source })?;
    place_file.remove()?;
    phase.finish();
    Ok(place.entities)
}

/// The file, cut off behind what is known to be whole.
fn reopened(part: &Path, bytes: u64) -> io::Result<File> {
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(part)?;
    if file.metadata()?.len() < bytes {
        return Err(io::Error::other("it is shorter than its place says; remove both to begin anew"));
    }
    file.set_len(bytes)?;
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}

/// Writes the entities of a page, and tells how many bytes that were.
fn write(to: &mut impl Write, page: &[Listed]) -> io::Result<u64> {
    let mut lines = Vec::new();
    for Listed { id, value, .. } in page {
        serde_json::to_writer(&mut lines, &json!({ "id": id, "value": value }))?;
        lines.push(b'\n');
    }
    to.write_all(&lines)?;
    to.flush()?;
    Ok(lines.len() as u64)
}
