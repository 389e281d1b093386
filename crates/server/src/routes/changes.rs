//! Changes as server-sent events: `/v1/namespaces/{namespace}/changes`.

use std::{convert::Infallible, time::Duration};

use archipelago::{Feed, FeedChange, SessionToken, Value, leader_follower};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderName},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::{IntoParams, ToSchema};

use super::{InPath, InQuery, entities::Form, listing::NamespacePath};
use crate::{
    app::App,
    namespace::Running,
    problem::{Problem, ProblemBody},
    session,
};

/// The token of the last event that the client dealt with.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How often something is sent, so that the client and whatever is between notice that the other side is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// After how many changes that are not asked for the client is told how far the stream is.
const SKIPPED_MAX: usize = 1_000;

/// Which changes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Following {
    /// Those of entities whose id begins so. Default all.
    #[serde(default)]
    prefix: String,
    /// From where on: a session token, for those who cannot send `Last-Event-ID`, which goes before this. Default from now on;
    /// `0` for everything there is.
    since: Option<String>,
    /// How CRDTs are shown: `readable` (default) or `stored`.
    #[serde(default)]
    #[param(inline)]
    form: Form,
}

/// The data of an event `change`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangeData {
    /// The entity.
    id: String,
    /// It has no value any more.
    is_removed: bool,
    /// Its value as of now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    value: Option<Value>,
    /// Several concurrent values are kept, of which this is one.
    is_conflicted: bool,
    /// The state of the entity, as in the header `ETag`.
    etag: String,
}

/// One client that follows.
struct Follower {
    source: Source,
    following: Following,
    app: App,
    _place: OwnedSemaphorePermit,
}

/// What changes, as it changes.
///
/// The id of each event is a session token; a client that comes back with the last one, to this node or another, goes on
/// there and misses nothing. Events: `change`; `reset`, forget everything, all that there is follows; `position`, nothing of
/// what is asked for changed up to here. Of changes that come faster than they are read, only the last is sent.
#[utoipa::path(
    get, operation_id = "follow_changes", path = "/v1/namespaces/{namespace}/changes", tag = "changes",
    params(NamespacePath, Following),
    responses(
        (status = 200, description = "The data of the events `change`", body = ChangeData, content_type = "text/event-stream"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn follow(
    State(app): State<App>,
    headers: HeaderMap,
    InPath(path): InPath<NamespacePath>,
    InQuery(following): InQuery<Following>,
) -> Result<Response, Problem> {
    let namespace = app.namespace(&path.namespace)?;
    let last = headers.get(&LAST_EVENT_ID).map(|id| id.to_str().unwrap_or_default());
    let (since, what) = match last {
        Some(id) => (Some(id), "the header last-event-id"),
        None => (following.since.as_deref(), "since"),
    };
    let source = Source::open(&namespace.running, since, what)?;
    let place = app.stream_place()?;
    let begin = position(source.token());
    let follower = Follower { source, following, app: app.clone(), _place: place };
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    // The first event says from where on, so that who is cut off before anything changes misses nothing.
    let begin = stream::iter([Ok(begin)]);
    let events = futures::StreamExt::chain(begin, follower.events());
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

impl Follower {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, async |mut follower: Follower| {
            let event = follower.next().await?;
            Some((Ok(event), follower))
        })
    }

    /// The next event; `None` if the node is ending, or its store failed.
    async fn next(&mut self) -> Option<Event> {
        for _ in 0..SKIPPED_MAX {
            let change = tokio::select! {
                biased;
                () = self.app.drained() => return None,
                change = self.source.next() => change,
            };
            match change {
                Ok(Next::Reset { token }) => {
                    return Some(Event::default().event("reset").id(token).data("{}"));
                }
                Ok(Next::Entity { data, token }) if data.id.starts_with(&self.following.prefix) => {
                    let value = data.value.map(|value| self.following.form.of(value));
                    let event = Event::default().event("change").id(token);
                    // What is stored can be shown as JSON.
                    return event.json_data(ChangeData { value, ..data }).ok();
                }
                Ok(Next::Entity { .. }) => {}
                Err(problem) => {
                    tracing::debug!(reason = problem.detail, "a stream of changes ends");
                    return None;
                }
            }
        }
        Some(position(self.source.token()))
    }
}

/// What changed, in either mode, with the token from which to go on.
enum Next {
    Reset { token: String },
    Entity { data: ChangeData, token: String },
}

/// From where changes come.
enum Source {
    MultiMaster(Box<Feed>),
    LeaderFollower(leader_follower::Feed),
}

impl Source {
    fn open(running: &Running, since: Option<&str>, what: &str) -> Result<Source, Problem> {
        Ok(match running {
            Running::MultiMaster(master) => Source::MultiMaster(Box::new(master.feed(&match since {
                None => master.session_token(),
                Some("0") => SessionToken::default(),
                Some(since) => session::decoded(since, what)?,
            }))),
            Running::LeaderFollower(node) => Source::LeaderFollower(node.feed(match since {
                None => node.session_token(),
                Some("0") => leader_follower::SessionToken::default(),
                Some(since) => session::leader_token(since, what)?,
            })),
        })
    }

    fn token(&self) -> String {
        match self {
            Source::MultiMaster(feed) => session::encoded(feed.token()),
            Source::LeaderFollower(feed) => feed.token().to_string(),
        }
    }

    /// Cancel safe.
    async fn next(&mut self) -> Result<Next, Problem> {
        match self {
            Source::MultiMaster(feed) => loop {
                match feed.next().await? {
                    FeedChange::Reset => {
                        return Ok(Next::Reset { token: session::encoded(&SessionToken::default()) });
                    }
                    FeedChange::Entity { entity, token } => {
                        let data = ChangeData {
                            id: entity.id.to_string(),
                            is_removed: entity.value.is_none(),
                            is_conflicted: entity.conflicted,
                            etag: entity.tag().to_string(),
                            value: entity.value,
                        };
                        return Ok(Next::Entity { data, token: session::encoded(&token) });
                    }
                    _ => {}
                }
            },
            Source::LeaderFollower(feed) => loop {
                match feed.next::<Value>().await? {
                    leader_follower::FeedChange::Reset => {
                        let token = leader_follower::SessionToken::default().to_string();
                        return Ok(Next::Reset { token });
                    }
                    leader_follower::FeedChange::Key { key, found, token } => {
                        let data = ChangeData {
                            id: key.to_string(),
                            is_removed: found.value.is_none(),
                            is_conflicted: false,
                            etag: found.version.to_string(),
                            value: found.value,
                        };
                        return Ok(Next::Entity { data, token: token.to_string() });
                    }
                    _ => {}
                }
            },
        }
    }
}

fn position(token: String) -> Event {
    Event::default().event("position").id(token).data("{}")
}
