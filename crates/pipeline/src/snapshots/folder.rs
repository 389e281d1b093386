use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    SnapshotFile, SnapshotStore, SnapshotStoreError, SnapshotWriter, check_snapshot_chunk,
    check_snapshot_name,
    file::{blocking, refused},
    layout::LayoutWriter,
};

/// What the file of a snapshot is called behind its name.
const COMPLETE: &str = ".snapshot";

/// What a file that is being written is called behind its name. It begins with a dot, which no name does.
const PARTIAL: &str = ".partial";

/// The file that whoever begins, finishes or removes something holds locked meanwhile.
const LOCK: &str = ".lock";

/// Tells the writers of one process apart.
static WRITERS: AtomicU64 = AtomicU64::new(0);

/// A folder with one file for each snapshot, `<name>.snapshot`, which can be copied elsewhere and back.
///
/// A snapshot is written to a file of another name, synced, and renamed when it is finished. Several processes may use
/// one folder, on a file system with file locks; where there are none, what killed writers left stays until someone
/// removes it by hand.
///
/// Every file with such a name is listed. Whether it was damaged since shows when it is read. Clones are the same
/// folder. Its calls panic outside of a tokio runtime.
#[derive(Clone, Debug)]
pub struct SnapshotFolder {
    folder: PathBuf,
}

impl SnapshotFolder {
    /// The snapshots in `folder`, which is made, with the folders above it, when the first one is begun.
    pub fn new(folder: impl Into<PathBuf>) -> SnapshotFolder {
        SnapshotFolder { folder: folder.into() }
    }

    /// Where the snapshot of this name is, or would be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{COMPLETE}"))
    }

    async fn open(&self, name: &str) -> Result<SnapshotFile, SnapshotStoreError> {
        check_snapshot_name(name)?;
        SnapshotFile::open_as(self.path(name), name.to_owned()).await
    }
}

#[async_trait]
impl SnapshotStore for SnapshotFolder {
    async fn list(&self) -> Result<Vec<String>, SnapshotStoreError> {
        let folder = self.folder.clone();
        blocking(move || names(&folder).map_err(|error| refused(&folder, &error))).await
    }

    async fn manifest(&self, name: &str) -> Result<Bytes, SnapshotStoreError> {
        self.open(name).await?.manifest().await
    }

    async fn chunk(&self, name: &str, index: u64) -> Result<Bytes, SnapshotStoreError> {
        self.open(name).await?.chunk(index).await
    }

    async fn remove(&self, name: &str) -> Result<(), SnapshotStoreError> {
        check_snapshot_name(name)?;
        let (folder, path) = (self.folder.clone(), self.path(name));
        blocking(move || remove(&folder, &path).map_err(|error| refused(&path, &error))).await
    }

    async fn begin(&self, name: &str) -> Result<Box<dyn SnapshotWriter>, SnapshotStoreError> {
        check_snapshot_name(name)?;
        let (store, name) = (self.clone(), name.to_owned());
        Ok(Box::new(blocking(move || FolderWriter::begin(store, name)).await?))
    }
}

/// The names of the snapshots in a folder.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for file in files(folder)? {
        let name = file.to_str().and_then(|file| file.strip_suffix(COMPLETE));
        names.extend(name.filter(|name| check_snapshot_name(name).is_ok()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// The names of all files in a folder; none if there is no folder.
fn files(folder: &Path) -> io::Result<Vec<OsString>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.file_name())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn remove(folder: &Path, path: &Path) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let _locked = lock(folder)?;
    remove_leftovers(folder)?;
    match fs::remove_file(path) {
        Ok(()) => sync_folder(folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Waits until nobody else is at work on the names in the folder; released when what is returned is dropped, or the
/// process ends.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let path = folder.join(LOCK);
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    match lock.lock() {
        Ok(()) => Ok(Some(lock)),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes files of writers that are gone: a living one holds the lock on its own. The folder is locked, so that none
/// lies between making its file and locking it.
fn remove_leftovers(folder: &Path) -> io::Result<()> {
    let is_partial = |file: &&OsString| {
        let file = file.to_str().unwrap_or_default();
        file.starts_with('.') && file.ends_with(PARTIAL)
    };
    for file in files(folder)?.iter().filter(is_partial) {
        let path = folder.join(file);
        let Ok(left) = OpenOptions::new().write(true).open(&path) else { continue };
        match left.try_lock() {
            Ok(()) => fs::remove_file(&path)?,
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
    Ok(())
}

/// Makes what happened to the names in a folder last, where folders can be synced.
fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

/// A file that is not complete yet, locked as long as it is written. Dropped, it is removed.
#[derive(Debug)]
struct FolderWriter {
    store: SnapshotFolder,
    name: String,
    partial: PathBuf,
    /// None while it is being written to, and after a failure.
    layout: Option<LayoutWriter<BufWriter<File>>>,
}

/// A new file for a snapshot that is being written.
fn make_partial(folder: &Path, name: &str) -> io::Result<(PathBuf, File)> {
    loop {
        let number = WRITERS.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".{name}.{}-{number}{PARTIAL}", std::process::id()));
        match OpenOptions::new().create_new(true).write(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            // Processes of two containers may have one number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

impl FolderWriter {
    fn begin(store: SnapshotFolder, name: String) -> Result<FolderWriter, SnapshotStoreError> {
        let made = fs::create_dir_all(&store.folder).and_then(|()| {
            let _locked = lock(&store.folder)?;
            remove_leftovers(&store.folder)?;
            if store.path(&name).exists() {
                return Ok(None);
            }
            let (partial, file) = make_partial(&store.folder, &name)?;
            // Without locks on this file system nobody removes it either.
            let _ = file.try_lock();
            Ok(Some((partial, LayoutWriter::new(BufWriter::new(file))?)))
        });
        match made.map_err(|error| refused(&store.folder, &error))? {
            Some((partial, layout)) => Ok(FolderWriter { store, name, partial, layout: Some(layout) }),
            None => Err(SnapshotStoreError::AlreadyExists { name }),
        }
    }

    fn take(&mut self) -> Result<LayoutWriter<BufWriter<File>>, SnapshotStoreError> {
        self.layout.take().ok_or_else(|| SnapshotStoreError::Refused {
            reason: format!("the snapshot {:?} was given up in the midst; begin it again", self.name),
        })
    }
}

impl Drop for FolderWriter {
    fn drop(&mut self) {
        // Closed first, as some systems remove no open files. It is gone if it was finished; should it stay, the next
        // writer removes it.
        self.layout = None;
        let _ = fs::remove_file(&self.partial);
    }
}

#[async_trait]
impl SnapshotWriter for FolderWriter {
    async fn chunk(&mut self, bytes: Bytes) -> Result<(), SnapshotStoreError> {
        check_snapshot_chunk(&bytes)?;
        let (mut layout, path) = (self.take()?, self.partial.clone());
        let written = blocking(move || match layout.chunk(&bytes) {
            Ok(()) => Ok(layout),
            Err(error) => Err(refused(&path, &error)),
        });
        self.layout = Some(written.await?);
        Ok(())
    }

    async fn finish(mut self: Box<Self>, manifest: Bytes) -> Result<(), SnapshotStoreError> {
        check_snapshot_chunk(&manifest)?;
        let layout = self.take()?;
        // The writer goes along, so that its file is removed if this fails, and not before.
        blocking(move || {
            let FolderWriter { store, name, partial, .. } = &*self;
            let path = store.path(name);
            let finished = finish(layout, &manifest, &store.folder, partial, &path);
            match finished.map_err(|error| refused(&path, &error))? {
                true => Ok(()),
                false => Err(SnapshotStoreError::AlreadyExists { name: name.clone() }),
            }
        })
        .await
    }
}

/// Completes the file and gives it its name; false if that is taken.
fn finish(
    layout: LayoutWriter<BufWriter<File>>,
    manifest: &[u8],
    folder: &Path,
    partial: &Path,
    path: &Path,
) -> io::Result<bool> {
    let mut file = layout.finish(manifest)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    let _locked = lock(folder)?;
    if path.exists() {
        return Ok(false);
    }
    // Its lock goes with the last handle: until then it has its name, and nobody takes it for left.
    fs::rename(partial, path)?;
    sync_folder(folder)?;
    Ok(true)
}
