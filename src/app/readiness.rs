//! Readiness: whether this node can serve, as `/_greenroom/ready` answers.

use super::App;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Why a node is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReady {
    /// A stable name.
    pub reason: &'static str,
    /// For the operator.
    pub message: String,
}

/// The state of readiness that is not read from the store.
#[derive(Debug, Default)]
pub struct Readiness {
    /// Whether the media thread does not answer in time.
    media_silent: AtomicBool,
    /// The reasons that were logged last.
    logged: Mutex<Vec<&'static str>>,
}

impl Readiness {
    /// Sets whether the media thread answers in time.
    pub fn media_answers(&self, answers: bool) {
        self.media_silent.store(!answers, Ordering::Relaxed);
    }

    /// Logs a change.
    fn log(&self, reasons: &[NotReady]) {
        let names: Vec<_> = reasons.iter().map(|one| one.reason).collect();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if *logged == names {
            return;
        }
        match reasons {
            [] => tracing::info!("ready again"),
            _ => {
                let messages: Vec<_> = reasons.iter().map(|one| one.message.as_str()).collect();
                tracing::warn!(reason = names.join(","), message = messages.join("; "), "not ready");
            }
        }
        *logged = names;
    }
}

impl App {
    /// Every reason why this node cannot serve; none if it is ready.
    pub async fn not_ready(&self) -> Vec<NotReady> {
        let mut reasons = Vec::new();
        let mut add = |reason, message: String| reasons.push(NotReady { reason, message });
        let health = self.db.health();
        if let Err(error) = self.db.ping().await {
            tracing::debug!(error = &error as &dyn std::error::Error, "the store does not answer");
            add("store-unreachable", "the store cannot be reached".into());
        }
        if let Some(finding) = health.damage() {
            add(
                "database-damaged",
                format!("the database is damaged ({finding}): restore a backup or recover the file"),
            );
        }
        if let Some(cause) = health.disk_failure() {
            add("database-not-writable", format!("the last write to the database failed: {cause}"));
        }
        if let Some(message) = self.low_disk() {
            add("disk-space-low", message);
        }
        if let Some(offset) = self.lease_clock.intolerable_offset() {
            let seconds = offset as f64 / 1000.0;
            add("clock-offset", format!("this machine's clock differs from the database's by {seconds} s: correct it"));
        }
        if self.readiness.media_silent.load(Ordering::Relaxed) {
            add("media-thread-silent", "the media thread does not answer".into());
        }
        self.readiness.log(&reasons);
        reasons
    }

    /// Why the free disk space of an embedded store is too low.
    fn low_disk(&self) -> Option<String> {
        let (path, least) = (self.db.path()?, self.settings.least_free_disk);
        if least == 0 {
            return None;
        }
        match crate::store::free_disk_bytes(path) {
            Ok(free) if free >= least => None,
            Ok(free) => {
                let (free, least) = (free >> 20, least >> 20);
                Some(format!(
                    "{free} MiB are free on the disk of the database, less than --database-min-free-mb ({least})"
                ))
            }
            Err(error) => {
                tracing::debug!(%error, "free disk space unknown");
                None
            }
        }
    }
}
