use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    thread,
};

use archipelago_store::StoreError;
use fjall::Database;

use crate::FjallOptions;

/// The marker of format 1. Change the number whenever the layout that the crate docs describe changes, and keep
/// reading the old one.
const FORMAT: &str = "archipelago-store-fjall 1\n";

/// What fjall takes at most by default.
const WORKER_THREADS_MAX: usize = 4;

const LOCK_FILE: &str = "LOCK";
const FORMAT_FILE: &str = "FORMAT";
const DATABASE: &str = "db";
const NEW_DATABASE: &str = "db.new";

/// The folder of an open store, locked for as long as this lives.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Dropping it unlocks.
    _lock: File,
}

impl Folder {
    /// Creates the folder if need be, and locks it.
    pub(crate) fn lock(path: &Path) -> Result<Self, StoreError> {
        let refuse = |action: &str, error: io::Error| open_error(path, format!("cannot {action}: {error}"));
        fs::create_dir_all(path).map_err(|error| refuse("create the folder", error))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK_FILE))
            .map_err(|error| refuse("write in the folder", error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Folder { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(refuse("lock the folder", error)),
        }
    }

    /// The folder as it was given.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the database, creating it if there is none. `complete` makes a new database what it has to be.
    pub(crate) fn open_database(
        &self,
        options: FjallOptions,
        complete: impl FnOnce(&Database) -> fjall::Result<()>,
    ) -> Result<Database, StoreError> {
        let database = self.path.join(DATABASE);
        let is_new = !self.try_exists(&database)?;
        self.check_format(is_new)?;
        if is_new {
            tracing::info!(path = ?self.path, "creating a store");
            self.create_database(&database, options, complete)?;
        }
        self.check_keyspaces(&database.join("keyspaces"))?;
        self.open_fjall(&database, options)
    }

    /// Opens fjall's database. Its replay of the journal has assertions that damage can break, some of them only in
    /// debug builds; what they say becomes an error like any other.
    fn open_fjall(&self, database: &Path, options: FjallOptions) -> Result<Database, StoreError> {
        let builder = Database::builder(database)
            .cache_size(options.cache_bytes)
            .max_journaling_size(options.journal_bytes_max)
            .worker_threads(worker_threads());
        match panic::catch_unwind(AssertUnwindSafe(|| builder.open())) {
            Ok(opened) => opened.map_err(|error| self.fjall_error("open the database", &error)),
            Err(panic) => {
                let message = panic.downcast_ref::<String>().map(String::as_str);
                let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
                Err(self.refuse(format!("the database is damaged, an assertion failed: {message}")))
            }
        }
    }

    fn check_format(&self, is_new: bool) -> Result<(), StoreError> {
        match fs::read_to_string(self.path.join(FORMAT_FILE)) {
            Ok(format) if format == FORMAT => Ok(()),
            // Of a creation that was cut short: there is no data yet that could be misread.
            Ok(_) if is_new => Ok(()),
            Ok(format) => Err(self.refuse(format!(
                "it has the format {:?}, and this version of the program reads {:?}",
                format.trim_end(),
                FORMAT.trim_end()
            ))),
            Err(error) if error.kind() == ErrorKind::NotFound && is_new => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(self.refuse(format!(
                "it has a {DATABASE} folder, but no file {FORMAT_FILE} says of what format"
            ))),
            Err(error) => Err(self.refuse(format!("cannot read {FORMAT_FILE}: {error}"))),
        }
    }

    /// Refuses what fjall would abort the process for: a folder of somebody else's among its numbered ones.
    fn check_keyspaces(&self, keyspaces: &Path) -> Result<(), StoreError> {
        let refuse =
            |error| self.refuse(format!("the database is damaged, cannot read {keyspaces:?}: {error}"));
        for entry in fs::read_dir(keyspaces).map_err(refuse)? {
            let entry = entry.map_err(refuse)?;
            let is_number = entry.file_name().to_str().is_some_and(|name| name.parse::<u64>().is_ok());
            if entry.file_type().map_err(refuse)?.is_dir() && !is_number {
                return Err(
                    self.refuse(format!("{:?} is not a part of the database; move it away", entry.path()))
                );
            }
        }
        Ok(())
    }

    /// Creates the database aside and renames it when it is complete: fjall does not open a database whose own
    /// creation was cut short.
    fn create_database(
        &self,
        database: &Path,
        options: FjallOptions,
        complete: impl FnOnce(&Database) -> fjall::Result<()>,
    ) -> Result<(), StoreError> {
        let new = self.path.join(NEW_DATABASE);
        if self.try_exists(&new)? {
            fs::remove_dir_all(&new)
                .map_err(|error| self.refuse(format!("cannot clear {new:?}: {error}")))?;
        }
        // Complete and closed, hence synced, before it gets its name.
        complete(&self.open_fjall(&new, options)?)
            .map_err(|error| self.fjall_error("create the tables", &error))?;
        self.write_format_and_rename(&new, database)
            .map_err(|error| self.refuse(format!("cannot create the database: {error}")))
    }

    fn write_format_and_rename(&self, new: &Path, database: &Path) -> io::Result<()> {
        let format = self.path.join(FORMAT_FILE);
        fs::write(&format, FORMAT)?;
        File::open(&format)?.sync_all()?;
        sync_folder(&self.path)?;
        fs::rename(new, database)?;
        sync_folder(&self.path)?;
        // The folder itself may be new, too.
        let parent = self.path.canonicalize()?;
        parent.parent().map_or(Ok(()), sync_folder)
    }

    fn try_exists(&self, path: &Path) -> Result<bool, StoreError> {
        path.try_exists().map_err(|error| self.refuse(format!("cannot look for {path:?}: {error}")))
    }

    pub(crate) fn fjall_error(&self, action: &str, error: &fjall::Error) -> StoreError {
        match error {
            fjall::Error::Locked => StoreError::Locked { path: self.path.clone() },
            error => self.refuse(format!("cannot {action}: {error}")),
        }
    }

    fn refuse(&self, reason: String) -> StoreError {
        open_error(&self.path, reason)
    }
}

/// How many threads flush and compact: as many as fjall takes by default, but not two. Of two the first keeps itself free
/// for flushes, and while the other compacts it hands what there is to compact back to the queue, again and again, which
/// occupies a core.
fn worker_threads() -> usize {
    match thread::available_parallelism().map_or(1, usize::from).min(WORKER_THREADS_MAX) {
        2 => 1,
        cores => cores,
    }
}

fn open_error(path: &Path, reason: String) -> StoreError {
    StoreError::Open { path: path.to_owned(), reason }
}

/// Makes the names in a folder survive power loss. Windows does it by itself and cannot open a folder as a file.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(windows) { Ok(()) } else { File::open(path)?.sync_all() }
}
