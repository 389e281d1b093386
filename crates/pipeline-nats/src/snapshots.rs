use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use archipelago_pipeline::{
    PipelineError, check_name,
    snapshots::{
        SnapshotStore, SnapshotStoreError, SnapshotWriter, check_snapshot_chunk, check_snapshot_name,
    },
};
use async_nats::{
    Client,
    jetstream::object_store::{ObjectInfo, ObjectMetadata},
};
use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    address::{Addresses, masked},
    bucket::{Bucket, Place, is_older},
    config::{NatsConfig, OnStart},
    connection,
    link::{Links, Role},
};

/// What the name of a manifest ends with.
const MANIFEST: &str = "manifest";

/// Under which key a manifest says which attempt it belongs to, and how many chunks there are.
const ATTEMPT: &str = "attempt";
const CHUNKS: &str = "chunks";

/// The size of the messages that an object is put in, if the server takes them.
const MESSAGE_BYTES: usize = 512 * 1024;

/// After how long without a new object a writer counts as gone.
const LEFTOVER_AGE: Duration = Duration::from_secs(60 * 60);

/// Snapshots in the JetStream object store, in the bucket `archipelago_<namespace>_snapshots`, over a connection of
/// their own. Clones share it.
///
/// Each attempt to write a snapshot has objects of its own, `<name>/<attempt>/<index>` and
/// `<name>/<attempt>/manifest`. The object `<name>/manifest` comes last and only once: it has the content of the
/// manifest, and names the attempt. The bucket is made when the first snapshot is begun.
#[derive(Clone)]
pub struct NatsSnapshots {
    place: Place,
    client: Client,
    leftover_age: Duration,
}

impl NatsSnapshots {
    /// Connects as [`NatsPipeline::connect`](crate::NatsPipeline::connect) does with the same options, of which those
    /// about logs and payloads do not matter here. Storage and replicas are those of the bucket, if it is made.
    ///
    /// # Errors
    /// Those of [`NatsPipeline::connect`](crate::NatsPipeline::connect).
    ///
    /// # Panics
    /// If called outside of a tokio runtime.
    pub async fn connect(config: NatsConfig) -> Result<NatsSnapshots, PipelineError> {
        check_name(&config.namespace)?;
        let addresses = Addresses::parse(&config.urls)?;
        let links = Arc::new(Links::new(masked(&config.urls)));
        let client = connection::connect(&config, &addresses, &links, Role::Publish).await?;
        let context = connection::context(&client, &config);
        if config.on_start == OnStart::FailFast {
            connection::examine(&client, &context, &links, Role::Publish).await?;
            // The event of the connection is on its way.
            let up = links.link(Role::Publish).wait_until_up();
            let _ = tokio::time::timeout(config.connect_timeout, up).await;
        }
        let name = format!("archipelago_{}_snapshots", config.namespace).into();
        let place = Place { context, links, config: Arc::new(config), name, message_bytes: MESSAGE_BYTES };
        Ok(NatsSnapshots { place, client, leftover_age: LEFTOVER_AGE })
    }

    /// After how long without a new object a writer that has not finished counts as gone; what it wrote is removed then.
    /// Default 1 hour, by the clocks of who writes and who removes. A writer that is slower between two chunks loses its
    /// snapshot.
    #[must_use]
    pub fn leftover_age(mut self, age: Duration) -> NatsSnapshots {
        self.leftover_age = age;
        self
    }

    /// The place, for a server of which the limits are known by now.
    fn place(&self) -> Place {
        let limit = self.client.try_server_info().map_or(usize::MAX, |info| info.max_payload);
        Place { message_bytes: MESSAGE_BYTES.min(limit.max(1)), ..self.place.clone() }
    }

    /// The bucket, and what a snapshot's manifest says.
    async fn find(&self, name: &str) -> Result<(Bucket, Commit), SnapshotStoreError> {
        check_snapshot_name(name)?;
        let missing = || SnapshotStoreError::NotFound { what: format!("snapshot {name:?}") };
        let bucket = self.place().bucket().await?.ok_or_else(missing)?;
        let info = bucket.info(&commit_name(name)).await?.ok_or_else(missing)?;
        let commit = Commit::read(&info).ok_or_else(|| SnapshotStoreError::Damaged {
            name: name.to_owned(),
            reason: "its manifest does not say where its chunks are".to_owned(),
        })?;
        Ok((bucket, commit))
    }

    /// Removes what writers that are gone have left.
    async fn remove_leftovers(&self, bucket: &Bucket) -> Result<(), SnapshotStoreError> {
        let infos = bucket.infos().await?;
        let complete: BTreeSet<String> = infos
            .iter()
            .filter_map(|info| Some(prefix(commit_of(info)?, &Commit::read(info)?.attempt)))
            .collect();
        let mut attempts: BTreeMap<&str, (SystemTime, Vec<&ObjectInfo>)> = BTreeMap::new();
        for info in infos.iter().filter(|info| commit_of(info).is_none()) {
            let Some((attempt, _)) = info.name.rsplit_once('/') else { continue };
            let modified = info.modified.map_or(SystemTime::UNIX_EPOCH, SystemTime::from);
            let (newest, objects) = attempts.entry(attempt).or_insert((modified, Vec::new()));
            *newest = (*newest).max(modified);
            objects.push(info);
        }
        for (attempt, (newest, objects)) in attempts {
            if !complete.contains(attempt) && is_older(newest, self.leftover_age) {
                for info in objects {
                    bucket.remove(info).await?;
                }
            }
        }
        bucket.remove_nameless(&infos, self.leftover_age).await
    }
}

impl fmt::Debug for NatsSnapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsSnapshots")
            .field("config", &self.place.config)
            .field("bucket", &self.place.name)
            .field("leftover_age", &self.leftover_age)
            .finish_non_exhaustive()
    }
}

/// What a manifest that makes a snapshot complete says.
struct Commit {
    attempt: String,
    chunks: u64,
}

impl Commit {
    fn read(info: &ObjectInfo) -> Option<Commit> {
        let attempt = info.metadata.get(ATTEMPT)?.clone();
        Some(Commit { attempt, chunks: info.metadata.get(CHUNKS)?.parse().ok()? })
    }
}

/// The name of the object that makes a snapshot complete.
fn commit_name(name: &str) -> String {
    format!("{name}/{MANIFEST}")
}

/// The name of the snapshot that this object makes complete.
fn commit_of(info: &ObjectInfo) -> Option<&str> {
    info.name.strip_suffix(MANIFEST)?.strip_suffix('/').filter(|name| check_snapshot_name(name).is_ok())
}

/// What the names of all objects of an attempt begin with.
fn prefix(name: &str, attempt: &str) -> String {
    format!("{name}/{attempt}")
}

#[async_trait]
impl SnapshotStore for NatsSnapshots {
    async fn list(&self) -> Result<Vec<String>, SnapshotStoreError> {
        let Some(bucket) = self.place().bucket().await? else { return Ok(Vec::new()) };
        let infos = bucket.infos().await?;
        let names: BTreeSet<_> = infos.iter().filter_map(commit_of).map(str::to_owned).collect();
        Ok(names.into_iter().collect())
    }

    async fn manifest(&self, name: &str) -> Result<Bytes, SnapshotStoreError> {
        let (bucket, _) = self.find(name).await?;
        bucket.get(name, &commit_name(name)).await
    }

    async fn chunk(&self, name: &str, index: u64) -> Result<Bytes, SnapshotStoreError> {
        let (bucket, commit) = self.find(name).await?;
        if index >= commit.chunks {
            let what = format!("chunk {index} of the snapshot {name:?}");
            return Err(SnapshotStoreError::NotFound { what });
        }
        bucket.get(name, &format!("{}/{index}", prefix(name, &commit.attempt))).await
    }

    async fn remove(&self, name: &str) -> Result<(), SnapshotStoreError> {
        check_snapshot_name(name)?;
        let Some(bucket) = self.place().bucket().await? else { return Ok(()) };
        if let Some(info) = bucket.info(&commit_name(name)).await? {
            // From here on it is not listed, and its objects are those of a writer that is gone.
            bucket.forget(&info.name).await?;
            if let Some(commit) = Commit::read(&info) {
                let own = format!("{}/", prefix(name, &commit.attempt));
                for info in bucket.infos().await?.iter().filter(|info| info.name.starts_with(&own)) {
                    bucket.remove(info).await?;
                }
            }
        }
        self.remove_leftovers(&bucket).await
    }

    async fn begin(&self, name: &str) -> Result<Box<dyn SnapshotWriter>, SnapshotStoreError> {
        check_snapshot_name(name)?;
        let bucket = self.place().open().await?;
        self.remove_leftovers(&bucket).await?;
        if bucket.info(&commit_name(name)).await?.is_some() {
            return Err(SnapshotStoreError::AlreadyExists { name: name.to_owned() });
        }
        // The name of an inbox is unique.
        let inbox = self.client.new_inbox();
        let attempt = inbox.rsplit('.').next().unwrap_or(&inbox).to_owned();
        Ok(Box::new(NatsWriter { bucket, name: name.to_owned(), attempt, chunks: Some(0) }))
    }
}

/// A snapshot that is being put.
struct NatsWriter {
    bucket: Bucket,
    name: String,
    attempt: String,
    /// How many were put. None while one is put, and after a failure.
    chunks: Option<u64>,
}

impl fmt::Debug for NatsWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsWriter")
            .field("name", &self.name)
            .field("attempt", &self.attempt)
            .field("chunks", &self.chunks)
            .finish_non_exhaustive()
    }
}

impl NatsWriter {
    fn take(&mut self) -> Result<u64, SnapshotStoreError> {
        self.chunks.take().ok_or_else(|| SnapshotStoreError::Refused {
            reason: format!("the snapshot {:?} was given up in the midst; begin it again", self.name),
        })
    }

    fn object(&self, last: impl fmt::Display) -> String {
        format!("{}/{last}", prefix(&self.name, &self.attempt))
    }
}

#[async_trait]
impl SnapshotWriter for NatsWriter {
    async fn chunk(&mut self, bytes: Bytes) -> Result<(), SnapshotStoreError> {
        check_snapshot_chunk(&bytes)?;
        let index = self.take()?;
        let object = ObjectMetadata { name: self.object(index), ..ObjectMetadata::default() };
        self.bucket.put(object, &bytes).await?;
        self.chunks = Some(index + 1);
        Ok(())
    }

    async fn finish(mut self: Box<Self>, manifest: Bytes) -> Result<(), SnapshotStoreError> {
        check_snapshot_chunk(&manifest)?;
        let chunks = self.take()?;
        let says = [(ATTEMPT, self.attempt.clone()), (CHUNKS, chunks.to_string())];
        let object = ObjectMetadata {
            name: self.object(MANIFEST),
            metadata: says.map(|(key, value)| (key.to_owned(), value)).into(),
            ..ObjectMetadata::default()
        };
        let info = self.bucket.put(object, &manifest).await?;
        // Someone may have taken this for left over: it took too long.
        if let Some(index) = self.first_missing(chunks).await? {
            let name = self.name.clone();
            return Err(SnapshotStoreError::Damaged {
                name,
                reason: format!("chunk {index} was removed meanwhile"),
            });
        }
        match self.bucket.name(info, commit_name(&self.name)).await? {
            true => Ok(()),
            false => Err(SnapshotStoreError::AlreadyExists { name: self.name.clone() }),
        }
    }
}

impl NatsWriter {
    /// The first chunk that is not there any more.
    async fn first_missing(&self, chunks: u64) -> Result<Option<u64>, SnapshotStoreError> {
        let own = self.object("");
        let infos = self.bucket.infos().await?;
        let there: BTreeSet<&str> = infos.iter().filter_map(|info| info.name.strip_prefix(&own)).collect();
        Ok((0..chunks).find(|index| !there.contains(index.to_string().as_str())))
    }
}
