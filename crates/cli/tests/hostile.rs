//! What a node needs of memory and file descriptors while many clients do nothing but be there.
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[path = "support/node.rs"]
mod node;

use node::Node;

/// How many clients follow the changes, if the system lets this process have so many connections.
const CLIENTS: u64 = 10_000;
/// File descriptors that a process needs beside those of the clients.
const FILES_BESIDES: u64 = 200;
/// What a client that does nothing may cost the node at most.
const CLIENT_BYTES_MAX: u64 = 64 * 1024;
/// Longer than anything here takes, so that only a hang runs into it.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    files: usize,
    bytes: u64,
}

fn held(node: &Node) -> Held {
    let process = format!("/proc/{}", node.pid().as_raw_nonzero());
    let status = fs::read_to_string(format!("{process}/status")).expect("what the test stands on");
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("what the test stands on");
    let kib: u64 = resident
        .trim()
        .strip_suffix(" kB")
        .expect("what the test stands on")
        .parse()
        .expect("what the test stands on");
    Held {
        files: fs::read_dir(format!("{process}/fd")).expect("what the test stands on").count(),
        bytes: kib * 1024,
    }
}

/// Lets this process, and the node that it starts, have as many files as the system allows; gives how many clients that is.
fn clients() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("what the test stands on");
    CLIENTS.min(limit.maximum.unwrap_or(u64::MAX).saturating_sub(FILES_BESIDES))
}

/// A client that follows the changes, and has read the first event.
fn follow(address: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).expect("what the test stands on");
    stream.set_read_timeout(Some(DEADLINE)).expect("what the test stands on");
    let head = "GET /v1/namespaces/default/changes HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("what the test stands on");
    let mut reader = BufReader::with_capacity(512, stream);
    until(&mut reader, "event: position");
    reader
}

fn until(reader: &mut BufReader<TcpStream>, text: &str) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(
            reader.read_line(&mut line).expect("what the test stands on") > 0,
            "the stream ended before {text:?}"
        );
    }
}

#[test]
fn ten_thousand_clients_that_only_follow_are_carried_and_leave_nothing_behind_that_grows() {
    let count = clients();
    let (streams, connections) = (count.to_string(), (count + 100).to_string());
    let node = Node::with(&["--http-streams-max", &streams, "--http-connections-max", &connections]);
    let address = node.url.strip_prefix("http://").expect("what the test stands on");
    // Whatever is made once is made.
    node.run(&["put", "a", "0"]).ok();
    let before = held(&node);
    let mut first_peak = None;
    for round in 1..=3 {
        let mut following: Vec<_> = (0..count).map(|_| follow(address)).collect();
        let peak = held(&node);
        // What was there before may have been a connection that has ended since.
        assert!(peak.files >= following.len(), "{peak:?}");
        let grown = peak.bytes.saturating_sub(before.bytes);
        assert!(grown < count * CLIENT_BYTES_MAX, "{before:?} {peak:?}");
        // Others are served, and all hear of it.
        node.run(&["put", "a", &round.to_string()]).ok();
        for reader in &mut following {
            until(reader, "event: change");
        }
        drop(following);
        let began = Instant::now();
        while held(&node).files > before.files + 10 {
            assert!(began.elapsed() < DEADLINE, "{before:?} {:?}", held(&node));
            std::thread::yield_now();
        }
        let after = held(&node);
        // What the first ones took is kept for the next; it must not be taken anew each time.
        let first: u64 = *first_peak.get_or_insert(peak.bytes);
        assert!(
            after.bytes.max(peak.bytes) < first + first / 4,
            "{before:?} {peak:?} {after:?}, the first {first}"
        );
        println!("{count} clients: before {before:?}, with them {peak:?}, after them {after:?}");
    }
    node.end();
}
