use serde::Serialize;

/// What a check found.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    /// The name of the check, which never changes its meaning.
    pub(super) check: &'static str,
    /// The namespace, of what is checked for each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<String>,
    pub(super) status: Status,
    /// What is there.
    pub(super) found: String,
    /// What to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Status {
    /// As it should be.
    Ok,
    /// It works, and is worth a look.
    Warn,
    /// It does not work, or will do harm.
    Fail,
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Finding {
        Finding { check, namespace: None, status: Status::Ok, found: found.into(), advice: None }
    }

    pub(super) fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { status: Status::Warn, advice: Some(advice.into()), ..Finding::ok(check, found) }
    }

    pub(super) fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { status: Status::Fail, advice: Some(advice.into()), ..Finding::ok(check, found) }
    }

    pub(super) fn of(self, namespace: &str) -> Finding {
        Finding { namespace: Some(namespace.to_owned()), ..self }
    }
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
        }
    }
}
