//! The committed corpus of the fuzz target, replayed; `fuzz/Cargo.toml` says how to find more.

#[path = "../../../fuzz/bodies/two_replicas.rs"]
mod body;

#[test]
fn two_replicas() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/two_replicas");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("a corpus").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        println!("{}", file.display());
        body::two_replicas(&std::fs::read(file).expect("a readable file"));
    }
}
