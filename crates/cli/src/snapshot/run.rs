use std::{path::Path, process::ExitCode, sync::Arc};

use archipelago::{
    FjallStore, SnapshotStoreError,
    manager::{
        SnapshotError, SnapshotInfo, SnapshotProgress,
        snapshot::{SnapshotReader, SnapshotRestore, snapshot_at_rest},
    },
    proto::Limits,
    store::{Store, StoreError},
};
use serde_json::{Value, json};

use super::{
    error::CommandError,
    options::{Action, Options},
    place::{Place, Use},
    report,
};
use crate::{
    interrupt::{Interrupt, Interrupted},
    progress::{Phase, Progress},
};

/// The file that every folder of a store has.
const STORE_MARKER: &str = "FORMAT";

/// Runs a command to its end, and tells of it.
pub(crate) async fn run(options: Options) -> ExitCode {
    let interrupt = Interrupt::listen();
    let outcome = perform(&options, &interrupt).await;
    if let Err(error) = &outcome {
        eprintln!("error: {error}");
    }
    if options.json {
        let report =
            outcome.as_ref().map_or_else(|error| json!({ "error": error.to_string() }), Value::clone);
        println!("{report}");
    }
    match outcome {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(error.exit_status()),
    }
}

/// The report for machines; what is for people is said.
async fn perform(options: &Options, interrupt: &Interrupt) -> Result<Value, CommandError> {
    let credentials = options.nats_creds.as_deref();
    let open = |given: &String, namespace: &Option<String>, wanted: Use| {
        let (given, namespace) = (given.clone(), namespace.clone());
        async move { Place::open(&given, namespace.as_deref(), credentials, wanted).await }
    };
    let shown = |line: String| if options.json { eprintln!("{line}") } else { println!("{line}") };
    match &options.action {
        Action::Create { store, master_id, namespace, to } => {
            let place = interrupt.unless(open(to, namespace, Use::Write)).await?;
            let expected = (master_id.as_deref(), namespace.as_deref());
            let info = create(store, expected, &place, interrupt).await?;
            shown(format!("made {}", report::line(&info)));
            Ok(report::json(&info))
        }
        Action::List { from, namespace } => {
            let place = interrupt.unless(open(from, namespace, Use::Read)).await?;
            let found = interrupt.unless(list(&place, namespace.as_deref())).await?;
            shown(match found.is_empty() {
                true => format!("no snapshots in {}", place.shown),
                false => report::table(&found),
            });
            let of = |(name, info): &(String, Result<SnapshotInfo, String>)| match info {
                Ok(info) => report::json(info),
                Err(reason) => json!({ "name": name, "error": reason }),
            };
            Ok(json!({ "snapshots": found.iter().map(of).collect::<Vec<_>>() }))
        }
        Action::Verify { from, name, namespace } => {
            let place = interrupt.unless(open(from, namespace, Use::Read)).await?;
            let info = interrupt.unless(verify(&place, name.as_deref(), namespace.as_deref())).await?;
            shown(format!("whole: {}", report::line(&info)));
            Ok(report::json(&info))
        }
        Action::Restore { from, name, store, master_id, namespace } => {
            let place = interrupt.unless(open(from, &Some(namespace.clone()), Use::Read)).await?;
            let to = (&**master_id, &**namespace);
            let info = restore(&place, name.as_deref(), store, to, interrupt).await?;
            shown(format!("restored {}", report::line(&info)));
            shown(format!(
                "a master {master_id:?} of the namespace {namespace:?} can be started on {store:?}"
            ));
            Ok(report::json(&info))
        }
    }
}

async fn create(
    store: &Path,
    expected: (Option<&str>, Option<&str>),
    place: &Place,
    interrupt: &Interrupt,
) -> Result<SnapshotInfo, CommandError> {
    // To open it would make one.
    if !store.join(STORE_MARKER).is_file() {
        return Err(CommandError::NoStore { folder: store.to_owned() });
    }
    let store = open_store(store).await?;
    let progress = Progress::new();
    let phase = progress.phase("create", "entities", 0);
    let tell = |progress: SnapshotProgress| phase.reach(progress.entities, "");
    let limits = Limits::default();
    let making = snapshot_at_rest(store.clone(), &*place.snapshots, expected, &limits, tell);
    let made = interrupt.unless(async { Ok(making.await?) }).await;
    close(store).await?;
    let made = made.map_err(|error| match error {
        CommandError::Interrupted => CommandError::CreateInterrupted,
        error => error,
    })?;
    phase.finish();
    Ok(made)
}

/// Each with what it is, or why that cannot be told.
async fn list(
    place: &Place,
    namespace: Option<&str>,
) -> Result<Vec<(String, Result<SnapshotInfo, String>)>, CommandError> {
    let mut found = Vec::new();
    for name in place.snapshots.list().await? {
        match SnapshotReader::open(&*place.snapshots, &name, &Limits::default()).await {
            Ok(reader) if namespace.is_some_and(|namespace| reader.info().namespace != namespace) => {}
            Ok(reader) => found.push((name, Ok(reader.info()))),
            Err(SnapshotError::Snapshots(SnapshotStoreError::NotFound { .. })) => {}
            Err(error) => found.push((name, Err(error.to_string()))),
        }
    }
    found.sort_by_key(|(_, info)| info.as_ref().map_or(0, |info| info.made_unix_ms));
    Ok(found)
}

/// The snapshot that was named, or else the newest.
async fn choose(place: &Place, name: Option<&str>, namespace: Option<&str>) -> Result<String, CommandError> {
    if let Some(name) = name {
        return Ok(name.to_owned());
    }
    let newest = list(place, namespace).await?.pop();
    newest.map(|(name, _)| name).ok_or_else(|| CommandError::NoSnapshot {
        place: place.shown.clone(),
        namespace: namespace.map(str::to_owned),
    })
}

async fn verify(
    place: &Place,
    name: Option<&str>,
    namespace: Option<&str>,
) -> Result<SnapshotInfo, CommandError> {
    let name = choose(place, name, namespace).await?;
    let mut reader = SnapshotReader::open(&*place.snapshots, &name, &Limits::default()).await?;
    let phase = begin("verify", reader.progress());
    while reader.check_next().await? {
        tell(&phase, reader.progress());
    }
    phase.finish();
    Ok(reader.info())
}

async fn restore(
    place: &Place,
    name: Option<&str>,
    store: &Path,
    to: (&str, &str),
    interrupt: &Interrupt,
) -> Result<SnapshotInfo, CommandError> {
    let name = interrupt.unless(choose(place, name, Some(to.1))).await?;
    // Before the folder is made: a wrong name or place must leave nothing behind.
    let limits = Limits::default();
    let reader = async { Ok(SnapshotReader::open(&*place.snapshots, &name, &limits).await?) };
    interrupt.unless::<_, CommandError>(reader).await?;
    let store = open_store(store).await?;
    let restored = fill(place, &name, store.clone(), to, interrupt).await;
    close(store).await?;
    restored
}

async fn fill(
    place: &Place,
    name: &str,
    store: Arc<dyn Store>,
    to: (&str, &str),
    interrupt: &Interrupt,
) -> Result<SnapshotInfo, CommandError> {
    let limits = Limits::default();
    let mut restore = SnapshotRestore::begin(&*place.snapshots, name, store, to, &limits).await?;
    let begun = restore.progress();
    if begun.chunks > 0 {
        eprintln!("going on behind chunk {} of {}", begun.chunks, begun.chunks_in_all);
    }
    let phase = begin("restore", begun);
    // Only between two chunks, so that how far it came can be told.
    while interrupt.unless(std::future::ready(Ok::<_, Interrupted>(()))).await.is_ok() {
        if !restore.restore_next().await? {
            phase.finish();
            return Ok(restore.info());
        }
        tell(&phase, restore.progress());
    }
    let SnapshotProgress { chunks, chunks_in_all, .. } = restore.progress();
    Err(CommandError::RestoreInterrupted { chunks, chunks_in_all })
}

fn begin(name: &'static str, progress: SnapshotProgress) -> Phase {
    let phase = Progress::new().phase(name, "entities", progress.entities_in_all);
    tell(&phase, progress);
    phase
}

fn tell(phase: &Phase, progress: SnapshotProgress) {
    phase.reach(progress.entities, &format!("chunk {} of {}", progress.chunks, progress.chunks_in_all));
}

async fn open_store(folder: &Path) -> Result<Arc<dyn Store>, CommandError> {
    let folder = folder.to_owned();
    let opened = tokio::task::spawn_blocking(move || FjallStore::open(folder)).await;
    Ok(Arc::new(opened.map_err(|_| StoreError::Closed)??))
}

async fn close(store: Arc<dyn Store>) -> Result<(), CommandError> {
    Ok(tokio::task::spawn_blocking(move || store.close()).await.map_err(|_| StoreError::Closed)??)
}
