#![no_main]

#[path = "../bodies/crdt.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::crdt(data));
