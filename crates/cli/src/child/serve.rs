use std::io::{BufRead, Write};

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::mpsc;

use super::Numbered;

/// How many requests are read ahead.
const REQUESTS_MAX: usize = 256;

/// What the parent asks, in a child. The end of the input ends the process.
pub(crate) fn requests<Q: DeserializeOwned + Send + 'static>() -> mpsc::Receiver<Numbered<Q>> {
    let (requests, queue) = mpsc::channel(REQUESTS_MAX);
    std::thread::spawn(move || read(&requests));
    queue
}

/// Reads on a thread of its own, so that the end of the input ends the process whatever else it is busy with. What
/// was acknowledged is in the store by then.
fn read<Q: DeserializeOwned>(requests: &mpsc::Sender<Numbered<Q>>) {
    for line in std::io::stdin().lock().lines() {
        let request = line.ok().and_then(|line| serde_json::from_str(&line).ok());
        let Some(request) = request else { break };
        if requests.blocking_send(request).is_err() {
            break;
        }
    }
    std::process::exit(0);
}

/// Answers the request of this number.
pub(crate) fn answer<A: Serialize>(number: u64, body: A) {
    let Ok(mut line) = serde_json::to_vec(&Numbered { number, body }) else { return };
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    if stdout.write_all(&line).and_then(|()| stdout.flush()).is_err() {
        std::process::exit(0);
    }
}
