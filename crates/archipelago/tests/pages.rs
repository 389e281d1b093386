//! What the pages link to exists: files, headings, and the tests that hold what they claim.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A link of a page: what is shown, and where it leads.
struct Link {
    text: String,
    target: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is there")
}

fn text_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn pages() -> Vec<PathBuf> {
    let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    let mut pages = Vec::new();
    for folder in [root(), root().join("docs")] {
        let entries = fs::read_dir(folder).expect("a folder");
        pages.extend(entries.map(|entry| entry.expect("an entry").path()).filter(is_page));
    }
    assert!(pages.len() >= 10, "{pages:?}");
    pages
}

/// The lines of a page that are not code.
fn prose(page: &str) -> Vec<&str> {
    let mut is_code = false;
    let outside = page.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    outside.collect()
}

fn links(line: &str) -> Vec<Link> {
    let mut links = Vec::new();
    for (at, _) in line.match_indices("](") {
        let (before, after) = (&line[..at], &line[at + 2..]);
        let (Some(open), Some(close)) = (before.rfind('['), after.find(')')) else { continue };
        links.push(Link { text: before[open + 1..].to_owned(), target: after[..close].to_owned() });
    }
    links
}

/// The name by which a heading can be linked to, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase()
}

fn anchors(page: &str) -> BTreeSet<String> {
    let headings = prose(page).into_iter().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

/// The names of the tests in a file.
fn tests(source: &str) -> BTreeSet<&str> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let mut tests = BTreeSet::new();
    for (at, line) in lines.iter().enumerate() {
        let signature = line.trim_start_matches("async ");
        let Some((name, _)) = signature.strip_prefix("fn ").and_then(|rest| rest.split_once('(')) else {
            continue;
        };
        // Attributes and comments stand between the function and its attribute as a test.
        let above = lines[..at].iter().rev().take_while(|line| line.starts_with(['#', '/']));
        if above.into_iter().any(|line| *line == "#[test]" || line.starts_with("#[tokio::test")) {
            tests.insert(name);
        }
    }
    tests
}

#[test]
fn every_link_of_the_pages_leads_somewhere() {
    let (mut checked, mut broken) = (0, Vec::new());
    for path in pages() {
        let page = text_of(&path);
        for link in prose(&page).into_iter().flat_map(links).filter(|link| !link.target.contains("://")) {
            let (file, heading) = link.target.split_once('#').unwrap_or((&link.target, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().expect("a page is in a folder").join(file),
            };
            let leads =
                target.exists() && (heading.is_empty() || anchors(&text_of(&target)).contains(heading));
            if !leads {
                broken.push(format!("{}: [{}]({})", path.display(), link.text, link.target));
            }
            checked += 1;
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
    assert!(checked > 100, "{checked} links were found");
}

#[test]
fn every_test_that_a_page_names_exists() {
    let (mut checked, mut missing) = (0, Vec::new());
    for path in pages() {
        let page = text_of(&path);
        for link in prose(&page).into_iter().flat_map(links) {
            let is_source = Path::new(&link.target).extension().is_some_and(|extension| extension == "rs");
            let named = link.text.strip_prefix('`').and_then(|text| text.strip_suffix('`'));
            let (true, Some(name)) = (is_source, named.filter(|name| !name.contains(['.', '/']))) else {
                continue;
            };
            let file = path.parent().expect("a page is in a folder").join(&link.target);
            if !tests(&text_of(&file)).contains(name) {
                missing.push(format!("{}: {name} is no test of {}", path.display(), link.target));
            }
            checked += 1;
        }
    }
    assert!(missing.is_empty(), "tests that are named and are not there:\n{}", missing.join("\n"));
    assert!(checked > 60, "{checked} tests are named");
}

#[test]
fn every_claim_about_the_modes_names_a_test() {
    let page = text_of(&root().join("docs/MODES.md"));
    let (mut claims, mut bare) = (0, Vec::new());
    for claim in page.split("\n- ").skip(1) {
        let claim = claim.split("\n\n").next().unwrap_or_default();
        if !claim.contains("(../crates/") {
            bare.push(claim.to_owned());
        }
        claims += 1;
    }
    assert!(bare.is_empty(), "claims without a test:\n{}", bare.join("\n"));
    assert!(claims > 40, "{claims} claims were found");
    // And the rows of the overview lead to the claims.
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| |"));
    for row in rows {
        assert!(row.starts_with("| ["), "{row}");
    }
}

#[test]
fn what_is_no_test_or_leads_nowhere_would_be_found() {
    let source =
        "#[test]\nfn one() {}\n\n#[tokio::test(start_paused = true)]\nasync fn two() {}\n\nfn three() {}\n";
    assert_eq!(tests(source), BTreeSet::from(["one", "two"]));
    assert_eq!(anchor("Who reads, and what"), "who-reads-and-what");
    assert_eq!(anchors("# A b\n```\n# no\n```\n## `C_d`: e"), BTreeSet::from(["a-b".into(), "c_d-e".into()]));
    let found = links("see [a](b.md#c) and [`d`](e.rs), or (f)");
    let found: Vec<_> = found.iter().map(|link| (&*link.text, &*link.target)).collect();
    assert_eq!(found, [("a", "b.md#c"), ("`d`", "e.rs")]);
}
