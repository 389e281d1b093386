//! Who says what: nodes sign what they say, and believe what is signed by those whose keys are on their list.
//!
//! | where | what |
//! |---|---|
//! | `key` | [`SigningKey`], [`PublicKey`]: Ed25519 |
//! | `list` | [`MemberKey`]: who may speak for whom; a map that nodes join with those of others |
//! | `ring` | the list of one node, in its store, and what it makes of a signature |
//! | `pipeline` | a decorator that signs what is sent, and lets through what is to be believed |
//! | `snapshots` | a decorator that lets through what is to be believed |
//! | `refusal` | what is refused, counted and logged |
//!
//! Nothing else knows of signatures: they are appended to messages on their way out, and looked at on their way in.

mod key;
mod list;
mod pipeline;
mod refusal;
mod ring;
mod snapshots;

pub use key::{InvalidKey, PublicKey, SigningKey};
pub use list::MemberKey;
pub use ring::KeyError;
pub(crate) use ring::KeyRing;

use std::sync::Arc;

use archipelago_pipeline::{Pipeline, PipelineError, snapshots::SnapshotStore};
use archipelago_proto::Said;
use bytes::Bytes;

use pipeline::SignedPipeline;
use snapshots::BelievedSnapshots;
pub(crate) use snapshots::MANIFEST;

/// With which key a node signs, and whom it believes from the start.
///
/// What is said by anyone else, or by nobody that can be told, is refused: messages of the log, heartbeats, questions
/// and answers. Lists of keys travel with heartbeats: whoever is [trusted](Self::trust) here may let in others, for all
/// nodes, with [`TrustedKeys::trust`], and withdraw keys.
///
/// ```
/// use archipelago_manager::{MultiMasterManager, Signatures, SigningKey};
///
/// let (paris, tokyo) = (SigningKey::generate(), SigningKey::generate());
/// // Tokyo believes Paris, and whom Paris lets in.
/// let signatures = Signatures::new(tokyo).trust("paris", paris.public());
/// let builder = MultiMasterManager::builder().master_id("tokyo").signatures(signatures);
/// ```
#[derive(Clone, Debug)]
pub struct Signatures {
    key: SigningKey,
    trusted: Vec<(String, PublicKey)>,
    is_required: bool,
}

impl Signatures {
    /// Signs with this key, and believes no other yet.
    pub fn new(key: SigningKey) -> Signatures {
        Signatures { key, trusted: Vec::new(), is_required: true }
    }

    /// Believes what is signed by this key and said in this name, and whom that one lets in. A key that was withdrawn since,
    /// here or elsewhere, stays so.
    #[must_use]
    pub fn trust(mut self, name: impl Into<String>, key: PublicKey) -> Signatures {
        self.trusted.push((name.into(), key));
        self
    }

    /// Whether what is not signed at all is refused. Default true; false for the time in which not all nodes sign yet: until
    /// then signatures that are there are checked, and anyone can leave them out.
    #[must_use]
    pub fn required(mut self, is_required: bool) -> Signatures {
        self.is_required = is_required;
        self
    }
}

/// The list of keys of a node that runs: who may speak for whom. It is in the store of the node, and the same at all
/// nodes that hear of each other.
#[derive(Clone, Debug)]
pub struct TrustedKeys(pub(crate) Arc<KeyRing>);

impl TrustedKeys {
    /// The keys that are known, also those that were withdrawn, in order of name.
    pub fn list(&self) -> Vec<MemberKey> {
        self.0.keys()
    }

    /// The name of this node, and the key with which it signs.
    pub fn own(&self) -> (&str, PublicKey) {
        self.0.own()
    }

    /// Lets in `name` with this key, beside others that it may have: what is signed with it is believed, here at once, and
    /// at every node that was [set up](Signatures::trust) to believe this one, or one that does, within seconds. It is
    /// stored when this returns.
    ///
    /// # Errors
    /// [`KeyError`]; except after [`KeyError::Store`], nothing changed.
    pub async fn trust(&self, name: &str, key: PublicKey) -> Result<(), KeyError> {
        self.0.decide(name, key, true).await
    }

    /// Withdraws a key: what is signed with it is believed no more, in the same way. That includes what it signed before and
    /// is still in the log; who applied that already keeps it, and others have it from them by repair.
    ///
    /// # Errors
    /// [`KeyError`]; except after [`KeyError::Store`], nothing changed.
    pub async fn withdraw(&self, name: &str, key: PublicKey) -> Result<(), KeyError> {
        self.0.decide(name, key, false).await
    }

    /// How many messages were not believed since the start.
    pub fn refused(&self) -> u64 {
        self.0.refused()
    }

    /// A pipeline on which only what this node believes arrives, for those who read the log beside it: an
    /// [`EventSubscriber`](crate::EventSubscriber).
    pub fn believing(&self, pipeline: impl Pipeline) -> impl Pipeline {
        SignedPipeline::new(Arc::new(pipeline), self.0.clone())
    }

    pub(crate) fn signed(&self, pipeline: Arc<dyn Pipeline>) -> Arc<dyn Pipeline> {
        Arc::new(SignedPipeline::new(pipeline, self.0.clone()))
    }

    pub(crate) fn believed(&self, inner: Arc<dyn SnapshotStore>) -> Arc<dyn SnapshotStore> {
        Arc::new(BelievedSnapshots { inner, ring: self.0.clone() })
    }

    /// A part of a snapshot, signed.
    pub(crate) fn sign_kept(
        &self,
        snapshot: &str,
        part: &str,
        bytes: &Bytes,
    ) -> Result<Bytes, PipelineError> {
        self.0.sign(Said::Kept { snapshot, part }, bytes)
    }
}
