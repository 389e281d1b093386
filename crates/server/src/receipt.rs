use archipelago::{EntityTag, WriteReceipt, leader_follower};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{media::Format, session};

/// A write that was acknowledged.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Receipt {
    /// The entity.
    id: String,
    /// The unique name of the write; of multi-master namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "us-east@0199c2f3a1b20001:17")]
    dot: Option<String>,
    /// When it was written; of multi-master namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    hlc: Option<String>,
    /// The index of the write; of leader-follower namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    /// The term of the leader who wrote it; of leader-follower namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    term: Option<u64>,
    /// True while the broker is away: the write waits.
    queued: bool,
    /// How far it had come.
    reached: Reach,
    /// What the writer has seen with it, for the headers `Archipelago-Session` and `Archipelago-Context`.
    session: String,
    /// The state of the entity by this write, as in the header `ETag`; missing if it has no value now, or if somebody else was
    /// faster.
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
}

/// How far a write had come when it was answered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reach {
    /// The broker had it.
    pipeline: bool,
    /// How many other nodes were known to have it.
    peers: usize,
    /// As far as was asked.
    enough: bool,
}

/// What a write made of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is one.
    Written,
    /// There is none any more.
    Removed,
}

impl Receipt {
    /// Of a master.
    pub(crate) fn new(receipt: &WriteReceipt, tag: Option<EntityTag>) -> Receipt {
        Receipt {
            id: receipt.entity_id.to_string(),
            dot: Some(receipt.dot.to_string()),
            hlc: Some(receipt.hlc.to_string()),
            sequence: None,
            term: None,
            queued: receipt.queued,
            reached: Reach {
                pipeline: receipt.reached.pipeline,
                peers: receipt.reached.peers,
                enough: receipt.reached.enough,
            },
            session: session::encoded(&receipt.token),
            etag: tag.map(|tag| tag.to_string()),
        }
    }

    /// Of a leader.
    pub(crate) fn of_leader(
        id: String,
        receipt: &leader_follower::WriteReceipt,
        outcome: Outcome,
    ) -> Receipt {
        Receipt {
            id,
            dot: None,
            hlc: None,
            sequence: Some(receipt.sequence),
            term: Some(receipt.term),
            queued: false,
            reached: Reach { pipeline: true, peers: receipt.followers, enough: receipt.enough },
            session: receipt.token.to_string(),
            etag: (outcome == Outcome::Written).then(|| receipt.version.to_string()),
        }
    }

    /// 200, or 202 if the write has not come yet as far as was asked.
    pub(crate) fn status(&self) -> StatusCode {
        if self.reached.enough { StatusCode::OK } else { StatusCode::ACCEPTED }
    }
}

/// The response to a write.
pub(crate) fn written(format: Format, receipt: &Receipt) -> Response {
    let mut response = format.response(receipt);
    *response.status_mut() = receipt.status();
    let headers = response.headers_mut();
    // Tokens and tags are visible ASCII.
    if let Ok(session) = HeaderValue::try_from(&receipt.session) {
        headers.insert(session::SESSION_HEADER, session);
    }
    if let Some(tag) = &receipt.etag {
        headers.insert(header::ETAG, session::etag(tag));
    }
    response
}
