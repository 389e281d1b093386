//! JSON and MessagePack, by `Accept` and `Content-Type`.

use std::convert::Infallible;

use archipelago::{Value, proto::Limits};
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::problem::{Problem, ProblemType};

/// In which form data travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    MessagePack,
}

/// The form of the response that the client asked for; `Err` holds why there is none.
#[derive(Debug)]
pub(crate) struct Accepted(Result<Format, Problem>);

/// A body that was read, in the form that its head names.
#[derive(Debug)]
pub(crate) struct Body {
    format: Format,
    bytes: Bytes,
}

impl Format {
    fn named(name: &str) -> Option<Format> {
        match name {
            "application/json" => Some(Format::Json),
            "application/msgpack" | "application/vnd.msgpack" | "application/x-msgpack" => {
                Some(Format::MessagePack)
            }
            _ => None,
        }
    }

    /// The one that the client likes best; JSON if it does not care.
    fn accepted(headers: &HeaderMap) -> Option<Format> {
        let mut best: Option<(f32, Format)> = None;
        let ranges = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut is_any = true;
        for range in ranges.flat_map(|value| value.split(',')) {
            is_any = false;
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse);
            let format = match &*name {
                "*/*" | "application/*" => Some(Format::Json),
                name => Format::named(name),
            };
            if let (Some(format), Ok(quality)) = (format, quality)
                && quality > best.map_or(0.0, |(best, _)| best)
            {
                best = Some((quality, format));
            }
        }
        if is_any { Some(Format::Json) } else { best.map(|(_, format)| format) }
    }

    /// Data as a response.
    pub(crate) fn response(self, data: &impl Serialize) -> Response {
        let (content_type, encoded) = match self {
            Format::Json => ("application/json", serde_json::to_vec(data).map_err(|error| error.to_string())),
            Format::MessagePack => {
                ("application/msgpack", rmp_serde::to_vec_named(data).map_err(|error| error.to_string()))
            }
        };
        match encoded {
            Ok(bytes) => {
                let mut response = bytes.into_response();
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
                headers.insert(header::VARY, HeaderValue::from_static("accept"));
                response
            }
            Err(error) => {
                Problem::new(ProblemType::Internal, format!("the response cannot be encoded: {error}"))
                    .into_response()
            }
        }
    }
}

impl Accepted {
    /// # Errors
    /// [`ProblemType::NotAcceptable`].
    pub(crate) fn format(self) -> Result<Format, Problem> {
        self.0
    }
}

impl<S: Sync> FromRequestParts<S> for Accepted {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let problem =
            || Problem::new(ProblemType::NotAcceptable, "there is application/json and application/msgpack");
        Ok(Accepted(Format::accepted(&parts.headers).ok_or_else(problem)))
    }
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let named = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let name = named.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let format = Format::named(&name.to_ascii_lowercase()).ok_or_else(|| {
            let detail = format!("send application/json or application/msgpack, not {name:?}");
            Problem::new(ProblemType::UnsupportedMediaType, detail)
        })?;
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            let kind = match rejection.status() {
                status if status == ProblemType::TooLarge.status() => ProblemType::TooLarge,
                _ => ProblemType::InvalidRequest,
            };
            Problem::new(kind, rejection.body_text())
        })?;
        Ok(Body { format, bytes })
    }
}

impl Body {
    /// # Errors
    /// [`ProblemType::InvalidRequest`] if it is not a `T`.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        match self.format {
            Format::Json => serde_json::from_slice(&self.bytes)
                .map_err(|error| Problem::invalid(format!("the body is not what it should be: {error}"))),
            // Checked against the depth of values first, as the decoder recurses.
            Format::MessagePack => {
                archipelago::proto::decode_value(&self.bytes, &Limits::default().for_state())
                    .map_err(|error| Problem::invalid(format!("the body is not what it should be: {error}")))
            }
        }
    }

    /// # Errors
    /// As [`parse`](Self::parse).
    pub(crate) fn value(&self) -> Result<Value, Problem> {
        self.parse()
    }
}
