//! The folder of a store, read without changing anything in it.
//!
//! To open a store may write: a batch that a crash tore is cut off its journal. So what is opened is a copy in a temporary
//! folder. What a store never changes once it is there, its tables, is linked and not copied if the temporary folder is on
//! the same disk (`TMPDIR` says where it is).

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use archipelago::{
    EntityView, FjallStore,
    manager::{
        EntityAtRest, MasterAtRest,
        subscriber::{DeadLetterAtRest, dead_letters_in},
    },
    store::Store,
};
use serde::Serialize;
use serde_json::Value;
use tempfile::TempDir;

use super::{
    error::OperateError,
    pages::{Detail, Listed},
};

/// What the folder of a store has: see the documentation of the crate `archipelago-store-fjall`.
const LOCK_FILE: &str = "LOCK";
const FORMAT_FILE: &str = "FORMAT";
const DATABASE: &str = "db";
/// The folders whose files never change.
const UNCHANGING: [&str; 2] = ["tables", "blobs"];

/// How many entities are read at a time.
const PAGE_ENTITIES: usize = 256;

/// A store that no node runs on.
#[derive(Debug)]
pub(super) struct AtRest {
    folder: PathBuf,
    master: MasterAtRest,
    // Last, so that the store is closed before its copy goes.
    _copy: TempDir,
}

/// What a store holds, in numbers.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    pub(super) master: String,
    pub(super) namespace: String,
    pub(super) vector: BTreeMap<String, u64>,
    pub(super) entities: u64,
    pub(super) tombstones: u64,
    pub(super) conflicted: u64,
    pub(super) outbox: u64,
    /// The ids of entities that cannot be read.
    pub(super) damaged: Vec<String>,
}

/// The entities of a store, page by page.
#[derive(Debug)]
pub(super) struct Rows {
    store: Arc<AtRest>,
    prefix: String,
    detail: Detail,
    after: Option<Vec<u8>>,
    damaged: u64,
}

impl AtRest {
    pub(super) async fn open(folder: &Path) -> Result<AtRest, OperateError> {
        let folder = folder.to_owned();
        blocking(move || AtRest::open_now(folder)).await
    }

    fn open_now(folder: PathBuf) -> Result<AtRest, OperateError> {
        let (store, copy) = AtRest::copy(&folder)?;
        let master = MasterAtRest::open(store).map_err(|error| not_readable(&folder, &error))?;
        let none = || OperateError::Store(format!("no master ever ran on {}", folder.display()));
        let master = master.ok_or_else(none)?;
        Ok(AtRest { folder, master, _copy: copy })
    }

    /// The events that subscribers put aside into a store; no master need ever have run on it.
    pub(super) async fn dead_letters(
        folder: &Path,
        subscriber: Option<String>,
        limit: usize,
    ) -> Result<Vec<DeadLetterAtRest>, OperateError> {
        let folder = folder.to_owned();
        blocking(move || {
            let (store, _copy) = AtRest::copy(&folder)?;
            let store: Arc<dyn Store> = store;
            dead_letters_in(&store, subscriber.as_deref(), limit)
                .map_err(|error| not_readable(&folder, &error))
        })
        .await
    }

    fn copy(folder: &Path) -> Result<(Arc<FjallStore>, TempDir), OperateError> {
        let folder = folder.to_owned();
        let shown = folder.display().to_string();
        let failed = |source| OperateError::Read { path: folder.clone(), source };
        if !folder.join(FORMAT_FILE).is_file() || !folder.join(DATABASE).is_dir() {
            let reason = format!(
                "there is no store in {shown}; --store names the folder of a namespace, which has the file {FORMAT_FILE}"
            );
            return Err(OperateError::Store(reason));
        }
        let copy = tempfile::Builder::new().prefix("archipelago-store-").tempdir();
        let copy = copy.map_err(|source| OperateError::Write { path: std::env::temp_dir(), source })?;
        // Held until all is copied. A node keeps it for itself as long as it runs.
        let lock = match File::open(folder.join(LOCK_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            lock => Some(lock.map_err(failed)?),
        };
        match lock.as_ref().map_or(Ok(()), File::try_lock_shared) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let reason = format!("a node runs on {shown}; ask it with --node instead of --store");
                return Err(OperateError::Store(reason));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        fs::copy(folder.join(FORMAT_FILE), copy.path().join(FORMAT_FILE)).map_err(failed)?;
        copied(&folder.join(DATABASE), &copy.path().join(DATABASE)).map_err(failed)?;
        drop(lock);
        let store = FjallStore::open(copy.path()).map_err(|error| not_readable(&folder, &error))?;
        Ok((Arc::new(store), copy))
    }

    /// The value of an entity, and the name of its state.
    pub(super) async fn entity(self, id: &str, is_stored: bool) -> Result<(Value, String), OperateError> {
        let id = id.to_owned();
        let detail = if is_stored { Detail::Stored } else { Detail::Values };
        blocking(move || {
            let entity = self.master.entity(&id).map_err(|error| OperateError::Store(error.to_string()))?;
            let listed = entity.and_then(|entity| listed(entity, detail));
            match listed {
                Some(Listed { value: Some(value), etag: Some(etag), .. }) => Ok((value, etag)),
                _ => Err(OperateError::Store(format!(
                    "{id:?} was never written, or was removed; `archipelago ls --store` shows what there is"
                ))),
            }
        })
        .await
    }

    /// The entities whose id begins with a prefix.
    pub(super) fn rows(self, prefix: &str, detail: Detail) -> Rows {
        Rows { store: Arc::new(self), prefix: prefix.to_owned(), detail, after: None, damaged: 0 }
    }

    pub(super) async fn summary(self) -> Result<Summary, OperateError> {
        blocking(move || self.summary_now()).await
    }

    fn summary_now(&self) -> Result<Summary, OperateError> {
        let failed = |error: &dyn std::error::Error| OperateError::Store(error.to_string());
        let vector = self.master.vector_clock().iter();
        let mut summary = Summary {
            master: self.master.master_id().to_string(),
            namespace: self.master.namespace().to_owned(),
            vector: vector.map(|(replica, sequence)| (replica.to_string(), sequence)).collect(),
            outbox: self.master.outbox_len().map_err(|error| failed(&error))?,
            ..Summary::default()
        };
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.master.entities("", after.as_deref(), PAGE_ENTITIES);
            let page = page.map_err(|error| failed(&error))?;
            let Some((last, _)) = page.last() else { return Ok(summary) };
            after = Some(last.to_vec());
            for (_, EntityAtRest { id, entity, .. }) in page {
                match entity {
                    Err(_) => summary.damaged.push(id),
                    Ok(entity) if entity.value.is_none() => summary.tombstones += 1,
                    Ok(entity) => {
                        summary.entities += 1;
                        summary.conflicted += u64::from(entity.conflicted);
                    }
                }
            }
        }
    }
}

impl Rows {
    /// The next page; `None` after the last one.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Listed>>, OperateError> {
        let (store, prefix, after) = (self.store.clone(), self.prefix.clone(), self.after.clone());
        let page = blocking(move || {
            let page = store.master.entities(&prefix, after.as_deref(), PAGE_ENTITIES);
            page.map_err(|error| OperateError::Store(error.to_string()))
        });
        let page = page.await?;
        let Some((last, _)) = page.last() else { return Ok(None) };
        self.after = Some(last.to_vec());
        let mut entities = Vec::with_capacity(page.len());
        for (_, EntityAtRest { id, entity, .. }) in page {
            match entity {
                Ok(entity) => entities.extend(listed(entity, self.detail)),
                Err(error) => {
                    self.damaged += 1;
                    eprintln!("left out: {id:?}: {error}");
                }
            }
        }
        Ok(Some(entities))
    }

    /// How it went: what cannot be read is an error, but only once the rest was told.
    pub(super) fn end(self) -> Result<(), OperateError> {
        match self.damaged {
            0 => Ok(()),
            damaged => Err(OperateError::Store(format!(
                "{damaged} entities in {} cannot be read, and were left out; docs/OPERATIONS.md says how they are mended",
                self.store.folder.display()
            ))),
        }
    }
}

fn not_readable(folder: &Path, error: &dyn std::error::Error) -> OperateError {
    let shown = folder.display();
    OperateError::Store(format!("the store in {shown} cannot be read: {error}; nothing in it was changed"))
}

/// An entity as a list shows it; `None` if it was removed.
fn listed(entity: EntityView, detail: Detail) -> Option<Listed> {
    let etag = entity.tag().to_string();
    let value = entity.value?;
    let value = match detail {
        Detail::Ids => return Some(Listed { id: entity.id.to_string(), value: None, etag: None }),
        Detail::Values => value.readable(),
        Detail::Stored => value,
    };
    // What is stored can be shown as JSON.
    let value = serde_json::to_value(&value).ok()?;
    Some(Listed { id: entity.id.to_string(), value: Some(value), etag: Some(etag) })
}

/// Copies a folder; what never changes is linked where that is possible.
fn copied(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let is_unchanging = from.file_name().is_some_and(|name| UNCHANGING.iter().any(|folder| name == *folder));
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (file, copy) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copied(&file, &copy)?;
        } else if !(is_unchanging && fs::hard_link(&file, &copy).is_ok()) {
            fs::copy(&file, &copy)?;
        }
    }
    Ok(())
}

/// What would hold up everything else.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OperateError> + Send + 'static,
) -> Result<T, OperateError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(OperateError::Store(error.to_string())))
}
