use std::time::Duration;

use clap::{Args, ValueEnum};
use reqwest::{Method, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    client::Client,
    error::OperateError,
    events::{Event, Events},
    output,
    target::{FormArgs, NamespaceArgs, NodeArgs},
};

/// How long is waited before a node is asked again, at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Print changes as they happen, one a line, until Ctrl-C.
///
/// A connection that is cut is made again, and goes on where it was: no change is missed, and one may come twice. Of
/// changes that come faster than they are read only the last is shown.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only entities whose id begins so.
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: String,
    /// From where on: 0 for all there is, or the session of a line of `tail --json` [default: from now on].
    #[arg(long, value_name = "SESSION")]
    since: Option<String>,
    /// Only changes of this kind.
    #[arg(long, value_enum)]
    only: Option<Kind>,
    /// End after so many changes.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    pub(super) form: FormArgs,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The entity has a value.
    Written,
    /// It was removed.
    Removed,
    /// Several concurrent values are kept.
    Conflicted,
}

/// The data of a change, and the line that `--json` makes of it.
#[derive(Debug, Serialize, Deserialize)]
struct Change {
    #[serde(default)]
    event: String,
    id: String,
    is_removed: bool,
    #[serde(default)]
    is_conflicted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
    #[serde(default)]
    etag: String,
    #[serde(default)]
    session: String,
}

/// What follows the changes of one node.
struct Tail {
    options: Options,
    client: Client,
    /// The session of the last event.
    last: Option<String>,
    shown: u64,
}

/// Whether to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Read,
    End,
}

pub(super) async fn run(options: Options) -> Result<(), OperateError> {
    let client = Client::new(&options.node)?;
    let mut tail = Tail { options, client, last: None, shown: 0 };
    // A node that is not there from the start is more likely a mistake.
    let mut response = tail.open().await?;
    let mut pause = RETRY_MIN;
    loop {
        let before = tail.last.clone();
        if tail.read(&mut response).await? == Next::End {
            return Ok(());
        }
        if tail.last != before {
            pause = RETRY_MIN;
        }
        eprintln!("the stream was cut; going on where it was");
        response = loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
            match tail.open().await {
                Ok(response) => break response,
                Err(error) if error.may_pass() => eprintln!("{error}"),
                Err(error) => return Err(error),
            }
        };
    }
}

impl Tail {
    async fn open(&self) -> Result<Response, OperateError> {
        let Options { namespace, prefix, since, .. } = &self.options;
        let mut request = self.client.within(Method::GET, &namespace.namespace, &["changes"])?;
        request = request.query(&[("prefix", prefix)]);
        match (&self.last, since) {
            (Some(last), _) => request = request.header("last-event-id", last),
            (None, Some(since)) => request = request.query(&[("since", since)]),
            (None, None) => {}
        }
        self.client.send(request).await
    }

    /// Reads until the stream ends.
    async fn read(&mut self, response: &mut Response) -> Result<Next, OperateError> {
        let mut events = Events::default();
        while let Ok(Some(chunk)) = response.chunk().await {
            let whole = events.take(&chunk).map_err(|_| OperateError::Foreign {
                url: self.client.url(),
                reason: "it sends an event without end".into(),
            })?;
            for event in whole {
                let id = event.id.clone();
                if self.show(event)? == Next::End {
                    return Ok(Next::End);
                }
                self.last = Some(id);
            }
        }
        Ok(Next::Read)
    }

    fn show(&mut self, event: Event) -> Result<Next, OperateError> {
        match &*event.name {
            "change" => {}
            "reset" if self.options.form.json => {
                output::json(&serde_json::json!({ "event": "reset", "session": event.id }))?;
                return Ok(Next::Read);
            }
            "reset" => {
                eprintln!("the node may have forgotten removals since then: all that there is follows");
                return Ok(Next::Read);
            }
            _ => return Ok(Next::Read),
        }
        let mut change: Change = self.client.parse(event.data.as_bytes())?;
        let is_wanted = match self.options.only {
            None => true,
            Some(Kind::Written) => !change.is_removed,
            Some(Kind::Removed) => change.is_removed,
            Some(Kind::Conflicted) => change.is_conflicted,
        };
        if !is_wanted {
            return Ok(Next::Read);
        }
        if self.options.form.json {
            (change.event, change.session) = (event.name, event.id);
            output::json(&change)?;
        } else {
            let mark = if change.is_conflicted { " (conflicted)" } else { "" };
            output::line(match &change.value {
                Some(value) => format!("{}\t{value}{mark}", change.id),
                None => format!("{}\tremoved{mark}", change.id),
            })?;
        }
        self.shown += 1;
        Ok(if Some(self.shown) == self.options.count { Next::End } else { Next::Read })
    }
}
