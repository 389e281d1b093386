use std::path::{Path, PathBuf};

use archipelago::{
    NatsConfig, NatsSnapshots, SnapshotFile, SnapshotFolder, SnapshotStore, SnapshotStoreError,
    pipeline::snapshots::SnapshotWriter,
};
use async_trait::async_trait;
use bytes::Bytes;

use super::error::CommandError;

/// A place of snapshots, as given on the command line.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) snapshots: Box<dyn SnapshotStore>,
    /// For people.
    pub(crate) shown: String,
}

/// What a place is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Read,
    Write,
}

impl Place {
    pub(crate) async fn open(
        given: &str,
        namespace: Option<&str>,
        credentials: Option<&Path>,
        wanted: Use,
    ) -> Result<Place, CommandError> {
        if given.contains("://") {
            let namespace = namespace.ok_or(CommandError::NamespaceNeeded)?;
            let config = NatsConfig::new(given, namespace);
            let config = match credentials {
                Some(file) => config.credentials_file(file),
                None => config,
            };
            let snapshots = NatsSnapshots::connect(config).await;
            let snapshots = snapshots.map_err(|source| CommandError::Nats { source })?;
            // The URL may hold a password.
            return Ok(Place { snapshots: Box::new(snapshots), shown: "the NATS server".into() });
        }
        let path = PathBuf::from(given);
        let shown = format!("{path:?}");
        if path.is_file() {
            if wanted == Use::Write {
                return Err(CommandError::IntoFile { file: path });
            }
            let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let file = SnapshotFile::open(&path).await?;
            return Ok(Place { snapshots: Box::new(OneFile { name, file }), shown });
        }
        if wanted == Use::Read && !path.is_dir() {
            return Err(CommandError::NoFolder { folder: path });
        }
        Ok(Place { snapshots: Box::new(SnapshotFolder::new(path)), shown })
    }
}

/// One snapshot in one file, as a place that has no other.
#[derive(Debug)]
struct OneFile {
    name: String,
    file: SnapshotFile,
}

impl OneFile {
    fn is(&self, name: &str) -> Result<&SnapshotFile, SnapshotStoreError> {
        match name == self.name {
            true => Ok(&self.file),
            false => Err(SnapshotStoreError::NotFound { what: format!("snapshot {name:?} in this file") }),
        }
    }

    fn refused<T>(&self) -> Result<T, SnapshotStoreError> {
        Err(SnapshotStoreError::Refused { reason: "a single file is only read".into() })
    }
}

#[async_trait]
impl SnapshotStore for OneFile {
    async fn list(&self) -> Result<Vec<String>, SnapshotStoreError> {
        Ok(vec![self.name.clone()])
    }

    async fn manifest(&self, name: &str) -> Result<Bytes, SnapshotStoreError> {
        self.is(name)?.manifest().await
    }

    async fn chunk(&self, name: &str, index: u64) -> Result<Bytes, SnapshotStoreError> {
        self.is(name)?.chunk(index).await
    }

    async fn remove(&self, _: &str) -> Result<(), SnapshotStoreError> {
        self.refused()
    }

    async fn begin(&self, _: &str) -> Result<Box<dyn SnapshotWriter>, SnapshotStoreError> {
        self.refused()
    }
}
