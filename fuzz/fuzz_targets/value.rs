#![no_main]

#[path = "../bodies/bytes.rs"]
#[allow(dead_code, reason = "each target uses its part")]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::value(data));
