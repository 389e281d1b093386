//! `archipelago demo` without a broker.

mod support;

use support::demo;

#[tokio::test]
async fn it_converges_with_either_strategy() {
    for strategy in ["lww", "field-merge"] {
        let ended = demo(&["--json", "--writes", "600", "--strategy", strategy]).await;
        let json = ended.converged();
        assert_eq!(ended.stdout.lines().count(), 1, "only JSON on standard output:\n{}", ended.stdout);
        assert_eq!(json["strategy"], strategy);
        assert_eq!(json["records"], 300);
        assert_eq!(json["writes"], 600);
        // Each master applies what the two others wrote.
        assert_eq!(json["events_applied"], 2 * (300 + 600));
        assert!(json["queued"].as_u64().unwrap() > 0, "{json}");
        let names: Vec<_> =
            json["masters"].as_array().unwrap().iter().map(|master| &master["name"]).collect();
        assert_eq!(names, ["us-east", "eu-west", "ap-south"]);
        assert!(!ended.stderr.contains('\u{1b}'), "colours where there is no terminal");
    }
}

#[tokio::test]
async fn the_fewest_writes_conflict_all_the_same() {
    for strategy in ["lww", "field-merge"] {
        let json = demo(&["--json", "--writes", "3", "--strategy", strategy]).await.converged();
        assert_eq!(json["writes"], 3);
    }
}

#[tokio::test]
async fn a_seed_fixes_what_is_written_where() {
    let writes = async |seed| {
        let json = demo(&["--json", "--writes", "100", "--seed", seed]).await.converged();
        let masters = json["masters"].as_array().unwrap().clone();
        let of_masters: Vec<_> =
            masters.iter().map(|master| (master["loads"].clone(), master["writes"].clone())).collect();
        (json["seed"].clone(), json["writes"].clone(), of_masters)
    };
    assert_eq!(writes("7").await, writes("7").await);
}

#[tokio::test]
async fn a_person_gets_tables_conflicts_and_the_proof() {
    let ended = demo(&["--writes", "90"]).await;
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    for text in ["ap-south", "it was written later", "Equal digests", "No acknowledged write is missing: 390"]
    {
        assert!(ended.stdout.contains(text), "{text} is missing in:\n{}", ended.stdout);
    }
    assert!(ended.stderr.contains("ap-south is cut off"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_folder_keeps_the_stores_and_is_not_used_twice() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("new/stores");
    let args = ["--json", "--writes", "3", "--dir", dir.to_str().unwrap()];
    demo(&args).await.converged();
    assert!(dir.join("eu-west").is_dir());
    let error = demo(&args).await.error();
    assert!(error.contains("already holds") && error.contains("--dir"), "{error}");
}
