//! What every implementation of [`SnapshotStore`] must do, as tests.
//!
//! An implementation writes a [`SnapshotHarness`] and calls
//! [`snapshot_conformance_tests!`](crate::snapshot_conformance_tests) with an expression that makes one, in a module of
//! its own:
//!
//! ```
//! # use std::sync::Arc;
//! use archipelago_pipeline::snapshots::{MemorySnapshots, SnapshotStore, conformance::SnapshotHarness};
//!
//! struct Memory(MemorySnapshots);
//!
//! #[async_trait::async_trait]
//! impl SnapshotHarness for Memory {
//!     async fn store(&self) -> Arc<dyn SnapshotStore> {
//!         Arc::new(self.0.clone())
//!     }
//!     async fn pieces(&self) -> usize {
//!         self.0.list().await.expect("a list").len()
//!     }
//! }
//!
//! archipelago_pipeline::snapshot_conformance_tests!(Memory(MemorySnapshots::default()));
//! # fn main() {}
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{SNAPSHOT_CHUNK_BYTES_MAX, SnapshotStore, SnapshotStoreError};

/// A place under test, empty at first. Made anew for each test.
#[async_trait]
pub trait SnapshotHarness: Send + Sync {
    /// A new handle on the place.
    async fn store(&self) -> Arc<dyn SnapshotStore>;

    /// A handle on the place so much later that a writer that was dropped counts as gone, where that takes time.
    async fn store_later(&self) -> Arc<dyn SnapshotStore> {
        self.store().await
    }

    /// How many files, objects or the like hold snapshots and what is left of others; 0 if all are removed.
    async fn pieces(&self) -> usize;
}

/// Writes one `#[tokio::test]` for each property of the suite; the argument is an expression that makes a
/// [`SnapshotHarness`] and may use `.await`. The caller's crate needs `tokio` with `macros` and `rt`.
#[macro_export]
macro_rules! snapshot_conformance_tests {
    ($harness:expr) => {
        $crate::snapshot_conformance_tests!(@each $harness;
            what_was_finished_is_read_as_it_was_written,
            nothing_is_there_before_it_is_finished,
            what_a_dropped_writer_left_is_removed,
            writers_of_other_names_are_not_disturbed,
            of_two_writers_of_one_name_the_first_to_finish_has_it,
            a_name_that_is_taken_is_refused,
            what_is_removed_is_gone_and_its_name_is_free,
            names_that_do_not_travel_are_refused,
            a_chunk_that_is_too_large_is_refused_without_harm,
        );
    };
    (@each $harness:expr; $($property:ident,)*) => {
        $(
            #[::tokio::test]
            async fn $property() {
                let harness = $harness;
                $crate::snapshots::conformance::$property(&harness).await;
            }
        )*
    };
}

/// Writes a whole snapshot.
async fn write(store: &dyn SnapshotStore, name: &str, chunks: &[Bytes], manifest: &str) {
    let mut writer = store.begin(name).await.expect("beginning");
    for chunk in chunks {
        writer.chunk(chunk.clone()).await.expect("writing");
    }
    writer.finish(Bytes::copy_from_slice(manifest.as_bytes())).await.expect("finishing");
}

async fn assert_holds(store: &dyn SnapshotStore, name: &str, chunks: &[Bytes], manifest: &str) {
    assert_eq!(store.manifest(name).await.expect("a manifest"), manifest);
    for (index, chunk) in (0..).zip(chunks) {
        assert!(store.chunk(name, index).await.expect("a chunk") == chunk, "chunk {index} of {name}");
    }
    for beyond in [chunks.len() as u64, u64::MAX] {
        assert_missing(store.chunk(name, beyond).await);
    }
}

fn assert_missing(found: Result<Bytes, SnapshotStoreError>) {
    assert!(matches!(found, Err(SnapshotStoreError::NotFound { .. })), "{found:?}");
}

async fn names(store: &dyn SnapshotStore) -> Vec<String> {
    store.list().await.expect("a list")
}

fn chunks(texts: &[&'static str]) -> Vec<Bytes> {
    texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
}

/// Chunks of every size, none of them, and an empty manifest come back through another handle; the list is sorted.
pub async fn what_was_finished_is_read_as_it_was_written<H: SnapshotHarness>(harness: &H) {
    let (writing, reading) = (harness.store().await, harness.store().await);
    assert!(names(&*reading).await.is_empty());
    assert_missing(reading.manifest("a").await);
    let every_byte: Vec<u8> = (0..=255).collect();
    let mut sizes =
        vec![Bytes::new(), Bytes::from_static(b"1"), every_byte.repeat(10_000).into(), Bytes::new()];
    sizes.extend((0..20).map(|number| Bytes::from(format!("chunk {number}"))));
    let longest = format!("Z_.-{}", "9".repeat(196));
    for (name, chunks, manifest) in
        [("b", &sizes[..], "all sizes"), (&longest, &sizes[..1], "one"), ("a.1", &[], "none"), ("-", &[], "")]
    {
        write(&*writing, name, chunks, manifest).await;
        assert_holds(&*reading, name, chunks, manifest).await;
    }
    let mut sorted = vec!["b".to_owned(), longest, "a.1".to_owned(), "-".to_owned()];
    sorted.sort();
    assert_eq!(names(&*reading).await, sorted);
    assert_holds(&*reading, "b", &sizes, "all sizes").await;
}

/// Neither while it is written nor after the writer was dropped.
pub async fn nothing_is_there_before_it_is_finished<H: SnapshotHarness>(harness: &H) {
    let store = harness.store().await;
    for count in 0..3 {
        let mut writer = store.begin("a").await.expect("beginning");
        for number in 0..count {
            writer.chunk(Bytes::from(format!("{number}"))).await.expect("writing");
        }
        for _ in 0..2 {
            assert!(names(&*store).await.is_empty());
            assert_missing(store.manifest("a").await);
            assert_missing(store.chunk("a", 0).await);
        }
        drop(writer);
        assert!(names(&*store).await.is_empty());
    }
    let whole = chunks(&["x"]);
    write(&*store, "a", &whole, "m").await;
    assert_holds(&*store, "a", &whole, "m").await;
}

/// With the next that is begun or removed, of whatever name.
pub async fn what_a_dropped_writer_left_is_removed<H: SnapshotHarness>(harness: &H) {
    let store = harness.store().await;
    write(&*store, "kept", &chunks(&["k"]), "kept").await;
    let before = harness.pieces().await;
    for by_removing in [true, false] {
        let mut writer = store.begin("left").await.expect("beginning");
        for _ in 0..3 {
            writer.chunk(Bytes::from_static(b"left")).await.expect("writing");
        }
        drop(writer);
        let later = harness.store_later().await;
        if by_removing {
            later.remove("nothing").await.expect("removing");
        } else {
            drop(later.begin("other").await.expect("beginning"));
        }
        assert_eq!(harness.pieces().await, before, "by removing: {by_removing}");
    }
    assert_holds(&*store, "kept", &chunks(&["k"]), "kept").await;
}

/// Others begin, finish, fail and are removed; a writer at work goes on.
pub async fn writers_of_other_names_are_not_disturbed<H: SnapshotHarness>(harness: &H) {
    let (one, other) = (harness.store().await, harness.store().await);
    let mut slow = one.begin("slow").await.expect("beginning");
    let mut written = Vec::new();
    for number in 0..3 {
        let name = format!("quick-{number}");
        write(&*other, &name, &chunks(&["q"]), "q").await;
        drop(one.begin("dropped").await.expect("beginning"));
        other.remove(&name).await.expect("removing");
        written.push(Bytes::from(format!("{number}")));
        slow.chunk(written[number].clone()).await.expect("writing");
    }
    slow.finish(Bytes::from_static(b"slow")).await.expect("finishing");
    assert_eq!(names(&*other).await, ["slow"]);
    assert_holds(&*other, "slow", &written, "slow").await;
}

/// The other one is told, and nothing of it is mixed in.
pub async fn of_two_writers_of_one_name_the_first_to_finish_has_it<H: SnapshotHarness>(harness: &H) {
    let (one, other) = (harness.store().await, harness.store().await);
    let mut first = one.begin("a").await.expect("beginning");
    let mut second = other.begin("a").await.expect("beginning");
    for (index, text) in ["0", "1"].into_iter().enumerate() {
        first.chunk(Bytes::from(format!("first {text}"))).await.expect("writing");
        second.chunk(Bytes::from(format!("second {text}"))).await.expect("writing");
        if index == 0 {
            first.chunk(Bytes::from_static(b"more")).await.expect("writing");
        }
    }
    second.finish(Bytes::from_static(b"second")).await.expect("finishing");
    let refused = first.finish(Bytes::from_static(b"first")).await;
    assert_eq!(refused, Err(SnapshotStoreError::AlreadyExists { name: "a".into() }));
    assert_eq!(names(&*one).await, ["a"]);
    assert_holds(&*one, "a", &chunks(&["second 0", "second 1"]), "second").await;
}

/// Before anything is written; what is there stays.
pub async fn a_name_that_is_taken_is_refused<H: SnapshotHarness>(harness: &H) {
    let store = harness.store().await;
    write(&*store, "a", &chunks(&["x"]), "m").await;
    let refused = store.begin("a").await.err();
    assert_eq!(refused, Some(SnapshotStoreError::AlreadyExists { name: "a".into() }));
    assert_holds(&*store, "a", &chunks(&["x"]), "m").await;
}

/// Removing again, or what never was, is no error.
pub async fn what_is_removed_is_gone_and_its_name_is_free<H: SnapshotHarness>(harness: &H) {
    let store = harness.store().await;
    store.remove("a").await.expect("removing nothing");
    write(&*store, "a", &chunks(&["x", "y", "z"]), "old").await;
    write(&*store, "a.b", &chunks(&["b"]), "other").await;
    for _ in 0..2 {
        store.remove("a").await.expect("removing");
        assert_eq!(names(&*store).await, ["a.b"]);
        assert_missing(store.manifest("a").await);
        assert_missing(store.chunk("a", 0).await);
    }
    write(&*store, "a", &chunks(&["new"]), "new").await;
    assert_holds(&*store, "a", &chunks(&["new"]), "new").await;
    assert_holds(&*store, "a.b", &chunks(&["b"]), "other").await;
    for name in ["a", "a.b"] {
        store.remove(name).await.expect("removing");
    }
    assert_eq!(harness.pieces().await, 0);
}

/// By every call, before anything is touched.
pub async fn names_that_do_not_travel_are_refused<H: SnapshotHarness>(harness: &H) {
    let store = harness.store().await;
    for name in ["", ".", "..", ".a", "a/b", "../a", "a b", "ü", "a\n", "a\\b", "*", ">", &"x".repeat(201)] {
        let invalid = Some(SnapshotStoreError::InvalidName { name: name.to_owned() });
        assert_eq!(store.manifest(name).await.err(), invalid);
        assert_eq!(store.chunk(name, 0).await.err(), invalid);
        assert_eq!(store.remove(name).await.err(), invalid);
        assert_eq!(store.begin(name).await.err(), invalid);
    }
    assert_eq!(harness.pieces().await, 0);
}

/// The writer is as before, and so is what it writes next.
pub async fn a_chunk_that_is_too_large_is_refused_without_harm<H: SnapshotHarness>(harness: &H) {
    let store = harness.store().await;
    let mut writer = store.begin("a").await.expect("beginning");
    let bytes = SNAPSHOT_CHUNK_BYTES_MAX + 1;
    let refused = writer.chunk(Bytes::from(vec![0; bytes])).await;
    assert_eq!(refused, Err(SnapshotStoreError::TooLarge { bytes, bytes_max: SNAPSHOT_CHUNK_BYTES_MAX }));
    writer.chunk(Bytes::from_static(b"small")).await.expect("writing");
    writer.finish(Bytes::from_static(b"m")).await.expect("finishing");
    assert_holds(&*store, "a", &chunks(&["small"]), "m").await;
}
