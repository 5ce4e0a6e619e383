//! Results of checks.

use serde_json::{Value, json};

/// Status of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok,
    /// Possibly a problem.
    Warning,
    Failed,
    /// Not checked.
    Skipped,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warning => "warning",
            Status::Failed => "failed",
            Status::Skipped => "skipped",
        }
    }
}

/// Result of a check: one line of the report.
#[derive(Clone, Debug)]
pub struct Finding {
    pub check: &'static str,
    pub status: Status,
    /// The finding and its remedy.
    pub text: String,
}

impl Finding {
    pub fn ok(check: &'static str, text: String) -> Finding {
        Finding { check, status: Status::Ok, text }
    }

    pub fn warning(check: &'static str, text: String) -> Finding {
        Finding { check, status: Status::Warning, text }
    }

    pub fn failed(check: &'static str, text: String) -> Finding {
        Finding { check, status: Status::Failed, text }
    }

    pub fn skipped(check: &'static str, text: String) -> Finding {
        Finding { check, status: Status::Skipped, text }
    }
}

/// The report, one line per check.
pub fn lines(found: &[Finding]) -> String {
    let line = |one: &Finding| format!("{:<8} {:<14} {}\n", one.status.name(), one.check, one.text.replace('\n', " "));
    found.iter().map(line).collect()
}

/// The report as JSON.
pub fn json(found: &[Finding]) -> Value {
    let checks: Vec<_> =
        found.iter().map(|one| json!({"check": one.check, "status": one.status.name(), "message": one.text})).collect();
    let count = |status: Status| found.iter().filter(|one| one.status == status).count();
    json!({
        "checks": checks,
        "ok": count(Status::Ok),
        "warning": count(Status::Warning),
        "failed": count(Status::Failed),
        "skipped": count(Status::Skipped),
    })
}
