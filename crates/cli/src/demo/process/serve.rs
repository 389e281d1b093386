use std::{
    io::{BufRead, Write},
    process::ExitCode,
    sync::Arc,
};

use tokio::sync::mpsc;

use super::super::{
    master::Master,
    protocol::{Answer, Numbered, Request},
};

/// How many requests are read ahead.
const REQUESTS_MAX: usize = 256;

/// The child: does what standard input asks until it ends.
pub(crate) async fn serve() -> ExitCode {
    let (requests, mut queue) = mpsc::channel(REQUESTS_MAX);
    std::thread::spawn(move || read(&requests));
    let mut master: Option<Arc<Master>> = None;
    while let Some(Numbered { number, body }) = queue.recv().await {
        match (body, &master) {
            (Request::Start(options), None) => match Master::start(options, None).await {
                Ok(started) => {
                    master = Some(Arc::new(started));
                    answer(number, Answer::Done);
                }
                Err(reason) => answer(number, Answer::Refused { reason, retryable: false }),
            },
            (body, Some(master)) => {
                let master = master.clone();
                tokio::spawn(async move { answer(number, master.answer(body).await) });
            }
            (_, None) => {
                let reason = "it is not started".to_owned();
                answer(number, Answer::Refused { reason, retryable: false });
            }
        }
    }
    ExitCode::SUCCESS
}

/// Reads on a thread of its own, so that the end of the input ends the process whatever else it is busy with. What
/// was acknowledged is in the store by then.
fn read(requests: &mpsc::Sender<Numbered<Request>>) {
    for line in std::io::stdin().lock().lines() {
        let request = line.ok().and_then(|line| serde_json::from_str(&line).ok());
        let Some(request) = request else { break };
        if requests.blocking_send(request).is_err() {
            break;
        }
    }
    std::process::exit(0);
}

fn answer(number: u64, body: Answer) {
    let Ok(mut line) = serde_json::to_vec(&Numbered { number, body }) else { return };
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    if stdout.write_all(&line).and_then(|()| stdout.flush()).is_err() {
        std::process::exit(0);
    }
}
