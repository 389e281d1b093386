//! The durable embedded store of a replica, on [fjall], a log-structured merge tree in pure Rust.
//!
//! ```
//! use archipelago_store::{Batch, Durability, Store, Table};
//! use archipelago_store_fjall::FjallStore;
//!
//! # fn main() -> Result<(), archipelago_store::StoreError> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("replica");
//! let store = FjallStore::open(&path)?;
//! let mut batch = Batch::new();
//! batch.put(Table::Entities, "lighthouse/1", "lit");
//! store.commit(batch, Durability::Fsync)?;
//! store.close()?;
//!
//! let store = FjallStore::open(&path)?;
//! assert_eq!(store.get(Table::Entities, b"lighthouse/1")?.as_deref(), Some(&b"lit"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//!
//! | module | what is in it |
//! |---|---|
//! | `store` | [`FjallStore`]: reads, scans, commits, poisoning |
//! | `row_cache` | the entities that are written again and again, in memory |
//! | `options` | [`FjallOptions`]: what may be tuned |
//! | `folder` | the folder on disk: its lock, its format marker, its creation |
//!
//! # What is on the disk
//!
//! | in the folder | what it is |
//! |---|---|
//! | `LOCK` | an empty file, locked while the store is open; the operating system unlocks it when a process dies |
//! | `FORMAT` | one line, `archipelago-store-fjall 1`: the version of this table, written before there is any data |
//! | `db/` | fjall's database: `*.jnl` are its journals, `keyspaces/` its trees; one keyspace for each [`Table`] under [`Table::name`], keys and values as they were given |
//! | `db.new/` | a database being created, see below |
//!
//! A database is created in `db.new/` and renamed to `db/` when it is complete and synced, so a process that dies
//! in its first moments leaves nothing that cannot be opened. A folder with `db/` and without a `FORMAT` that this
//! version knows is refused, never guessed at. Journals are preallocated: a new store shows 64 MiB, most of it a
//! hole. To back a store up, close it and copy the folder.
//!
//! # What survives what
//!
//! fjall appends a commit to its journal through a buffer of this process, and applies it to memory afterwards.
//!
//! | durability | before the commit returns | survives |
//! |---|---|---|
//! | [`Durability::Memory`] | nothing; the last 8 KiB or so are in a buffer of this process | nothing |
//! | [`Durability::Os`] | the buffer is written to the journal | the death of the process |
//! | [`Durability::Fsync`] | the journal is written and synced (`fsync`) | power loss |
//!
//! One journal holds the batches of all tables in the order of their commits, so each commit takes all earlier
//! ones with it, whatever their durability. A batch in the journal ends with a checksum; when a store is opened
//! after a crash, a torn batch at the end is cut off.
//!
//! A loss of power may also write the pages of what was not synced in any order. If one is missing in the midst of a
//! batch whose end is there, the checksum is wrong and the store is refused: a clear error, and nothing is changed, but
//! nothing opens either, although all that was synced is there. Let the replica start on an empty folder then, and what it
//! had comes from the others; what only it had is still in the refused folder.
//!
//! Against disks that give back other bytes than were written there is less protection: fjall's checksums cover the
//! rows of a batch but not its header, and a journal damaged in the middle may be refused, but may also be cut off
//! there, as if it ended. On such disks use a file system with checksums; other replicas have what was lost.
//!
//! # What is slow
//!
//! A row removed is a marker until its table is compacted, and a scan walks over markers. In a table used as a queue
//! they gather at its head: a scan from [`Bound::Unbounded`](std::ops::Bound::Unbounded) may take tens of
//! milliseconds, one from the last key that was removed takes microseconds. A commit waits when flushes cannot keep
//! up, now and then for some hundred milliseconds.
//!
//! # Invariants
//!
//! - No change reaches fjall other than in one batch with an explicit durability.
//! - A row changes at most once in each batch that fjall gets.
//! - Scans read a snapshot, so they see whole batches. (A range over a fjall keyspace itself would not.)
//! - After a commit failed, no other is tried.
//! - Only commits put rows into the cache of rows, one commit at a time; while one is under way nothing is read from it.
//!
//! [`Table`]: archipelago_store::Table
//! [`Table::name`]: archipelago_store::Table::name
//! [`Durability::Memory`]: archipelago_store::Durability::Memory
//! [`Durability::Os`]: archipelago_store::Durability::Os
//! [`Durability::Fsync`]: archipelago_store::Durability::Fsync

mod folder;
mod options;
mod row_cache;
mod store;

pub use options::FjallOptions;
pub use store::FjallStore;
