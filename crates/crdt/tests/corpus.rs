//! The committed corpus of the fuzz target for CRDTs, replayed; `fuzz/Cargo.toml` says how to find more.

#[path = "../../../fuzz/bodies/crdt.rs"]
mod body;

#[test]
// What is printed is shown only if the test fails, and then the last one is the file that did it.
fn crdts() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/crdt");
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect("a corpus").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        println!("{}", file.display());
        body::crdt(&std::fs::read(file).expect("a readable file"));
    }
}
