//! The scenarios of this process, and how far they have come.

use crate::clock::Timestamp;
use crate::model::fault::{Fault, FaultKind};
use crate::testing::TestState;
use crate::testing::call::Selection;
use crate::testing::participants::{Participant, StageId, leave_all};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Maximum scenarios that are kept once they have ended.
const MAX_ENDED: usize = 1000;
/// Maximum scenarios that run at once.
const MAX_RUNNING: usize = 100;
/// Maximum participants that are shown by name.
const MAX_SHOWN: usize = 1000;

/// The time that a scenario runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// The clock is moved.
    Virtual,
    /// In the background.
    Real,
}

/// How a scenario ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Finished,
    Failed(String),
    Stopped,
}

/// A run of a scenario.
#[derive(Debug)]
pub struct Run {
    pub id: String,
    pub stage: StageId,
    pub time: Time,
    /// Cancelled to stop it.
    pub stop: CancellationToken,
    progress: Mutex<Progress>,
    /// Whether it has ended.
    ended: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Progress {
    started_at: Option<Timestamp>,
    ended: Option<(Outcome, Timestamp)>,
    steps: usize,
    /// By name, up to [`MAX_SHOWN`].
    names: BTreeMap<String, String>,
    participants: Vec<Arc<Participant>>,
}

impl Run {
    pub fn new(id: String, stage: StageId, time: Time, stop: CancellationToken) -> Arc<Run> {
        let (progress, ended) = Default::default();
        Arc::new(Run { id, stage, time, stop, progress, ended })
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the start.
    pub fn begin(&self, at: Timestamp) {
        self.progress().started_at = Some(at);
    }

    /// Notes that participants act.
    pub fn count(&self, steps: usize) {
        self.progress().steps += steps;
    }

    /// Notes that participants have joined.
    pub fn joined(&self, participants: impl IntoIterator<Item = (String, Arc<Participant>)>) {
        let mut progress = self.progress();
        for (name, participant) in participants {
            if progress.names.len() < MAX_SHOWN {
                progress.names.insert(name, participant.id.clone());
            }
            progress.participants.push(participant);
        }
    }

    /// Notes the end.
    pub fn end(&self, outcome: Outcome, at: Timestamp) {
        if let Outcome::Failed(error) = &outcome {
            tracing::warn!(scenario.id = self.id, stage.id = self.stage.id, error, "scenario failed");
        }
        self.progress().ended = Some((outcome, at));
        self.ended.send_replace(true);
    }

    pub fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Waits for the end.
    pub async fn wait(&self) {
        // The sender is this object's.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// Lets its participants leave.
    pub async fn dismiss(&self, state: &TestState) -> Result<(), Fault> {
        let mut connected = self.progress().participants.clone();
        connected.retain(|participant| participant.is_connected());
        leave_all(state, &connected).await
    }

    pub fn json(&self) -> Value {
        let progress = self.progress();
        let mut shown = json!({
            "id": self.id,
            "stageArn": self.stage.arn(),
            "time": if self.time == Time::Real { "real" } else { "virtual" },
            "state": match &progress.ended {
                None => "RUNNING",
                Some((Outcome::Finished, _)) => "FINISHED",
                Some((Outcome::Failed(_), _)) => "FAILED",
                Some((Outcome::Stopped, _)) => "STOPPED",
            },
            "steps": progress.steps,
            "participants": progress.names,
            "participantCount": progress.participants.len(),
        });
        if let Some(at) = progress.started_at {
            shown["startedAt"] = json!(at);
        }
        if let Some((outcome, at)) = &progress.ended {
            shown["endedAt"] = json!(at);
            if let Outcome::Failed(error) = outcome {
                shown["error"] = error.as_str().into();
            }
        }
        shown
    }
}

/// The scenarios of this process, the newest last.
#[derive(Debug, Default)]
pub struct Scenarios(Mutex<VecDeque<Arc<Run>>>);

impl Scenarios {
    fn runs(&self) -> MutexGuard<'_, VecDeque<Arc<Run>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a run; the oldest that have ended are forgotten.
    pub fn add(&self, run: Arc<Run>) -> Result<(), Fault> {
        let mut runs = self.runs();
        let ended = runs.iter().filter(|run| run.has_ended()).count();
        if runs.len() - ended >= MAX_RUNNING {
            return Err(Fault::quota(format!("{MAX_RUNNING} scenarios run already")));
        }
        if ended >= MAX_ENDED
            && let Some(oldest) = runs.iter().position(|run| run.has_ended())
        {
            runs.remove(oldest);
        }
        runs.push_back(run);
        Ok(())
    }

    /// The runs in the selected accounts and regions, the oldest first.
    pub fn of(&self, selection: &Selection) -> Vec<Arc<Run>> {
        self.runs().iter().filter(|run| selection.includes(&run.stage.scope)).cloned().collect()
    }

    /// The run `id` in the selected accounts and regions.
    pub fn get(&self, selection: &Selection, id: &str) -> Result<Arc<Run>, Fault> {
        let found = self.of(selection).into_iter().find(|run| run.id == id);
        found.ok_or_else(|| Fault::Modelled {
            kind: FaultKind::ResourceNotFound,
            message: format!("There is no scenario {id}"),
            cause: None,
            retryable: false,
        })
    }

    pub fn remove(&self, run: &Arc<Run>) {
        self.runs().retain(|other| !Arc::ptr_eq(other, run));
    }
}
