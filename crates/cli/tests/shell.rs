//! What a system knows of the program: completions and manual pages.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/node.rs"]
mod node;

use node::run;

#[test]
fn every_shell_completes_the_verbs() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let completions = run(&["completions", shell]).ok().stdout;
        for verb in ["status", "conflicts", "export", "doctor", "serve", "--token-file"] {
            let flag = verb.trim_start_matches('-');
            assert!(completions.contains(flag), "{shell} does not know {verb}");
        }
        assert!(!completions.contains("demo-master"), "{shell} knows what is hidden");
    }
    assert_eq!(run(&["completions", "tcl"]).status, Some(2));
}

#[test]
fn there_is_a_manual_page_for_each_verb() {
    let page = run(&["man"]).ok().stdout;
    assert!(page.contains(".TH") && page.contains("archipelago"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    run(&["man", "--dir", folder.path().to_str().unwrap()]).ok();
    for verb in ["", "-tail", "-conflicts-resolve", "-members-retire", "-doctor"] {
        let page = std::fs::read_to_string(folder.path().join(format!("archipelago{verb}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
    assert!(!folder.path().join("archipelago-demo-master.1").exists());
    let wrong = run(&["man", "--dir", "/dev/null/pages"]);
    assert!(wrong.error().contains("cannot write"), "{wrong:?}");
}
