//! When a server is ready: its ports file names the port, and a connection to it is greeted with `INFO`.
//!
//! The server opens its client port only once JetStream has recovered, so the greeting covers that too.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout_at};

use super::NatsServerError;
use super::process::{POLL_INTERVAL, Process};

/// Waits until `process` accepts clients and returns its port.
pub(crate) async fn wait(
    process: &mut Process,
    ports_dir: &Path,
    within: Duration,
) -> Result<u16, NatsServerError> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(status) = process.ended().map_err(NatsServerError::io("watch nats-server"))? {
            return Err(NatsServerError::Ended { status, log: process.log_end() });
        }
        if let Some(port) = read_port(ports_dir, process.id())
            && let Ok(true) = timeout_at(deadline, greets(port)).await
        {
            return Ok(port);
        }
        if Instant::now() >= deadline {
            return Err(NatsServerError::NotReady { waited: within, log: process.log_end() });
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// Waits until nobody listens on `port`: between two lives of a server anyone may be given its port.
pub(crate) async fn wait_for_port(port: u16, within: Duration) -> Result<(), NatsServerError> {
    let deadline = Instant::now() + within;
    while TcpListener::bind(("127.0.0.1", port)).await.is_err() {
        if Instant::now() >= deadline {
            return Err(NatsServerError::PortTaken { port, waited: within });
        }
        sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

/// Reads `{"nats":["nats://127.0.0.1:40451"]}` from `<program>_<process id>.ports`; none while it is not whole.
fn read_port(ports_dir: &Path, process_id: u32) -> Option<u16> {
    let url = read_url(ports_dir, process_id, "nats")?;
    url.rsplit(':').next()?.parse().ok()
}

/// The first URL of a kind in that file.
pub(crate) fn read_url(ports_dir: &Path, process_id: u32, kind: &str) -> Option<String> {
    let suffix = format!("_{process_id}.ports");
    let mut entries = std::fs::read_dir(ports_dir).ok()?.flatten();
    let path = entries.find(|entry| has_suffix(&entry.file_name(), &suffix))?.path();
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    Some(ports[kind][0].as_str()?.to_owned())
}

fn has_suffix(name: &OsStr, suffix: &str) -> bool {
    name.to_string_lossy().ends_with(suffix)
}

async fn greets(port: u16) -> bool {
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)).await else { return false };
    let mut greeting = String::new();
    BufReader::new(stream).read_line(&mut greeting).await.is_ok() && greeting.starts_with("INFO ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ports_file_counts_only_when_whole_and_of_this_process() {
        let home = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
        assert_eq!(read_port(home.path(), 7), None);
        write("nats-server_17.ports", r#"{"nats":["nats://127.0.0.1:1017"]}"#);
        write("nats-server_7.ports", r#"{"nats":["nats://127"#);
        assert_eq!(read_port(home.path(), 7), None);
        write("nats-server_7.ports", r#"{"nats":["nats://127.0.0.1:1007"]}"#);
        assert_eq!(read_port(home.path(), 7), Some(1007));
    }
}
