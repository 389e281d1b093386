//! The one place that defines Archipelago's bytes: what travels between replicas and what is stored.
//!
//! Everything is MessagePack, described in `docs/FORMAT.md` well enough to write a client in another language.
//!
//! ```
//! use std::sync::Arc;
//! use archipelago_clock::{Dot, Hlc, Incarnation, ReplicaId, VersionVector};
//! use archipelago_proto::{BatchEncoder, Event, EventBatch, Limits, Op, encode_value};
//!
//! let limits = Limits::default();
//! let origin = ReplicaId::new("us-east", Incarnation::from_bits(1))?;
//! let event = Event {
//!     dot: Dot::new(origin, 1),
//!     hlc: Hlc::new(1_000, 0),
//!     deps: Arc::new(VersionVector::new()),
//!     context: None,
//!     entity: "user/7".into(),
//!     op: Op::Put(encode_value("Alice", &limits)?),
//!     trace: None,
//! };
//! let mut encoder = BatchEncoder::new("people", &limits);
//! assert!(encoder.push(&event));
//! let message = encoder.finish()?.expect("one event was packed");
//! assert_eq!(EventBatch::decode(message, &limits)?.events, [event]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | module | noun |
//! |---|---|
//! | `event` | [`Event`], [`Op`], [`Slot`]: one write |
//! | `trace` | [`TraceId`]: what a write is a part of |
//! | `batch` | [`EventBatch`], [`BatchEncoder`]: events of one origin as one message |
//! | `heartbeat` | [`Heartbeat`]: what a replica says of itself |
//! | `floor` | [`Floor`]: below which tombstones are reclaimed; [`LogMessage`]: what the log holds |
//! | `member` | [`Member`]: who belongs to a namespace |
//! | `delta` | [`DeltaRequest`], [`DeltaPiece`]: what one replica asks of another's state; [`ChangesPart`]: the same for any road |
//! | `snapshot` | [`SnapshotChunk`], [`SnapshotManifest`]: a whole state in chunks, compressed, each with its digest |
//! | `examination` | [`StateQuestion`], [`StateAnswer`]: what one replica asks of another to find where their states differ |
//! | `leader` | [`EntryBatch`]: entries of the log that a leader writes; [`NodeBeat`], [`NodeQuestion`], [`NodeAnswer`]: what its nodes say beside it |
//! | `signature` | [`Signature`]: who says a message; [`ListedKey`]: who may speak for whom |
//! | `envelope` | the frame around every message: version, kind, checksum |
//! | `record` | [`Record`], [`Version`], [`Body`]: the stored state of one entity |
//! | `value` | the values that users store |
//! | `limits` | [`Limits`]: every bound, with its default |
//!
//! Invariants:
//! - Decoding never panics, never recurses and never allocates more than a small multiple of its input; for a compressed
//!   chunk, of what it says it unpacks to, which is bounded first.
//! - A message is understood as a whole or not at all.
//! - Whatever a released version wrote decodes for ever: the fixtures under `tests/golden` are frozen.

mod batch;
mod delta;
mod envelope;
mod error;
mod event;
mod examination;
mod floor;
mod heartbeat;
mod leader;
mod limits;
mod log_message;
mod member;
mod op;
mod reader;
mod record;
mod replica;
mod replica_list;
mod signature;
mod snapshot;
mod text;
mod trace;
mod value;
mod vector;
mod writer;

pub use batch::{BatchEncoder, EventBatch};
pub use delta::{ChangesPart, DeltaPiece, DeltaRequest};
pub use envelope::{ENVELOPE_VERSION, EnvelopeKind};
pub use error::{DecodeError, EncodeError};
pub use event::{Event, Op, Slot};
pub use examination::{HeldContent, Holding, StateAbout, StateAnswer, StateQuestion, StateTold};
pub use floor::Floor;
pub use heartbeat::{Heartbeat, LogPlace};
pub use leader::{
    Entry, EntryBatch, EntryBatchBuilder, ForwardedWrite, NodeAnswer, NodeBeat, NodeQuestion, NodeRole,
    Operation, PutKind, StatePage, WriteRefusal, chain,
};
pub use limits::Limits;
pub use log_message::LogMessage;
pub use member::{Member, MemberState, decode_members, encode_members};
pub use record::{Body, Record, ReplicaTable, Version};
pub use signature::{
    LISTED_KEYS_MAX, ListedKey, SIGNATURE_BYTES_MAX, Said, Signature, decode_keys, encode_keys, speaker,
};
pub use snapshot::{ChunkEntry, SnapshotChunk, SnapshotManifest};
pub use text::{EntityId, FieldName, Text};
pub use trace::{InvalidTraceId, TraceId};
pub use value::{check_value, decode_value, encode_value, join_fields, split_fields};
