//! What a record costs in memory beyond its key and value, on a replica that holds very many small ones.
//!
//! The replica is loaded as it would be in production: written through the engine, committed into a `MemoryStore` in
//! groups, the outbox emptied as a broker's acknowledgements would. Counted are the bytes that were asked of the
//! allocator and not given back, of the whole replica; bytes that an allocator adds on its own are not seen.
//!
//! It is a program of its own so that no other measurement runs on a counting allocator. Prints one JSON object.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

use std::process::ExitCode;

use archipelago_benches::StoredReplica;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const RECORDS: usize = 1_000_000;

const KEY_BYTES: usize = 16;
const VALUE_BYTES: usize = 20;

/// How many records are written before the outbox is emptied.
const ACKNOWLEDGED_TOGETHER: usize = 4_096;

fn main() -> ExitCode {
    let records = match std::env::args().nth(1).map(|count| count.parse()) {
        None => RECORDS,
        Some(Ok(count)) if count > 0 => count,
        _ => {
            eprintln!("usage: memory [RECORDS]\n\nHow many records to load; {RECORDS} if not said.");
            return ExitCode::FAILURE;
        }
    };
    let before = ALLOCATOR.current_usage();
    let replica = load(records);
    let live_bytes = ALLOCATOR.current_usage() - before;
    assert_eq!(replica.read(&key(records - 1)), Some(value(records - 1)));

    let payload_bytes = records * (KEY_BYTES + VALUE_BYTES);
    let overhead_bytes = (live_bytes - payload_bytes) as f64 / records as f64;
    println!(
        "{{\"records\":{records},\"key_bytes\":{KEY_BYTES},\"value_bytes\":{VALUE_BYTES},\
         \"live_bytes\":{live_bytes},\"memory_per_entity_bytes\":{overhead_bytes:.1}}}"
    );
    ExitCode::SUCCESS
}

fn load(records: usize) -> StoredReplica {
    let mut replica = StoredReplica::new("memory");
    for n in 0..records {
        replica.write(&key(n), &value(n));
        if n % ACKNOWLEDGED_TOGETHER == 0 {
            replica.send();
        }
    }
    replica.commit();
    replica.send();
    replica
}

/// Keys of users come in any order: the numbers are spread by a multiplication that gives each once.
fn key(n: usize) -> String {
    let spread = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{spread:0KEY_BYTES$x}")
}

fn value(n: usize) -> String {
    format!("{n:0VALUE_BYTES$}")
}
