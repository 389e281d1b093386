//! Disks that are full.

use std::{
    ffi::CString,
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use rustix::{
    mount::{MountFlags, UnmountFlags, mount, unmount},
    process::{Pid, Resource, Rlimit, getrlimit, prlimit},
};

use crate::{
    failure::{Failure, Outcome},
    own_mounts::Mounting,
};

/// How much room a small disk has beyond what is on it.
const ROOM_BYTES: u64 = 32 << 20;

/// How much is written at once to fill it: all of a page of memory, and little more than is left at last.
const FILL_BYTES: usize = 4096;

/// How a disk is made full.
#[derive(Debug)]
pub(crate) enum SmallDisk {
    /// The folder is on a small file system of its own, which is filled: `ENOSPC`.
    Mounted(Mounted),
    /// The process may not make its files any longer: `EFBIG`. For where nobody may mount.
    Limited,
}

#[derive(Debug)]
pub(crate) struct Mounted {
    folder: PathBuf,
    /// False once it is put back.
    is_mounted: bool,
}

impl SmallDisk {
    /// Puts a folder on a small disk; no process may have it open.
    pub(crate) fn under(folder: &Path) -> Outcome<SmallDisk> {
        match Mounting::here() {
            Mounting::Possible => Mounted::under(folder)
                .map(SmallDisk::Mounted)
                .map_err(Failure::broken("put a folder on a small disk")),
            Mounting::Refused => Ok(SmallDisk::Limited),
        }
    }

    /// What a person is told of it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            SmallDisk::Mounted(_) => "tmpfs",
            SmallDisk::Limited => "file-size-limit",
        }
    }

    /// From now on the process can write nothing more.
    pub(crate) fn fill(&self, process: i32) -> Outcome {
        let filled = match self {
            SmallDisk::Mounted(mounted) => fill(&mounted.filler()),
            SmallDisk::Limited => forbid_growth(process),
        };
        filled.map_err(Failure::broken("fill a disk"))
    }

    /// There is room again, for a process that is started anew.
    pub(crate) fn make_room(&self) -> Outcome {
        match self {
            SmallDisk::Mounted(mounted) => {
                fs::remove_file(mounted.filler()).map_err(Failure::broken("make room on a disk"))
            }
            SmallDisk::Limited => Ok(()),
        }
    }

    /// Takes the folder back to the disk that it was on; no process may have it open.
    pub(crate) fn put_back(self) -> Outcome {
        match self {
            SmallDisk::Mounted(mut mounted) => {
                mounted.put_back().map_err(Failure::broken("take a folder back to its disk"))
            }
            SmallDisk::Limited => Ok(()),
        }
    }
}

impl Mounted {
    fn under(folder: &Path) -> io::Result<Mounted> {
        let away = beside(folder, "away");
        fs::rename(folder, &away)?;
        fs::create_dir(folder)?;
        let size = CString::new(format!("size={}", disk_bytes(&away) + ROOM_BYTES))?;
        mount("none", folder, "tmpfs", MountFlags::empty(), size.as_c_str())?;
        let mounted = Mounted { folder: folder.to_owned(), is_mounted: true };
        copy(&away, folder)?;
        fs::remove_dir_all(&away)?;
        Ok(mounted)
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    fn put_back(&mut self) -> io::Result<()> {
        let back = beside(&self.folder, "back");
        copy(&self.folder, &back)?;
        unmount(&self.folder, UnmountFlags::DETACH)?;
        self.is_mounted = false;
        fs::remove_dir(&self.folder)?;
        fs::rename(&back, &self.folder)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What went wrong is to be looked at; the small disk is gone with this program.
        if self.is_mounted {
            let _ = fs::remove_file(self.filler());
            let _ = self.put_back();
        }
    }
}

fn beside(folder: &Path, what: &str) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(format!(".{what}"));
    PathBuf::from(name)
}

/// Writes until nothing more can be written.
fn fill(filler: &Path) -> io::Result<()> {
    let mut filler = fs::File::create(filler)?;
    loop {
        match filler.write_all(&[0; FILL_BYTES]) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn forbid_growth(process: i32) -> io::Result<()> {
    let process = Pid::from_raw(process).ok_or(io::ErrorKind::InvalidInput)?;
    let maximum = getrlimit(Resource::Fsize).maximum;
    prlimit(Some(process), Resource::Fsize, Rlimit { current: Some(0), maximum })?;
    Ok(())
}

/// Copies a folder and all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => drop(fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}

/// What is taken, not what files claim: journals are preallocated, most of it a hole.
pub(crate) fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}
