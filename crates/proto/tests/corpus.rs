//! The committed corpora of the fuzz targets, replayed; `fuzz/Cargo.toml` says how to find more.

#[path = "../../../fuzz/bodies/bytes.rs"]
mod bodies;

#[expect(
    clippy::print_stdout,
    reason = "shown only if the test fails, and then the last one is the file that did it"
)]
fn replay(target: &str, body: fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect("a corpus").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        println!("{}", file.display());
        body(&std::fs::read(file).expect("a readable file"));
    }
}

#[test]
fn envelopes() {
    replay("envelope", bodies::envelope);
}

#[test]
fn records() {
    replay("record", bodies::record);
}

#[test]
fn values() {
    replay("value", bodies::value);
}

#[test]
fn clocks() {
    replay("clock", bodies::clock);
}
