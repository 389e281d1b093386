use std::{
    collections::HashMap,
    io,
    marker::PhantomData,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{mpsc, oneshot},
};

use super::Numbered;

/// How many requests wait for a child that is slow to read.
const REQUESTS_MAX: usize = 256;

/// The answers that are waited for, by number; `None` once the child is gone.
type Waiting<A> = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<A>>>>>;

/// One life of a child process, and the pipes to it: requests `Q`, and their answers `A`.
#[derive(Debug)]
pub(crate) struct Link<Q, A> {
    child: tokio::sync::Mutex<Child>,
    requests: mpsc::Sender<Vec<u8>>,
    waiting: Waiting<A>,
    next_number: AtomicU64,
    asked: PhantomData<fn(Q)>,
}

impl<Q: Serialize, A: DeserializeOwned + Send + 'static> Link<Q, A> {
    /// Starts this program once more, with the (hidden) subcommand that serves such requests.
    pub(crate) fn spawn(subcommand: &str) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(subcommand).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        // Ctrl-C on a terminal goes to the whole group: the parent alone decides what it means.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn()?;
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).expect("both are piped");
        let (requests, queue) = mpsc::channel(REQUESTS_MAX);
        let waiting: Waiting<A> = Arc::new(Mutex::new(Some(HashMap::new())));
        tokio::spawn(send(stdin, queue));
        tokio::spawn(receive(stdout, waiting.clone()));
        let (child, next_number) = (tokio::sync::Mutex::new(child), AtomicU64::new(0));
        Ok(Link { child, requests, waiting, next_number, asked: PhantomData })
    }

    /// The answer; `None` if the child is gone.
    pub(crate) async fn call(&self, request: Q) -> Option<A> {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let mut line = serde_json::to_vec(&Numbered { number, body: request }).ok()?;
        line.push(b'\n');
        let (reply, answer) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.insert(number, reply);
        self.requests.send(line).await.ok()?;
        answer.await.ok()
    }

    /// SIGKILL; returns once the process is gone.
    pub(crate) async fn kill(&self) {
        let _ = self.child.lock().await.kill().await;
    }
}

async fn send(mut stdin: ChildStdin, mut requests: mpsc::Receiver<Vec<u8>>) {
    while let Some(line) = requests.recv().await {
        if stdin.write_all(&line).await.is_err() {
            return;
        }
    }
}

/// Hands out the answers until the child is gone. What it had answered before is still read.
async fn receive<A: DeserializeOwned>(stdout: ChildStdout, waiting: Waiting<A>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(Numbered { number, body }) = serde_json::from_str::<Numbered<A>>(&line) else {
            tracing::warn!(line, "a child answered what is no answer");
            continue;
        };
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reply) = waiting.as_mut().and_then(|waiting| waiting.remove(&number)) {
            let _ = reply.send(body);
        }
    }
    waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
}
