use std::{
    error::Error,
    sync::Arc,
    time::{Duration, SystemTime},
};

use archipelago_pipeline::{
    PipelineError,
    snapshots::{SNAPSHOT_CHUNK_BYTES_MAX, SnapshotStoreError},
};
use async_nats::jetstream::{
    self, ErrorCode,
    message::{PublishMessage, StreamMessage},
    object_store::{self, ObjectInfo, ObjectMetadata, ObjectStore},
    stream::{DirectGetErrorKind, LastRawMessageErrorKind, Stream},
};
use base64::{Engine, engine::general_purpose::URL_SAFE};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::OnceCell;

use crate::{
    config::{NatsConfig, Storage},
    error,
    link::{Links, Role},
};

/// The connection to the broker and the bucket's name.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) context: jetstream::Context,
    pub(crate) links: Arc<Links>,
    pub(crate) config: Arc<NatsConfig>,
    pub(crate) name: Arc<str>,
    /// The size of the messages that an object is put in.
    pub(crate) message_bytes: usize,
}

/// An object store that exists, its errors in the words of snapshots.
pub(crate) struct Bucket {
    place: Place,
    stream: Stream,
    /// What puts and lists objects, once that is needed.
    objects: OnceCell<ObjectStore>,
}

impl Place {
    /// The bucket; `None` if there is none.
    pub(crate) async fn bucket(&self) -> Result<Option<Bucket>, SnapshotStoreError> {
        let call = async {
            match self.context.get_stream(format!("OBJ_{}", self.name)).await {
                Ok(stream) => Ok(Some(stream)),
                Err(error) => match self.pipeline_error(&error) {
                    PipelineError::LogMissing { .. } => Ok(None),
                    error => Err(error),
                },
            }
        };
        let stream = self.links.request(Role::Publish, call).await.map_err(outward)?;
        Ok(stream.map(|stream| Bucket { place: self.clone(), stream, objects: OnceCell::new() }))
    }

    /// The bucket, which is made unless it exists.
    pub(crate) async fn open(&self) -> Result<Bucket, SnapshotStoreError> {
        if let Some(bucket) = self.bucket().await? {
            return Ok(bucket);
        }
        let wanted = object_store::Config {
            bucket: self.name.to_string(),
            description: Some(format!("Archipelago: the snapshots of namespace {}", self.config.namespace)),
            max_bytes: -1,
            storage: match self.config.storage {
                Storage::File => jetstream::stream::StorageType::File,
                Storage::Memory => jetstream::stream::StorageType::Memory,
            },
            num_replicas: self.config.replicas,
            ..object_store::Config::default()
        };
        self.request(self.context.create_object_store(wanted)).await?;
        self.bucket().await?.ok_or_else(|| SnapshotStoreError::Unavailable {
            reason: format!("the bucket {:?} was deleted just after it was made", self.name),
        })
    }

    /// A call that the connection may be lost under.
    async fn request<T, E: Error + 'static>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, SnapshotStoreError> {
        let call = async { call.await.map_err(|error| self.pipeline_error(&error)) };
        self.links.request(Role::Publish, call).await.map_err(outward)
    }

    /// What the broker answered is somewhere among the sources of an error.
    fn pipeline_error(&self, error: &(dyn Error + 'static)) -> PipelineError {
        error::from_any(error, &self.name, &self.links, self.config.ack_timeout)
    }

    /// How long the next object of a list may take.
    fn patience(&self) -> Duration {
        self.config.ack_timeout.saturating_mul(2)
    }

    fn silent(&self) -> SnapshotStoreError {
        let reason = format!("the bucket {:?} sent nothing for {:?}", self.name, self.patience());
        SnapshotStoreError::Unavailable { reason }
    }
}

impl Bucket {
    /// What the broker's leader knows of an object.
    pub(crate) async fn info(&self, object: &str) -> Result<Option<ObjectInfo>, SnapshotStoreError> {
        let subject = self.meta_subject(object);
        let call = async {
            match self.stream.get_last_raw_message_by_subject(&subject).await {
                Ok(message) => Ok(Some(message.payload)),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(error),
            }
        };
        let Some(payload) = self.place.request(call).await? else { return Ok(None) };
        let info: ObjectInfo = serde_json::from_slice(&payload).map_err(|error| {
            SnapshotStoreError::Damaged { name: object.to_owned(), reason: error.to_string() }
        })?;
        Ok(Some(info).filter(|info| !info.deleted))
    }

    /// What is known of all objects.
    pub(crate) async fn infos(&self) -> Result<Vec<ObjectInfo>, SnapshotStoreError> {
        let mut list = self.place.request(self.objects().await?.list()).await?;
        let mut infos = Vec::new();
        loop {
            let next = tokio::time::timeout(self.place.patience(), list.next());
            match next.await.map_err(|_| self.place.silent())? {
                Some(info) => infos.push(self.place.request(std::future::ready(info)).await?),
                None => return Ok(infos),
            }
        }
    }

    /// The bytes of an object that is part of the snapshot `name`.
    ///
    /// Read message by message: what async-nats reads objects with leaves a consumer behind for each, and a server takes
    /// a thousand of them.
    pub(crate) async fn get(&self, name: &str, object: &str) -> Result<Bytes, SnapshotStoreError> {
        let damaged = |what: &str| {
            let reason = format!("the object {object:?} {what}");
            SnapshotStoreError::Damaged { name: name.to_owned(), reason }
        };
        let ObjectInfo { nuid, size, .. } = self.info(object).await?.ok_or_else(|| damaged("is gone"))?;
        if size > SNAPSHOT_CHUNK_BYTES_MAX {
            return Err(damaged("is larger than a chunk may be"));
        }
        let (subject, mut bytes, mut from) = (self.content_subject(&nuid), Vec::with_capacity(size), 1);
        while bytes.len() < size {
            let message = self.next_message(&subject, from).await?;
            let message = message.ok_or_else(|| damaged("lacks a part of its content"))?;
            bytes.extend_from_slice(&message.payload);
            from = message.sequence + 1;
        }
        match bytes.len() == size {
            true => Ok(bytes.into()),
            false => Err(damaged("has more content than it says")),
        }
    }

    /// The first message of a subject at `from` or behind.
    async fn next_message(
        &self,
        subject: &str,
        from: u64,
    ) -> Result<Option<StreamMessage>, SnapshotStoreError> {
        if self.stream.cached_info().config.allow_direct {
            let call = async {
                match self.stream.direct_get_next_for_subject(subject, Some(from)).await {
                    Ok(message) => Ok(Some(message)),
                    Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error),
                }
            };
            // Any server of a cluster may answer, and one that has no such message may lag behind.
            if let Some(message) = self.place.request(call).await? {
                return Ok(Some(message));
            }
        }
        let call = async {
            match self.stream.get_first_raw_message_by_subject(subject, from).await {
                Ok(message) => Ok(Some(message)),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.place.request(call).await
    }

    async fn objects(&self) -> Result<&ObjectStore, SnapshotStoreError> {
        let Place { context, name, .. } = &self.place;
        self.objects.get_or_try_init(|| self.place.request(context.get_object_store(&**name))).await
    }

    pub(crate) async fn put(
        &self,
        object: ObjectMetadata,
        bytes: &[u8],
    ) -> Result<ObjectInfo, SnapshotStoreError> {
        let object = ObjectMetadata { chunk_size: Some(self.place.message_bytes), ..object };
        let mut from = bytes;
        self.place.request(self.objects().await?.put(object, &mut from)).await
    }

    /// Gives the content of an object a second name, which nothing must have; false if something has.
    pub(crate) async fn name(&self, info: ObjectInfo, object: String) -> Result<bool, SnapshotStoreError> {
        let subject = self.meta_subject(&object);
        let info = ObjectInfo { name: object, ..info };
        let payload = serde_json::to_vec(&info).map_err(|error| SnapshotStoreError::Refused {
            reason: format!("what is known of an object cannot be written: {error}"),
        })?;
        let message = PublishMessage::build().payload(payload.into()).expected_last_subject_sequence(0);
        let call = async {
            let sent = self.place.context.send_publish(subject, message).await;
            match sent.map(IntoFuture::into_future) {
                Ok(ack) => ack.await,
                Err(error) => Err(error),
            }
        };
        let call = async {
            match call.await {
                Ok(_) => Ok(true),
                Err(error) if is_taken(&error) => Ok(false),
                Err(error) => Err(error),
            }
        };
        self.place.request(call).await
    }

    /// Forgets a name of an object and keeps its content.
    pub(crate) async fn forget(&self, object: &str) -> Result<(), SnapshotStoreError> {
        self.purge(self.meta_subject(object)).await
    }

    /// Removes an object. Its name goes last, so that nothing is left without one.
    pub(crate) async fn remove(&self, info: &ObjectInfo) -> Result<(), SnapshotStoreError> {
        self.purge(self.content_subject(&info.nuid)).await?;
        self.forget(&info.name).await
    }

    /// Removes the contents that are at least so old and that no object of `infos` has: their writer was killed before it
    /// could name them.
    pub(crate) async fn remove_nameless(
        &self,
        infos: &[ObjectInfo],
        age: Duration,
    ) -> Result<(), SnapshotStoreError> {
        let mut subjects =
            self.place.request(self.stream.info_with_subjects(self.content_subject(">"))).await?;
        let prefix = self.content_subject("");
        while let Some(subject) = subjects.next().await {
            let (subject, _) = self.place.request(std::future::ready(subject)).await?;
            let nuid = subject.strip_prefix(&prefix).unwrap_or_default();
            if infos.iter().any(|info| info.nuid == nuid) {
                continue;
            }
            let last = self.place.request(self.stream.get_last_raw_message_by_subject(&subject)).await;
            // What is gone by now needs no removing.
            let Ok(last) = last else { continue };
            if is_older(last.time.into(), age) {
                self.purge(subject).await?;
            }
        }
        Ok(())
    }

    async fn purge(&self, subject: String) -> Result<(), SnapshotStoreError> {
        self.place.request(self.stream.purge().filter(subject).into_future()).await.map(|_| ())
    }

    fn meta_subject(&self, object: &str) -> String {
        format!("$O.{}.M.{}", self.place.name, URL_SAFE.encode(object))
    }

    fn content_subject(&self, nuid: &str) -> String {
        format!("$O.{}.C.{nuid}", self.place.name)
    }
}

/// Whether something from then is at least so old, by the clock here.
pub(crate) fn is_older(then: SystemTime, age: Duration) -> bool {
    // What is from the future by this clock is as young as can be.
    SystemTime::now().duration_since(then).unwrap_or_default() >= age
}

/// Whether a message was refused because its subject has one already.
fn is_taken(error: &(dyn Error + 'static)) -> bool {
    const TAKEN: [ErrorCode; 2] =
        [ErrorCode::STREAM_WRONG_LAST_SEQUENCE, ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT];
    error::answer(error).is_some_and(|answer| TAKEN.contains(&answer.error_code()))
}

/// An error of the broker in the words of snapshots.
fn outward(error: PipelineError) -> SnapshotStoreError {
    let reason = error.to_string();
    match error.is_retryable() || error.is_loss() {
        true => SnapshotStoreError::Unavailable { reason },
        false => SnapshotStoreError::Refused { reason },
    }
}
