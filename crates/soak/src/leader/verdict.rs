//! What is wrong with what clients saw and with what the log holds.

use archipelago_testkit::history::{
    AcknowledgedViolation, History, KvResult, LinearizabilityError, Operation, TermHistory,
    check_acknowledged, check_linearizable, check_terms,
};

use super::{book::Book, clients::Clients, protocol::Told, report::Report};

/// What there is to judge by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The log was read after the last write.
    All,
    /// The run ended before its time: the log was not read to its end.
    Clients,
}

/// Checks everything that was recorded, into the report.
pub(crate) fn judge(scene: &Clients, book: &Book, seen: Seen, report: &mut Report) {
    let history = scene.recorder.history();
    report.operations = history.operations().len() as u64;
    match check_linearizable(&history) {
        Ok(_) => {}
        Err(LinearizabilityError::Undecided { .. }) => {
            report.undecided += 1;
            report.find("linearizability is undecided: too many unknown outcomes".into());
        }
        Err(error) => {
            report.linearizability_violations += 1;
            report.find(error.to_string());
        }
    }
    let writes = || history.operations().iter().filter(|operation| operation.op.consistency().is_none());
    report.unknown = writes().filter(|write| write.is_unknown()).count() as u64;
    let is_acknowledged = |write: &&Operation| matches!(write.result(), Some(KvResult::Written(_)));
    report.acknowledged = writes().filter(is_acknowledged).count() as u64;
    report.stale_appends = book.stale_appends;
    report.stale_ignored = book.stale_ignored;
    report.log_violations += book.foreign_appends + book.indexes_reused + book.gaps;
    for finding in &book.findings {
        report.find(finding.clone());
    }
    if seen == Seen::All {
        judge_log(scene, book, &history, report);
    }
}

fn judge_log(scene: &Clients, book: &Book, history: &History, report: &mut Report) {
    if let Err(violations) = check_acknowledged(history, &book.writes()) {
        for violation in &violations {
            *match violation {
                AcknowledgedViolation::Lost { .. } | AcknowledgedViolation::Moved { .. } => &mut report.lost,
                AcknowledgedViolation::Duplicated { .. } => &mut report.duplicated,
                _ => &mut report.log_violations,
            } += 1;
            report.find(violation.to_string());
        }
    }
    let appends = scene.appends.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let promoted = |node: &str, term| {
        let member = scene.members.iter().find(|member| member.name() == node)?;
        member.told().into_iter().find_map(|told| match told {
            Told::Promoted { term: promoted, at_ns } if promoted == term => Some(at_ns),
            _ => None,
        })
    };
    let wrong_terms = book.wrong_terms(&appends);
    if wrong_terms > 0 {
        report.term_violations += wrong_terms as u64;
        report.find(format!("{wrong_terms} writes were acknowledged with another term than the log has"));
    }
    let claims = book.claims(promoted);
    report.terms = claims.len() as u64;
    if let Err(violations) = check_terms(&TermHistory { claims, appends }) {
        for violation in &violations {
            report.term_violations += 1;
            report.find(violation.to_string());
        }
    }
}
