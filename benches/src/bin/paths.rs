//! The hottest paths of a master, one at a time, for whoever counts their instructions: `cargo xtask counts`.
//!
//! What is counted happens in [`measured`] and nowhere else; all else is preparation. Prints how many operations that were.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

use std::{hint::black_box, process::ExitCode};

use archipelago_benches::{EngineReplica, StoredReplica};
use archipelago_conflict::Strategy;
use archipelago_proto::{EventBatch, Limits};

/// How many different records are written, and how often in all.
const RECORDS: usize = 2_000;
const WRITES: usize = 4_096;
/// A value of 200 bytes.
const VALUE_BYTES: usize = 200;

/// What a path is called, and what walks it and gives how many operations that were.
type Path = (&'static str, fn() -> usize);

const PATHS: [Path; 5] =
    [("admit", admit), ("pack", pack), ("decode", decode), ("apply", apply), ("field-merge", field_merge)];

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    match PATHS.iter().find(|(path, _)| *path == name) {
        Some((_, path)) => {
            println!("{}", path());
            ExitCode::SUCCESS
        }
        None => {
            let names: Vec<&str> = PATHS.iter().map(|(path, _)| *path).collect();
            eprintln!("usage: paths PATH\n\nOne of {}.", names.join(", "));
            ExitCode::FAILURE
        }
    }
}

/// Where instructions are counted. Not generic and not inlined, so that it has a name to count by.
#[inline(never)]
fn measured(job: &mut dyn FnMut()) {
    job();
}

/// Writes each record in turn, in the groups that a manager makes.
fn write(replica: &mut StoredReplica, writes: std::ops::Range<usize>) {
    let noise: String = ('a'..='z').cycle().take(VALUE_BYTES + 26).collect();
    for number in writes {
        // Coprime to the number of records: neighbours in time are far apart.
        let record = number * 7_919 % RECORDS;
        replica.write(&format!("user/{record:08}"), &noise[number % 26..][..VALUE_BYTES]);
    }
    replica.commit();
}

/// A local write: from its value to a commit in a store in memory.
fn admit() -> usize {
    let mut replica = StoredReplica::new("us-east");
    write(&mut replica, 0..RECORDS);
    measured(&mut || write(&mut replica, RECORDS..RECORDS + WRITES));
    WRITES
}

/// From the outbox to messages.
fn pack() -> usize {
    let mut replica = StoredReplica::new("us-east");
    write(&mut replica, 0..WRITES);
    measured(&mut || drop(black_box(replica.send())));
    WRITES
}

/// From messages to events.
fn decode() -> usize {
    let mut replica = StoredReplica::new("us-east");
    write(&mut replica, 0..WRITES);
    let (messages, limits) = (replica.send(), Limits::default());
    measured(&mut || {
        for message in &messages {
            let batch = EventBatch::decode(message.clone(), &limits).expect("it was packed here");
            black_box(batch);
        }
    });
    WRITES
}

/// From messages of another master to a commit in a store in memory.
fn apply() -> usize {
    let (mut here, mut there) = (StoredReplica::new("us-east"), StoredReplica::new("eu-west"));
    write(&mut here, 0..RECORDS);
    there.receive(here.send());
    write(&mut here, RECORDS..RECORDS + WRITES);
    let messages = here.send();
    measured(&mut || there.receive(messages.clone()));
    assert_eq!(here.digest(), there.digest());
    WRITES
}

/// The same of records whose fields are merged, and to which another one wrote meanwhile.
fn field_merge() -> usize {
    let (mut here, mut there) = (
        EngineReplica::new("us-east", Strategy::FieldMerge),
        EngineReplica::new("eu-west", Strategy::FieldMerge),
    );
    there.write(WRITES);
    let messages = here.write(WRITES);
    measured(&mut || messages.iter().for_each(|message| there.receive(message.clone())));
    WRITES
}
