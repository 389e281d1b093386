use archipelago::WriteReceipt;
use axum::{http::StatusCode, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{media::Format, session};

/// A write that was acknowledged.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Receipt {
    /// The entity.
    id: String,
    /// The unique name of the write.
    #[schema(example = "us-east@0199c2f3a1b20001:17")]
    dot: String,
    /// When it was written.
    hlc: String,
    /// True while the broker is away: the write waits.
    queued: bool,
    /// How far it had come.
    reached: Reach,
    /// What the writer has seen with it, for the headers `Archipelago-Session` and `Archipelago-Context`.
    session: String,
}

/// How far a write had come when it was answered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reach {
    /// The broker had it.
    pipeline: bool,
    /// How many other masters had told that they have it.
    peers: usize,
    /// As far as was asked.
    enough: bool,
}

impl Receipt {
    pub(crate) fn new(receipt: &WriteReceipt) -> Receipt {
        Receipt {
            id: receipt.entity_id.to_string(),
            dot: receipt.dot.to_string(),
            hlc: receipt.hlc.to_string(),
            queued: receipt.queued,
            reached: Reach {
                pipeline: receipt.reached.pipeline,
                peers: receipt.reached.peers,
                enough: receipt.reached.enough,
            },
            session: session::encoded(&receipt.token),
        }
    }

    /// 200, or 202 if the write has not come yet as far as was asked.
    pub(crate) fn status(&self) -> StatusCode {
        if self.reached.enough { StatusCode::OK } else { StatusCode::ACCEPTED }
    }
}

/// The response to a write.
pub(crate) fn written(format: Format, receipt: &WriteReceipt) -> Response {
    let body = Receipt::new(receipt);
    let mut response = format.response(&body);
    *response.status_mut() = body.status();
    response.headers_mut().insert(session::SESSION_HEADER, session::header_value(&receipt.token));
    response
}
