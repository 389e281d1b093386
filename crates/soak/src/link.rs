//! The parent's end of one child: its process, and the pipes to it.

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

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{mpsc, oneshot},
};

use crate::child::{Numbered, UNASKED};

/// How many requests wait for a child that is slow to read.
const REQUESTS_MAX: usize = 256;

/// The answers that are waited for, by number; `None` once the child is gone.
type Waiting<A> = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<A>>>>>;

/// One life of a child that is asked `Q` and answers `A`. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Link<Q, A> {
    child: tokio::sync::Mutex<Child>,
    process: Pid,
    requests: mpsc::Sender<Vec<u8>>,
    waiting: Waiting<A>,
    next_number: AtomicU64,
    asked: PhantomData<fn(Q)>,
}

impl<Q: Serialize, A: DeserializeOwned + Send + 'static> Link<Q, A> {
    /// Starts this program as `soak <role...>`; `told` is given what the child tells without being asked.
    pub(crate) fn spawn(role: &[&str], told: impl FnMut(A) + Send + 'static) -> io::Result<Self> {
        // A signal that is ignored when a program starts stays ignored: a file that may not grow is to be an error of a
        // write, as a full disk is, and not the end of the process.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(std::env::current_exe()?);
        command.args(role).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        // Ctrl-C on a terminal goes to the whole group: the parent alone decides what it means.
        command.process_group(0);
        let mut child = command.spawn()?;
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).expect("both are piped");
        let process = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let process = process.ok_or_else(|| io::Error::other("the process has no id"))?;
        let (requests, queue) = mpsc::channel(REQUESTS_MAX);
        let waiting: Waiting<A> = Arc::new(Mutex::new(Some(HashMap::new())));
        tokio::spawn(send(stdin, queue));
        tokio::spawn(receive(stdout, waiting.clone(), told));
        let child = tokio::sync::Mutex::new(child);
        let next_number = AtomicU64::new(UNASKED + 1);
        Ok(Link { child, process, requests, waiting, next_number, asked: PhantomData })
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

    /// SIGKILL, paused or not; returns once the process is gone.
    pub(crate) async fn kill(&self) -> io::Result<()> {
        self.child.lock().await.kill().await
    }

    /// SIGSTOP; returns when the last thread has stopped.
    pub(crate) fn pause(&self) -> io::Result<()> {
        kill_process(self.process, Signal::STOP)?;
        // The end counts too, or this could wait for ever; `NOWAIT` leaves it to the runtime to be reaped.
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(self.process), stopped)?;
        Ok(())
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) -> io::Result<()> {
        Ok(kill_process(self.process, Signal::CONT)?)
    }

    pub(crate) fn process_id(&self) -> i32 {
        self.process.as_raw_nonzero().get()
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
async fn receive<A: DeserializeOwned>(stdout: ChildStdout, waiting: Waiting<A>, mut told: impl FnMut(A)) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(Numbered { number, body }) = serde_json::from_str::<Numbered<A>>(&line) else {
            // The last line of a child that was killed may be a part of one.
            tracing::debug!(line, "no answer");
            continue;
        };
        if number == UNASKED {
            told(body);
            continue;
        }
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reply) = waiting.as_mut().and_then(|waiting| waiting.remove(&number)) {
            let _ = reply.send(body);
        }
    }
    waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
}
