use std::{path::PathBuf, time::Duration};

use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::{Method, header::IF_NONE_MATCH};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    client::{Client, body},
    error::OperateError,
    lines::{Line, Lines},
    output,
    place::{PlaceFile, Task},
    target::{FormArgs, NamespaceArgs, NodeArgs},
};
use crate::{interrupt::Interrupt, progress::Progress};

/// How long is waited before what may pass is tried again, at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// How often what may pass is tried, with pauses of about two minutes in all.
const TRIES_MAX: u32 = 30;

/// How many writes are on their way at once if each is one request.
const REQUESTS_MAX: usize = 16;

/// Write the entities of a file of JSON Lines, `{"id": ..., "value": ...}`, as `export` makes it.
///
/// Interrupted, the same command goes on where it was: how far it has come is in FILE.place, which goes when all is done.
/// What the node takes for now no more is tried again; at a line that it refuses for good the import ends, and names it.
/// Behind a batch that was interrupted, some lines are written again.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The file.
    file: PathBuf,
    /// Leave the entities as they are that the node has already.
    #[arg(long)]
    if_absent: bool,
    /// How many lines one request has at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    batch: u16,
    #[command(flatten)]
    pub(super) form: FormArgs,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// How far an import has come.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Place {
    lines: u64,
    bytes: u64,
    /// Of the lines that are done, so that another file is noticed.
    sha256: String,
    written: u64,
    left: u64,
}

#[derive(Deserialize)]
struct BatchResult {
    results: Vec<OperationResult>,
}

#[derive(Deserialize)]
struct OperationResult {
    status: u16,
    problem: Option<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    detail: String,
}

/// An import under way.
struct Import {
    options: Options,
    client: Client,
}

pub(super) async fn run(options: Options, interrupt: &Interrupt) -> Result<(), OperateError> {
    let client = Client::new(&options.node)?;
    let task = Task {
        task: "import".into(),
        node: client.url(),
        namespace: options.namespace.namespace.clone(),
        what: if options.if_absent { "if absent" } else { "all" }.into(),
    };
    let mut lines = Lines::open(&options.file)?;
    let total = std::fs::metadata(&options.file).map_or(0, |file| file.len());
    let place_file = PlaceFile::beside(&options.file);
    let mut place = Place::default();
    let phase = Progress::new().phase("import", "bytes", total);
    if let Some(begun) = place_file.read::<Place>(&task)? {
        lines.skip(begun.lines, begun.bytes, &begun.sha256)?;
        phase.say(format!("going on behind line {}", begun.lines));
        place = begun;
    }
    let import = Import { options, client };
    loop {
        let batch = lines.batch(import.options.batch.into())?;
        if batch.is_empty() {
            break;
        }
        let counts = match interrupt.unless(import.write(&batch)).await {
            Err(OperateError::Interrupted) => {
                return Err(OperateError::InterruptedAt { done: place.lines, unit: "lines" });
            }
            counts => counts?,
        };
        let (written, left) = (place.written + counts.written, place.left + counts.left);
        place = Place { lines: lines.lines, bytes: lines.bytes, sha256: lines.hash(), written, left };
        place_file.write(&task, &place)?;
        phase.reach(place.bytes, &format!("line {}", place.lines));
    }
    phase.reach(total, "");
    phase.finish();
    place_file.remove()?;
    let Place { written, left, .. } = place;
    match import.options.form.json {
        true => output::json(&json!({ "written": written, "left": left })),
        false if left > 0 => output::line(format!("{written} entities written, {left} were there already")),
        false => output::line(format!("{written} entities written")),
    }
}

/// What became of lines.
#[derive(Clone, Copy, Default)]
struct Counts {
    written: u64,
    left: u64,
}

impl Import {
    async fn write(&self, batch: &[Line]) -> Result<Counts, OperateError> {
        if !self.options.if_absent {
            return self.write_batch(batch).await;
        }
        let writes = stream::iter(batch).map(|line| self.write_absent(line)).buffer_unordered(REQUESTS_MAX);
        writes
            .try_fold(Counts::default(), async |counts, is_written| {
                let Counts { written, left } = counts;
                Ok::<_, OperateError>(match is_written {
                    true => Counts { written: written + 1, left },
                    false => Counts { written, left: left + 1 },
                })
            })
            .await
    }

    /// Writes lines together, and those that could not be written for now again.
    async fn write_batch(&self, batch: &[Line]) -> Result<Counts, OperateError> {
        let mut open: Vec<&Line> = batch.iter().collect();
        let mut patience = Patience::default();
        // How many lines the node takes at once.
        let mut at_once = open.len();
        while !open.is_empty() {
            let (now, later) = open.split_at(at_once.min(open.len()));
            let operations: Vec<Value> =
                now.iter().map(|line| json!({ "op": "put", "id": line.id, "value": line.value })).collect();
            let request = self.client.within(Method::POST, &self.options.namespace.namespace, &["batch"])?;
            let request = body(request, &json!({ "operations": operations }));
            let results = match self.client.data::<BatchResult>(request).await {
                Ok(BatchResult { results }) => results,
                Err(error) if error.may_pass() => {
                    patience.wait(error).await?;
                    continue;
                }
                // The node is configured to take less at once.
                Err(OperateError::Problem { status: 400 | 413, .. }) if now.len() > 1 => {
                    at_once = now.len().div_ceil(2);
                    continue;
                }
                Err(error) => return Err(self.at(now[0], error)),
            };
            if results.len() != now.len() {
                let reason = "it tells of other operations than it was sent".to_owned();
                return Err(OperateError::Foreign { url: self.client.url(), reason });
            }
            let mut again = Vec::new();
            for (line, result) in now.iter().zip(&results) {
                match (result.status, &result.problem) {
                    (200..=299, _) => {}
                    // A follower writes no sooner for being asked again.
                    (503, Some(Problem { kind, .. })) if !kind.ends_with(":not-leader") => again.push(*line),
                    (_, problem) => {
                        let reason = problem.as_ref().map_or("refused".into(), |it| it.detail.clone());
                        return Err(self.wrong(line, reason));
                    }
                }
            }
            if !again.is_empty() {
                let reason = "the node takes no more writes for now".to_owned();
                patience.wait(OperateError::Refused { reason }).await?;
            }
            again.extend(later);
            open = again;
        }
        Ok(Counts { written: batch.len() as u64, left: 0 })
    }

    /// Writes a line unless its entity is there.
    async fn write_absent(&self, line: &Line) -> Result<bool, OperateError> {
        let mut patience = Patience::default();
        loop {
            let namespace = &self.options.namespace.namespace;
            let request = self.client.within(Method::PUT, namespace, &["entities", &line.id]);
            let request = request.map_err(|error| self.at(line, error))?;
            let request = body(request.header(IF_NONE_MATCH, "*"), &line.value);
            match self.client.send(request).await {
                Ok(_) => return Ok(true),
                Err(error) if error.problem() == Some("version-mismatch") => return Ok(false),
                Err(error) if error.may_pass() => patience.wait(error).await?,
                Err(error) => return Err(self.at(line, error)),
            }
        }
    }

    /// The error, if it is about this line.
    fn at(&self, line: &Line, error: OperateError) -> OperateError {
        match error {
            OperateError::Id { .. } => self.wrong(line, error.to_string()),
            OperateError::Problem { status: 400 | 409 | 413 | 422, detail, .. } => self.wrong(line, detail),
            error => error,
        }
    }

    fn wrong(&self, line: &Line, reason: String) -> OperateError {
        let reason = format!("the node refuses {:?}: {reason}", line.id);
        OperateError::Line { path: self.options.file.clone(), line: line.number, reason }
    }
}

/// How often something was tried.
#[derive(Default)]
struct Patience {
    tries: u32,
}

impl Patience {
    /// Waits, unless it was tried often enough.
    async fn wait(&mut self, error: OperateError) -> Result<(), OperateError> {
        self.tries += 1;
        if self.tries == TRIES_MAX {
            return Err(error);
        }
        let pause = RETRY_MIN.saturating_mul(1 << self.tries.min(6)).min(RETRY_MAX);
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
