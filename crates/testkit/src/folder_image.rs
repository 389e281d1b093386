//! What is left of a folder after a crash: all its files at one moment, and what a loss of power may make of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

/// How many bytes of a file are read at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// How often a folder that does not keep still is looked at before that is an error.
const LOOKS_MAX: u32 = 10_000;

/// All files of a folder at one moment, in memory.
///
/// The death of a process leaves exactly that. A loss of power may take away or tear what was not synced: make that
/// with [`cut`](Self::cut), [`zero`](Self::zero) and [`garble`](Self::garble), and bring back with
/// [`keep`](Self::keep) what was removed and whose removal was not synced. [`restore`](Self::restore) writes it out.
///
/// A file that ends in zeros costs only what comes before them, also on the disk: stores preallocate.
///
/// ```
/// use archipelago_testkit::FolderImage;
///
/// let (folder, crashed) = (tempfile::tempdir()?, tempfile::tempdir()?);
/// std::fs::write(folder.path().join("log"), "one,two,")?;
/// let mut image = FolderImage::take(folder.path())?;
/// image.cut("log", 6);
/// image.restore(crashed.path())?;
/// assert_eq!(std::fs::read_to_string(crashed.path().join("log"))?, "one,tw");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FolderImage {
    files: BTreeMap<PathBuf, Content>,
    folders: BTreeSet<PathBuf>,
}

/// The bytes of a file; behind `data` it is zeros up to its length.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    data: Arc<Vec<u8>>,
    bytes: u64,
}

impl FolderImage {
    /// Takes the image of a folder in which others may be at work. It is of one moment: what changed while it was read
    /// is read again.
    ///
    /// # Errors
    /// What the operating system says, and [`ErrorKind::TimedOut`] if the folder never keeps still.
    pub fn take(folder: &Path) -> io::Result<Self> {
        for _ in 0..LOOKS_MAX {
            match Self::take_if_still(folder) {
                Ok(Some(image)) => return Ok(image),
                // A file that was there when the folder was listed.
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                Ok(None) | Err(_) => {}
            }
        }
        Err(io::Error::new(ErrorKind::TimedOut, format!("{folder:?} does not keep still")))
    }

    fn take_if_still(folder: &Path) -> io::Result<Option<Self>> {
        let before = list(folder)?;
        let mut image = FolderImage::default();
        for (path, entry) in &before {
            match entry {
                Entry::Folder => drop(image.folders.insert(path.clone())),
                Entry::File { .. } => {
                    let content = Content::read(&folder.join(path))?;
                    image.files.insert(path.clone(), content);
                }
            }
        }
        Ok((list(folder)? == before).then_some(image))
    }

    /// Writes the image into a folder, which is created.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn restore(&self, to: &Path) -> io::Result<()> {
        fs::create_dir_all(to)?;
        for folder in &self.folders {
            fs::create_dir_all(to.join(folder))?;
        }
        for (path, content) in &self.files {
            let mut file = File::create(to.join(path))?;
            file.write_all(&content.data)?;
            file.set_len(content.bytes)?;
        }
        Ok(())
    }

    /// The files, relative to the folder, in order.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// How many bytes a file has up to the zeros that it ends in; 0 if there is no such file.
    pub fn data_bytes(&self, file: impl AsRef<Path>) -> u64 {
        self.files.get(file.as_ref()).map_or(0, |content| content.data.len() as u64)
    }

    /// True if both have this file, with the same bytes in it.
    pub fn has_same(&self, other: &Self, file: impl AsRef<Path>) -> bool {
        let [ours, theirs] = [self, other].map(|image| image.files.get(file.as_ref()));
        ours.is_some() && ours == theirs
    }

    /// The file ends at `at`.
    pub fn cut(&mut self, file: impl AsRef<Path>, at: u64) {
        self.change(file.as_ref(), |data, bytes| {
            data.truncate(place(at));
            *bytes = at;
        });
    }

    /// The file has zeros from `from` up to `to`, and its length.
    pub fn zero(&mut self, file: impl AsRef<Path>, from: u64, to: u64) {
        self.change(file.as_ref(), |data, _| {
            let to = place(to).min(data.len());
            data[place(from).min(to)..to].fill(0);
        });
    }

    /// The file has garbage, which `seed` decides, from `from` up to `to`, and its length.
    pub fn garble(&mut self, file: impl AsRef<Path>, from: u64, to: u64, seed: u64) {
        self.change(file.as_ref(), |data, bytes| {
            let to = place(to.min(*bytes));
            if data.len() < to {
                data.resize(to, 0);
            }
            let mut state = seed;
            for byte in &mut data[place(from).min(to)..to] {
                // Knuth's linear congruential generator.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *byte = state.to_be_bytes()[0];
            }
        });
    }

    /// Has the files of `other` as well that are not in this one and that `which` picks, with the folders in which they are.
    /// Gives how many that were.
    pub fn keep(&mut self, other: &Self, which: impl Fn(&Path) -> bool) -> usize {
        let mut kept = 0;
        for (path, content) in other.files.iter().filter(|(path, _)| which(path)) {
            if !self.files.contains_key(path) {
                self.folders.extend(within(path).map(Path::to_owned));
                self.files.insert(path.clone(), content.clone());
                kept += 1;
            }
        }
        kept
    }

    fn change(&mut self, file: &Path, change: impl FnOnce(&mut Vec<u8>, &mut u64)) {
        if let Some(content) = self.files.get_mut(file) {
            let data = Arc::make_mut(&mut content.data);
            change(data, &mut content.bytes);
            trim(data);
        }
    }
}

impl Content {
    fn read(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let bytes = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        let (mut data, mut chunk, mut read) = (Vec::new(), vec![0; CHUNK_BYTES], 0);
        let zeros = vec![0; CHUNK_BYTES];
        loop {
            let n = file.read(&mut chunk)?;
            if n == 0 {
                break;
            }
            if chunk[..n] != zeros[..n] {
                data.resize(read, 0);
                data.extend_from_slice(&chunk[..n]);
            }
            read += n;
        }
        trim(&mut data);
        Ok(Content { data: Arc::new(data), bytes })
    }
}

#[derive(PartialEq, Eq)]
enum Entry {
    Folder,
    File { bytes: u64, modified: SystemTime },
}

fn list(folder: &Path) -> io::Result<BTreeMap<PathBuf, Entry>> {
    let (mut entries, mut waiting) = (BTreeMap::new(), vec![PathBuf::new()]);
    while let Some(within) = waiting.pop() {
        for entry in fs::read_dir(folder.join(&within))? {
            let entry = entry?;
            let (path, about) = (within.join(entry.file_name()), entry.metadata()?);
            if about.is_dir() {
                waiting.push(path.clone());
                entries.insert(path, Entry::Folder);
            } else {
                entries.insert(path, Entry::File { bytes: about.len(), modified: about.modified()? });
            }
        }
    }
    Ok(entries)
}

/// The folders that a file is in, but for the one that the image is of.
fn within(file: &Path) -> impl Iterator<Item = &Path> {
    file.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty())
}

/// What comes before the zeros at the end.
fn trim(data: &mut Vec<u8>) {
    let end = data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    data.truncate(end);
}

fn place(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(bytes: &[u8], zeros: u64) -> FolderImage {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        let path = folder.path().join("deep/log");
        fs::write(&path, bytes).unwrap();
        File::options().write(true).open(path).unwrap().set_len(bytes.len() as u64 + zeros).unwrap();
        FolderImage::take(folder.path()).unwrap()
    }

    fn restored(image: &FolderImage) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        image.restore(folder.path()).unwrap();
        assert_eq!(FolderImage::take(folder.path()).unwrap(), *image);
        fs::read(folder.path().join("deep/log")).unwrap()
    }

    #[test]
    fn what_is_restored_is_what_was_taken_also_behind_holes() {
        let mut bytes = vec![7; 10];
        bytes.resize(3 * CHUNK_BYTES, 0);
        bytes.push(9);
        let taken = image(&bytes, 5);
        assert_eq!(taken.data_bytes("deep/log"), bytes.len() as u64);
        bytes.resize(bytes.len() + 5, 0);
        assert_eq!(restored(&taken), bytes);
    }

    #[test]
    fn files_are_cut_zeroed_and_garbled_where_it_was_said() {
        let whole = image(b"abcdef", 2);
        let mut cut = whole.clone();
        cut.cut("deep/log", 3);
        assert_eq!(restored(&cut), b"abc");
        let mut zeroed = whole.clone();
        zeroed.zero("deep/log", 2, 4);
        assert_eq!(restored(&zeroed), b"ab\0\0ef\0\0");
        let mut garbled = whole.clone();
        garbled.garble("deep/log", 4, 100, 1);
        let garbled = restored(&garbled);
        assert_eq!((&garbled[..4], garbled.len()), (&b"abcd"[..], 8));
        assert_ne!(&garbled[4..], b"ef\0\0");
        let mut nothing = FolderImage::default();
        assert_eq!(nothing.keep(&whole, |_| true), 1);
        assert_eq!(restored(&nothing), b"abcdef\0\0");
    }
}
