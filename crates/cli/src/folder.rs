use std::{
    io,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// Where stores are, each in a folder of its own.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    /// Removed when it is dropped.
    _temporary: Option<TempDir>,
}

/// Why there is no place for stores.
#[derive(Debug)]
pub(crate) enum FolderError {
    Unusable { folder: PathBuf, source: io::Error },
    InUse { folder: PathBuf },
}

impl Folder {
    /// The folder `dir`, in which nothing of the names may be yet, or a temporary one.
    pub(crate) fn new(
        prefix: &str,
        dir: Option<&Path>,
        names: &[impl AsRef<Path>],
    ) -> Result<Folder, FolderError> {
        let Some(dir) = dir else {
            let temporary = tempfile::Builder::new().prefix(prefix).tempdir();
            let temporary =
                temporary.map_err(|source| FolderError::Unusable { folder: std::env::temp_dir(), source })?;
            return Ok(Folder { path: temporary.path().to_owned(), _temporary: Some(temporary) });
        };
        let failed = |source| FolderError::Unusable { folder: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(failed)?;
        if let Some(taken) = names.iter().map(|name| dir.join(name)).find(|folder| folder.exists()) {
            return Err(FolderError::InUse { folder: taken });
        }
        // A folder that may not be written is found here, and not by a store.
        tempfile::Builder::new().tempfile_in(dir).map_err(failed)?;
        // Child processes may have another working directory one day.
        let path = std::path::absolute(dir).map_err(failed)?;
        Ok(Folder { path, _temporary: None })
    }
}
