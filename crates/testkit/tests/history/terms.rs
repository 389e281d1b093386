use archipelago_testkit::history::{
    Append, Claim, TermHistory,
    TermViolation::{self, *},
    check_terms,
};

fn claim(term: u64, node: &str, started_ns: u64, first_index: Option<u64>) -> Claim {
    Claim { term, node: node.into(), started_ns, first_index }
}

fn append(term: u64, node: &str, index: u64, invoked_ns: u64) -> Append {
    Append { term, node: node.into(), index, invoked_ns }
}

/// East leads, and then west; an append of east is still on its way when west starts.
fn handover() -> TermHistory {
    TermHistory {
        claims: vec![claim(1, "east", 0, Some(1)), claim(4, "west", 100, Some(5))],
        appends: vec![append(1, "east", 2, 10), append(1, "east", 4, 99), append(4, "west", 6, 110)],
    }
}

fn found(history: &TermHistory) -> Vec<TermViolation> {
    check_terms(history).map_or_else(|found| found.iter().cloned().collect(), |()| vec![])
}

#[test]
fn leaders_that_follow_each_other_are_right() {
    assert_eq!(found(&handover()), []);
}

#[test]
fn a_term_has_one_leader() {
    let mut history = handover();
    history.claims.push(claim(4, "west", 120, None));
    assert_eq!(found(&history), [], "whoever claims again is still one");
    history.claims.push(claim(4, "east", 120, None));
    assert!(matches!(found(&history)[..], [TwoLeaders { term: 4, .. }]));
}

#[test]
fn nothing_that_a_deposed_leader_sends_is_acknowledged() {
    let mut history = handover();
    history.appends[1].invoked_ns = 101;
    assert!(matches!(found(&history)[..], [Deposed { .. }]));
}

#[test]
fn nothing_of_an_older_term_is_in_the_newer_ones_part_of_the_log() {
    let mut history = handover();
    history.appends[1].index = 5;
    assert!(matches!(found(&history)[..], [Deposed { .. }]));
    history.claims[1].first_index = None;
    assert_eq!(found(&history), []);
    history.appends[1].index = 7;
    assert!(matches!(found(&history)[..], [TermsGoBack { .. }]));
}

#[test]
fn an_index_is_used_once() {
    let mut history = handover();
    history.appends.push(append(4, "west", 6, 111));
    assert!(matches!(found(&history)[..], [IndexReused { .. }]));
}

#[test]
fn only_who_claimed_a_term_appends_in_it() {
    let mut history = handover();
    history.appends.push(append(4, "south", 7, 111));
    history.appends.push(append(5, "west", 8, 111));
    assert!(matches!(found(&history)[..], [Unclaimed { .. }, Unclaimed { .. }]));
}

#[test]
fn terms_are_read_as_they_were_written() {
    let mut lines = Vec::new();
    handover().write_to(&mut lines).unwrap();
    assert_eq!(TermHistory::read_from(&lines[..]).unwrap(), handover());
}

#[test]
fn the_report_names_the_append_and_the_newer_term() {
    let mut history = handover();
    history.appends[1].invoked_ns = 101;
    let expected = "a deposed leader appends: east appends the index 4 in term 1 at 101 ns, but west is leader of \
                    term 4 since 100 ns, from the index 5 on";
    assert_eq!(check_terms(&history).unwrap_err().to_string(), expected);
}
