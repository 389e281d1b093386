use std::{
    collections::HashMap,
    io,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{mpsc, oneshot},
};

use super::super::protocol::{Answer, Numbered, Request};

/// How many requests wait for a child that is slow to read.
const REQUESTS_MAX: usize = 256;

/// The answers that are waited for, by number; `None` once the child is gone.
type Waiting = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>>;

/// One life of a child process, and the pipes to it.
#[derive(Debug)]
pub(super) struct Link {
    child: tokio::sync::Mutex<Child>,
    requests: mpsc::Sender<Vec<u8>>,
    waiting: Waiting,
    next_number: AtomicU64,
}

impl Link {
    pub(super) fn spawn() -> io::Result<Link> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("demo-master").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        // Ctrl-C on a terminal goes to the whole group: the parent alone decides what it means.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn()?;
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).expect("both are piped");
        let (requests, queue) = mpsc::channel(REQUESTS_MAX);
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        tokio::spawn(send(stdin, queue));
        tokio::spawn(receive(stdout, waiting.clone()));
        Ok(Link { child: tokio::sync::Mutex::new(child), requests, waiting, next_number: AtomicU64::new(0) })
    }

    /// The answer; `None` if the child is gone.
    pub(super) async fn call(&self, request: Request) -> Option<Answer> {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let mut line = serde_json::to_vec(&Numbered { number, body: request }).ok()?;
        line.push(b'\n');
        let (reply, answer) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.insert(number, reply);
        self.requests.send(line).await.ok()?;
        answer.await.ok()
    }

    /// SIGKILL; returns once the process is gone.
    pub(super) async fn kill(&self) {
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
async fn receive(stdout: ChildStdout, waiting: Waiting) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(Numbered { number, body }) = serde_json::from_str::<Numbered<Answer>>(&line) else {
            tracing::warn!(line, "a master answered what is no answer");
            continue;
        };
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reply) = waiting.as_mut().and_then(|waiting| waiting.remove(&number)) {
            let _ = reply.send(body);
        }
    }
    waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
}
