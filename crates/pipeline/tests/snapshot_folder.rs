//! Files of snapshots that were copied, cut, changed, or left by a process that was killed.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use archipelago_pipeline::snapshots::{SnapshotFile, SnapshotFolder, SnapshotStore, SnapshotStoreError};

async fn write(store: &SnapshotFolder, name: &str) {
    let mut writer = store.begin(name).await.expect("beginning");
    for chunk in ["first", "second"] {
        writer.chunk(chunk.into()).await.expect("writing");
    }
    writer.finish("manifest".into()).await.expect("finishing");
}

/// The names of the files in a folder.
fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("text");
    let mut names: Vec<_> = entries.map(|entry| name(entry.expect("an entry"))).collect();
    names.sort();
    names
}

/// All that is in a snapshot, or the first error.
async fn contents(store: &SnapshotFolder, name: &str) -> Result<Vec<bytes::Bytes>, SnapshotStoreError> {
    Ok(vec![store.chunk(name, 0).await?, store.chunk(name, 1).await?, store.manifest(name).await?])
}

#[tokio::test]
async fn a_snapshot_is_one_file_that_can_be_copied_and_read_alone() {
    let (home, elsewhere) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let store = SnapshotFolder::new(home.path());
    write(&store, "monday").await;
    assert_eq!(files(home.path()), [".lock", "monday.snapshot"]);
    let copy = elsewhere.path().join("any name at all");
    fs::copy(store.path("monday"), &copy).expect("copying");
    store.remove("monday").await.expect("removing");

    let file = SnapshotFile::open(&copy).await.expect("a whole file");
    assert_eq!(file.chunks(), 2);
    assert_eq!(file.chunk(1).await.expect("a chunk"), "second");
    assert_eq!(file.manifest().await.expect("a manifest"), "manifest");
    let beyond = file.chunk(2).await;
    assert!(matches!(beyond, Err(SnapshotStoreError::NotFound { .. })), "{beyond:?}");
    fs::rename(&copy, store.path("tuesday")).expect("moving");
    assert_eq!(store.list().await.expect("a list"), ["tuesday"]);
    assert_eq!(contents(&store, "tuesday").await.expect("whole"), ["first", "second", "manifest"]);
    let gone = SnapshotFile::open(&copy).await.err();
    assert!(matches!(gone, Some(SnapshotStoreError::NotFound { .. })), "{gone:?}");
}

#[tokio::test]
async fn a_file_cut_at_any_byte_is_damaged_and_can_be_removed() {
    let home = tempfile::tempdir().expect("a folder");
    let store = SnapshotFolder::new(home.path());
    write(&store, "a").await;
    let whole = fs::read(store.path("a")).expect("reading");
    for length in 0..whole.len() {
        fs::write(store.path("a"), &whole[..length]).expect("writing");
        let cut = contents(&store, "a").await;
        assert!(matches!(cut, Err(SnapshotStoreError::Damaged { .. })), "{length}: {cut:?}");
        let alone = SnapshotFile::open(store.path("a")).await.err();
        assert!(matches!(alone, Some(SnapshotStoreError::Damaged { .. })), "{length}: {alone:?}");
    }
    store.remove("a").await.expect("removing");
    write(&store, "a").await;
    assert_eq!(fs::read(store.path("a")).expect("reading"), whole);
}

/// A file that version 1 wrote. What a released version wrote is read for ever.
const VERSION_1: &[u8] = include_bytes!("golden/version-1.snapshot");

#[tokio::test]
async fn files_of_version_1_are_read_and_written_as_ever() {
    let home = tempfile::tempdir().expect("a folder");
    let store = SnapshotFolder::new(home.path());
    fs::write(store.path("old"), VERSION_1).expect("writing");
    assert_eq!(contents(&store, "old").await.expect("whole"), ["first", "second", "manifest"]);
    write(&store, "new").await;
    assert_eq!(fs::read(store.path("new")).expect("reading"), VERSION_1);
}

#[tokio::test]
async fn a_newer_version_is_told_apart_from_damage() {
    let home = tempfile::tempdir().expect("a folder");
    let store = SnapshotFolder::new(home.path());
    write(&store, "a").await;
    let mut file = fs::read(store.path("a")).expect("reading");
    file[11] = 2;
    fs::write(store.path("a"), file).expect("writing");
    let refused = store.manifest("a").await;
    assert!(matches!(refused, Err(SnapshotStoreError::Refused { .. })), "{refused:?}");
}

/// Where the process that is to be killed writes. Set for that one only.
const KILLED_WRITER: &str = "ARCHIPELAGO_KILLED_WRITER_FOLDER";

/// Not a test of its own, but the process that the next one starts and kills: it writes one chunk and waits.
#[tokio::test]
async fn the_process_that_is_killed() {
    let Ok(folder) = std::env::var(KILLED_WRITER) else { return };
    let mut writer = SnapshotFolder::new(folder).begin("killed").await.expect("beginning");
    writer.chunk(vec![7; 100_000].into()).await.expect("writing");
    println!("wrote a chunk");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_writer_is_left_alone_until_its_process_is_killed() {
    let home = tempfile::tempdir().expect("a folder");
    let store = SnapshotFolder::new(home.path());
    let this = std::env::current_exe().expect("this program");
    let mut process = std::process::Command::new(this)
        .args(["--exact", "the_process_that_is_killed", "--nocapture"])
        .env(KILLED_WRITER, home.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("starting");
    let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
    let wrote = lines.any(|line| line.expect("text").contains("wrote a chunk"));
    assert!(wrote, "the process ended early");
    drop(store.begin("other").await.expect("beginning"));
    assert_eq!(partial_files(home.path()).len(), 1, "it is at work");
    process.kill().expect("killing");
    process.wait().expect("the end");
    assert!(store.list().await.expect("a list").is_empty());
    assert_eq!(partial_files(home.path()).len(), 1, "a killed process removes nothing");
    write(&store, "killed").await;
    assert!(partial_files(home.path()).is_empty());
    assert_eq!(contents(&store, "killed").await.expect("whole"), ["first", "second", "manifest"]);
}

#[tokio::test]
async fn what_a_killed_process_left_between_two_chunks_is_removed_by_the_next() {
    let home = tempfile::tempdir().expect("a folder");
    let store = SnapshotFolder::new(home.path());
    write(&store, "whole").await;
    let at_work = store.begin("at-work").await.expect("beginning");
    // A killed process removes nothing, and its locks are gone: what a living one has so far, under another name.
    let living: Vec<PathBuf> = partial_files(home.path());
    assert_eq!(living.len(), 1);
    for (number, left) in [".left.1-0.partial", ".at-work.1-0.partial"].into_iter().enumerate() {
        fs::write(home.path().join(left), &b"ARCHISNP and more"[..number * 12]).expect("writing");
    }
    assert_eq!(store.list().await.expect("a list"), ["whole"]);
    drop(store.begin("another").await.expect("beginning"));
    assert_eq!(partial_files(home.path()), living, "what is locked stays");
    at_work.finish("m".into()).await.expect("finishing");
    assert_eq!(files(home.path()), [".lock", "at-work.snapshot", "whole.snapshot"]);
}

fn partial_files(folder: &Path) -> Vec<PathBuf> {
    let names = files(folder).into_iter().filter(|file| file.ends_with(".partial"));
    names.map(|file| folder.join(file)).collect()
}

#[tokio::test]
async fn other_files_in_the_folder_are_left_alone() {
    let home = tempfile::tempdir().expect("a folder");
    let store = SnapshotFolder::new(home.path());
    for name in ["notes.txt", ".hidden.snapshot", "no good.snapshot", ".snapshot", "x.partial"] {
        fs::write(home.path().join(name), "mine").expect("writing");
    }
    let before = files(home.path());
    write(&store, "a").await;
    assert_eq!(store.list().await.expect("a list"), ["a"]);
    store.remove("a").await.expect("removing");
    let after: Vec<_> = files(home.path()).into_iter().filter(|file| file != ".lock").collect();
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_says_which() {
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("file");
    fs::write(&file, "a file, no folder").expect("writing");
    let refused = SnapshotFolder::new(&file).begin("a").await.err();
    let Some(SnapshotStoreError::Refused { reason }) = &refused else { panic!("{refused:?}") };
    assert!(reason.contains("file"), "{reason}");
    assert!(!refused.is_some_and(|error| error.is_retryable()));
}
