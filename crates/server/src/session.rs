//! What a client has seen, as headers carry it.

use std::time::Duration;

use archipelago::{Ack, Expected, MultiMasterManager, SessionToken, TraceId, WriteOptions, leader_follower};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use crate::problem::{Problem, ProblemType};

/// What the client has seen: the node shows at least as much, or says that it cannot yet. In a response, what the client
/// has seen with it.
pub const SESSION_HEADER: HeaderName = HeaderName::from_static("archipelago-session");

/// What the author of a write had seen: a change made since then shows as a conflict instead of being overwritten unseen.
pub const CONTEXT_HEADER: HeaderName = HeaderName::from_static("archipelago-context");

/// The first byte of a token: which bytes follow.
const VERSION: u8 = 1;

/// How long is waited unless the request says so.
pub(crate) const WAIT_DEFAULT: Duration = Duration::from_secs(1);

/// How consistent a request wants to be.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Consistency {
    /// How long to wait, in milliseconds, until this node has applied what the session has seen, and until a write has come as
    /// far as `ack` asks. Default 1000; in leader-follower mode 5000.
    pub(crate) wait_ms: Option<u64>,
    /// How far a write must have come: `local`, `pipeline`, `majority`, or `peers:` and a number. Default `local`; in
    /// leader-follower mode, where the broker has every write, as configured. A write that has not come so far in time goes
    /// on, and is answered with 202.
    #[param(pattern = "^(local|pipeline|majority|peers:[0-9]{1,4})$")]
    pub(crate) ack: Option<String>,
}

/// A token as text, for headers, streams and bodies.
pub(crate) fn encoded(token: &SessionToken) -> String {
    let mut bytes = vec![VERSION];
    // A map of plain numbers cannot fail to be encoded.
    bytes.extend(rmp_serde::to_vec(token).unwrap_or_default());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// # Errors
/// [`ProblemType::InvalidRequest`].
pub(crate) fn decoded(text: &str, what: &str) -> Result<SessionToken, Problem> {
    let decode = || {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (version, token) = bytes.split_first()?;
        (*version == VERSION).then(|| rmp_serde::from_slice(token).ok())?
    };
    decode().ok_or_else(|| Problem::invalid(format!("{what} is no token that a node gave")))
}

/// The token of a master in a header.
pub(crate) fn token_in(headers: &HeaderMap, name: &HeaderName) -> Result<Option<SessionToken>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    decoded(text, &format!("the header {name}")).map(Some)
}

/// The session token of a leader-follower namespace.
pub(crate) fn leader_token_in(headers: &HeaderMap) -> Result<Option<leader_follower::SessionToken>, Problem> {
    let Some(value) = headers.get(&SESSION_HEADER) else { return Ok(None) };
    leader_token(value.to_str().unwrap_or_default(), &format!("the header {SESSION_HEADER}")).map(Some)
}

/// # Errors
/// [`ProblemType::InvalidRequest`].
pub(crate) fn leader_token(text: &str, what: &str) -> Result<leader_follower::SessionToken, Problem> {
    text.parse().map_err(|error| Problem::invalid(format!("{what}: {error}")))
}

/// How long a request may wait that asks for so long.
///
/// # Errors
/// [`ProblemType::InvalidRequest`] if that is too long.
pub(crate) fn wait(wait_ms: Option<u64>, default: Duration, max: Duration) -> Result<Duration, Problem> {
    let Some(wait_ms) = wait_ms else { return Ok(default.min(max)) };
    let wait = Duration::from_millis(wait_ms);
    if wait > max {
        return Err(Problem::invalid(format!("wait_ms is at most {}, http.wait_ms_max", max.as_millis())));
    }
    Ok(wait)
}

/// Waits until the master has applied what the session of the request has seen.
///
/// # Errors
/// [`ProblemType::NotCaughtUp`] if that takes too long.
pub(crate) async fn settle(
    headers: &HeaderMap,
    master: &MultiMasterManager,
    wait: Duration,
) -> Result<(), Problem> {
    let Some(token) = token_in(headers, &SESSION_HEADER)? else { return Ok(()) };
    if master.wait_for(&token, wait).await {
        return Ok(());
    }
    let detail = "this node has not applied yet what the session has seen; try again, or another node";
    Err(Problem::new(ProblemType::NotCaughtUp, detail))
}

impl Consistency {
    /// What a write asks for, by its query and its headers.
    ///
    /// # Errors
    /// [`ProblemType::InvalidRequest`].
    pub(crate) fn options(&self, headers: &HeaderMap, wait_max: Duration) -> Result<WriteOptions, Problem> {
        let ack = self.ack.as_deref().map_or(Ok(Ack::Local), parse_ack)?;
        let options = WriteOptions::ack(ack)
            .within(wait(self.wait_ms, WAIT_DEFAULT, wait_max)?)
            .expecting(Condition::of(headers)?.into());
        let options = match token_in(headers, &CONTEXT_HEADER)? {
            Some(context) => options.seen(context),
            None => options,
        };
        // One that is not valid is as none, as W3C Trace Context has it.
        let trace = headers.get("traceparent").and_then(|header| header.to_str().ok());
        Ok(match trace.and_then(TraceId::from_traceparent) {
            Some(trace) => options.traced(trace),
            None => options,
        })
    }
}

fn parse_ack(text: &str) -> Result<Ack, Problem> {
    let peers = || text.strip_prefix("peers:")?.parse().ok().map(Ack::Peers);
    match text {
        "local" => Ok(Ack::Local),
        "pipeline" => Ok(Ack::Pipeline),
        "majority" => Ok(Ack::Majority),
        _ => peers().ok_or_else(|| {
            Problem::invalid(format!("ack is local, pipeline, majority or peers:<number>, not {text:?}"))
        }),
    }
}

/// The same for a leader: what is in the log is in the store of the leader, too.
pub(crate) fn leader_ack(text: &str) -> Result<leader_follower::Ack, Problem> {
    Ok(match parse_ack(text)? {
        Ack::Majority => leader_follower::Ack::Majority,
        Ack::Peers(peers) => leader_follower::Ack::Followers(peers),
        _ => leader_follower::Ack::Log,
    })
}

/// What `If-Match` and `If-None-Match` say of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing.
    Anything,
    /// There is a value.
    Present,
    /// There is none.
    Absent,
    /// The entity is in one of the states with these tags.
    OneOf(Vec<String>),
}

impl Condition {
    /// # Errors
    /// [`ProblemType::InvalidRequest`].
    pub(crate) fn of(headers: &HeaderMap) -> Result<Condition, Problem> {
        match (headers.get(header::IF_MATCH), headers.get(header::IF_NONE_MATCH)) {
            (None, None) => Ok(Condition::Anything),
            (Some(value), None) if value == "*" => Ok(Condition::Present),
            (Some(_), None) => {
                let mut tags = Vec::new();
                for value in headers.get_all(header::IF_MATCH) {
                    tags.extend(tags_in(value)?);
                }
                Ok(Condition::OneOf(tags))
            }
            (None, Some(value)) if value == "*" => Ok(Condition::Absent),
            (None, Some(_)) => Err(Problem::invalid("If-None-Match of a write is *")),
            (Some(_), Some(_)) => Err(Problem::invalid("send If-Match or If-None-Match, not both")),
        }
    }
}

impl From<Condition> for Expected {
    fn from(condition: Condition) -> Self {
        match condition {
            Condition::Anything => Expected::Anything,
            Condition::Present => Expected::Present,
            Condition::Absent => Expected::Absent,
            // A tag that is none of a master's matches nothing.
            Condition::OneOf(tags) => {
                Expected::OneOf(tags.iter().filter_map(|tag| tag.parse().ok()).collect())
            }
        }
    }
}

/// The tags that a header lists.
fn tags_in(value: &HeaderValue) -> Result<Vec<String>, Problem> {
    let text = value.to_str().unwrap_or_default();
    let mut tags = Vec::new();
    for tag in text.split(',').map(str::trim) {
        let quoted = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        let inner = quoted.ok_or_else(|| Problem::invalid("an entity tag stands in double quotes"))?;
        tags.push(inner.to_owned());
    }
    Ok(tags)
}

/// Whether a reader has this state already.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|value| value.split(',')).map(str::trim);
    known.any(|text| text == "*" || text.trim_start_matches("W/").trim_matches('"') == tag)
}

/// The tag as a header.
pub(crate) fn etag(tag: &str) -> HeaderValue {
    HeaderValue::try_from(format!("\"{tag}\"")).expect("a tag is visible ASCII")
}
