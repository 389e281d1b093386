//! The committed corpora of the fuzz targets for CRDTs, replayed; `fuzz/Cargo.toml` says how to find more.

#[path = "../../../fuzz/bodies/crdt.rs"]
mod body;

#[cfg(feature = "text")]
#[path = "../../../fuzz/bodies/text.rs"]
mod text_body;

#[test]
fn crdts() {
    replay("crdt", body::crdt);
}

#[cfg(feature = "text")]
#[test]
fn texts() {
    replay("text", text_body::text);
}

#[expect(
    clippy::print_stdout,
    reason = "it is shown if the test fails, and the last one is the file that did it"
)]
fn replay(target: &str, body: impl Fn(&[u8])) {
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
