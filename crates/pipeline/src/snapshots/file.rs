use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{
    SnapshotStoreError,
    layout::{LayoutReader, ReadError},
};

/// One snapshot in one file, wherever it lies: one of a [`SnapshotFolder`](super::SnapshotFolder), or a copy of it.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    path: PathBuf,
    /// What errors call it.
    name: String,
    chunks: u64,
}

impl SnapshotFile {
    /// Looks at a file, of whatever name. Its chunks are read, and checked, when they are asked for.
    ///
    /// # Errors
    /// [`SnapshotStoreError::NotFound`] if there is no file; [`SnapshotStoreError::Damaged`] if it is no snapshot or not
    /// whole; [`SnapshotStoreError::Refused`] if it cannot be read, or a newer build wrote it.
    ///
    /// # Panics
    /// If called outside of a tokio runtime, as all calls of this type.
    pub async fn open(path: impl Into<PathBuf>) -> Result<SnapshotFile, SnapshotStoreError> {
        let path = path.into();
        let name = path.display().to_string();
        SnapshotFile::open_as(path, name).await
    }

    pub(super) async fn open_as(path: PathBuf, name: String) -> Result<SnapshotFile, SnapshotStoreError> {
        let mut file = SnapshotFile { path, name, chunks: 0 };
        file.chunks = file.read(|reader| Ok(reader.chunks())).await?;
        Ok(file)
    }

    /// How many chunks there are.
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// The manifest.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn manifest(&self) -> Result<Bytes, SnapshotStoreError> {
        self.read(LayoutReader::manifest).await
    }

    /// The chunk number `index`, from 0 on.
    ///
    /// # Errors
    /// As [`open`](Self::open); also [`SnapshotStoreError::NotFound`] if there is no such chunk.
    pub async fn chunk(&self, index: u64) -> Result<Bytes, SnapshotStoreError> {
        self.read(move |reader| reader.chunk(index)).await.map_err(|error| match error {
            SnapshotStoreError::NotFound { what } if index >= self.chunks => {
                SnapshotStoreError::NotFound { what: format!("chunk {index} of the {what}") }
            }
            error => error,
        })
    }

    /// Reads something, from a file that is opened anew: it may have been removed since.
    async fn read<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut LayoutReader<BufReader<File>>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, SnapshotStoreError> {
        let SnapshotFile { path, name, .. } = self.clone();
        blocking(move || read(&path, &name, what)).await
    }
}

fn read<T>(
    path: &Path,
    name: &str,
    what: impl FnOnce(&mut LayoutReader<BufReader<File>>) -> Result<T, ReadError>,
) -> Result<T, SnapshotStoreError> {
    let file = File::open(path).map_err(ReadError::Io);
    let found = file.and_then(|file| what(&mut LayoutReader::new(BufReader::new(file))?));
    found.map_err(|error| match error {
        ReadError::Missing => missing(name),
        ReadError::Damaged(reason) => {
            SnapshotStoreError::Damaged { name: name.to_owned(), reason: reason.to_owned() }
        }
        ReadError::Version(version) => SnapshotStoreError::Refused {
            reason: format!("the snapshot {name:?} has version {version} of the format; use a newer build"),
        },
        ReadError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => missing(name),
        ReadError::Io(error) => refused(path, &error),
    })
}

fn missing(name: &str) -> SnapshotStoreError {
    SnapshotStoreError::NotFound { what: format!("snapshot {name:?}") }
}

pub(super) fn refused(path: &Path, error: &std::io::Error) -> SnapshotStoreError {
    SnapshotStoreError::Refused { reason: format!("{}: {error}", path.display()) }
}

/// Runs what may wait for a disk where that holds nobody up.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SnapshotStoreError> + Send + 'static,
) -> Result<T, SnapshotStoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // Only a runtime that is shut down gives up its blocking tasks.
        Err(error) => Err(SnapshotStoreError::Unavailable { reason: error.to_string() }),
    }
}
