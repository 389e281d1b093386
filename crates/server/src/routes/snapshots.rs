//! Snapshots of a namespace: `/v1/namespaces/{namespace}/snapshots`.

use archipelago::{
    SnapshotError, SnapshotInfo, SnapshotStore, SnapshotStoreError,
    manager::snapshot::{SnapshotReader, verify_snapshot},
    proto::Limits,
};
use axum::{extract::State, http::StatusCode, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{InPath, listing::NamespacePath};
use crate::{
    app::App,
    media::Accepted,
    problem::{Problem, ProblemBody},
};

/// How many snapshots are listed, the newest.
const LISTED_MAX: usize = 1_000;

/// Which snapshot.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct SnapshotPath {
    /// The namespace.
    namespace: String,
    /// The name of the snapshot.
    snapshot: String,
}

/// The snapshots of a namespace, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Snapshots {
    snapshots: Vec<Listed>,
}

/// A snapshot, or why it cannot be used.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Listed {
    Usable(Snapshot),
    Unusable {
        /// The name under which it is kept.
        name: String,
        /// Why it cannot be used, for a person to read.
        error: String,
    },
}

/// A snapshot, as its manifest says.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Snapshot {
    /// The name under which it is kept.
    name: String,
    /// Whose state it is.
    master: String,
    /// When it was made, in milliseconds since 1970 by that master's clock.
    made_unix_ms: u64,
    /// How many entities are in it.
    entities: u64,
    chunks: u64,
    bytes: u64,
    /// How many bytes that is uncompressed.
    raw_bytes: u64,
    /// Names the content, wherever it lies.
    digest: String,
}

impl From<SnapshotInfo> for Snapshot {
    fn from(info: SnapshotInfo) -> Self {
        Snapshot {
            name: info.name,
            master: info.master_id.to_string(),
            made_unix_ms: info.made_unix_ms,
            entities: info.entities,
            chunks: info.chunks,
            bytes: info.bytes,
            raw_bytes: info.raw_bytes,
            digest: format!("{:032x}", info.digest),
        }
    }
}

/// The snapshots of a namespace in `snapshots.folder`.
#[utoipa::path(
    get, operation_id = "list_snapshots", path = "/v1/namespaces/{namespace}/snapshots", tag = "snapshots",
    params(NamespacePath),
    responses(
        (status = 200, body = Snapshots),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list(
    State(app): State<App>,
    accepted: Accepted,
    InPath(path): InPath<NamespacePath>,
) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let namespace = app.namespace(&path.namespace)?;
    namespace.master("snapshots")?;
    let folder = namespace.snapshots()?;
    // Names of one namespace sort by age; those of others begin otherwise.
    let mut names = folder.list().await.map_err(SnapshotError::from)?;
    names.retain(|name| name.starts_with(&format!("{}-", path.namespace)));
    names.sort();
    names.drain(..names.len().saturating_sub(LISTED_MAX));
    let mut snapshots = Vec::with_capacity(names.len());
    for name in names {
        match SnapshotReader::open(folder, &name, &Limits::default()).await.map(|reader| reader.info()) {
            Ok(info) if info.namespace == path.namespace => snapshots.push(Listed::Usable(info.into())),
            Ok(_) | Err(SnapshotError::Snapshots(SnapshotStoreError::NotFound { .. })) => {}
            Err(error) => snapshots.push(Listed::Unusable { name, error: error.to_string() }),
        }
    }
    Ok(format.response(&Snapshots { snapshots }))
}

/// A snapshot, as its manifest says.
#[utoipa::path(
    get, operation_id = "show_snapshot", path = "/v1/namespaces/{namespace}/snapshots/{snapshot}", tag = "snapshots",
    params(SnapshotPath),
    responses(
        (status = 200, body = Snapshot),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn show(
    State(app): State<App>,
    accepted: Accepted,
    InPath(path): InPath<SnapshotPath>,
) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let folder = of(&app, &path)?;
    let reader = SnapshotReader::open(folder, &path.snapshot, &Limits::default()).await?;
    Ok(format.response(&Snapshot::from(reader.info())))
}

/// Makes a snapshot of all that this node has, while it goes on. Answered once it is stored.
#[utoipa::path(
    post, operation_id = "make_snapshot", path = "/v1/namespaces/{namespace}/snapshots", tag = "snapshots",
    params(NamespacePath),
    responses(
        (status = 201, body = Snapshot),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn make(
    State(app): State<App>,
    accepted: Accepted,
    InPath(path): InPath<NamespacePath>,
) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let namespace = app.namespace(&path.namespace)?;
    let (master, folder) = (namespace.master("snapshots")?, namespace.snapshots()?);
    let info = master.create_snapshot(folder).await?;
    let mut response = format.response(&Snapshot::from(info));
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// Reads all of a snapshot, and holds it against its digests. Answered once that is done; `damaged` if it is not whole.
#[utoipa::path(
    post, operation_id = "verify_snapshot", path = "/v1/namespaces/{namespace}/snapshots/{snapshot}/verify", tag = "snapshots",
    params(SnapshotPath),
    responses(
        (status = 200, body = Snapshot),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn verify(
    State(app): State<App>,
    accepted: Accepted,
    InPath(path): InPath<SnapshotPath>,
) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let folder = of(&app, &path)?;
    let info = verify_snapshot(folder, &path.snapshot, &Limits::default()).await?;
    Ok(format.response(&Snapshot::from(info)))
}

/// Where a snapshot of this namespace is kept.
fn of<'a>(app: &'a App, path: &SnapshotPath) -> Result<&'a archipelago::SnapshotFolder, Problem> {
    let namespace = app.namespace(&path.namespace)?;
    namespace.master("snapshots")?;
    let folder = namespace.snapshots()?;
    // Whoever may see one namespace is to read of no other one.
    match path.snapshot.strip_prefix(&*path.namespace).is_some_and(|rest| rest.starts_with('-')) {
        true => Ok(folder),
        false => Err(SnapshotError::from(SnapshotStoreError::NotFound {
            what: format!("snapshot {:?} of the namespace {:?}", path.snapshot, path.namespace),
        })
        .into()),
    }
}
