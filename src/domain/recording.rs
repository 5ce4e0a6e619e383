//! Recordings of participants: their states follow from publications and from what the recorder reports.
//!
//! `STARTING` → `ACTIVE` → `STOPPING` → `STOPPED` or `FAILED`. A publication within the reconnect window of the former one
//! continues its recording, which is `STARTING` again until media are written.

use super::event::Failure;
use super::stage_state::SessionId;
use crate::clock::Timestamp;
use crate::model::participant::ParticipantRecordingState;
use crate::model::stage::AutoParticipantRecordingConfiguration;
use chrono::{DateTime, NaiveDateTime};
use std::time::Duration;

/// Everything that is recorded under one prefix of a bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    pub id: String,
    /// The session in which it began, which its prefix contains.
    pub session: SessionId,
    /// The participant's latest session.
    pub current_session: String,
    pub participant: String,
    /// Where the media come from: a publishing connection and its node. No node owns a recording whose node has stopped.
    pub connection: String,
    pub node: Option<String>,
    /// The id of the storage configuration.
    pub storage: String,
    pub bucket: String,
    pub prefix: String,
    /// The stage's configuration when the latest publication started.
    pub config: AutoParticipantRecordingConfiguration,
    pub state: ParticipantRecordingState,
    /// When the first publication started.
    pub created_at: Timestamp,
    /// Since when media are written.
    pub started_at: Option<Timestamp>,
    /// While the participant does not publish: since when.
    pub unpublished_at: Option<Timestamp>,
    /// While the participant does not publish: the end of the reconnect window.
    pub resume_until: Option<Timestamp>,
    /// Whether the storage has everything of the publications that have ended.
    pub uploaded: bool,
    pub ended_at: Option<Timestamp>,
    /// Length of the recorded media.
    pub duration_ms: i64,
    /// Number of the next thumbnail.
    pub next_thumbnail: i64,
    pub failure: Option<Failure>,
}

/// How a publication that starts is to be recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordingPlan {
    /// The id of a new recording.
    pub id: String,
    pub storage: String,
    pub bucket: String,
    pub config: AutoParticipantRecordingConfiguration,
    pub connection: String,
    pub node: String,
}

/// What is reported of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordingReport {
    /// Media are written since `at`, and the storage takes them.
    Started { at: Timestamp },
    /// The participant has stopped publishing.
    Unpublished,
    /// A publication is written to its end, perhaps not all of it to the storage.
    Written { duration_ms: i64, next_thumbnail: i64 },
    /// The storage has everything of the publications that have ended.
    Uploaded,
    /// The recording is complete.
    Ended { duration_ms: i64 },
    /// The recording cannot go on, or could not start.
    Failed { failure: Failure, duration_ms: i64 },
}

/// An event that follows from a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingEvent {
    Start,
    End,
    StartFailure,
    EndFailure,
}

impl RecordingEvent {
    pub const fn name(self) -> &'static str {
        match self {
            RecordingEvent::Start => "Recording Start",
            RecordingEvent::End => "Recording End",
            RecordingEvent::StartFailure => "Recording Start Failure",
            RecordingEvent::EndFailure => "Recording End Failure",
        }
    }
}

impl Recording {
    /// The recording of a publication that starts. `last_prefix` is the prefix of the participant's former recording.
    pub fn new(
        plan: RecordingPlan,
        session: &SessionId,
        participant: &str,
        last_prefix: Option<&str>,
        at: Timestamp,
    ) -> Self {
        Recording {
            id: plan.id,
            session: session.clone(),
            current_session: session.session.clone(),
            participant: participant.to_owned(),
            connection: plan.connection,
            node: Some(plan.node),
            storage: plan.storage,
            bucket: plan.bucket,
            prefix: prefix(session, participant, last_prefix, at),
            config: plan.config,
            state: ParticipantRecordingState::Starting,
            created_at: at,
            started_at: None,
            unpublished_at: None,
            resume_until: None,
            uploaded: false,
            ended_at: None,
            duration_ms: 0,
            next_thumbnail: 0,
            failure: None,
        }
    }

    pub fn has_ended(&self) -> bool {
        self.ended_at.is_some()
    }

    /// Whether no publication can continue this recording any more. Without a window, none can from the end of the publication
    /// on.
    pub fn is_window_over(&self, at: Timestamp) -> bool {
        self.resume_until.is_none_or(|until| at > until) || self.resume_until == self.unpublished_at
    }

    /// Whether a publication that starts at `at` continues this recording: within the reconnect window, with the same
    /// storage configuration, and where everything of the former publications is within reach of the new one's node.
    pub fn can_resume(&self, plan: &RecordingPlan, at: Timestamp) -> bool {
        self.state == ParticipantRecordingState::Stopping
            && self.storage == plan.storage
            && !window(&plan.config).is_zero()
            && !window(&self.config).is_zero()
            && self.resume_until.is_some_and(|until| at <= until)
            && (self.uploaded || self.node.as_ref().is_none_or(|node| *node == plan.node))
    }

    /// The recording with another publication, in the session `session`.
    pub fn resume(self, plan: RecordingPlan, session: &str) -> Self {
        Recording {
            current_session: session.to_owned(),
            connection: plan.connection,
            node: Some(plan.node),
            config: plan.config,
            state: ParticipantRecordingState::Starting,
            unpublished_at: None,
            resume_until: None,
            uploaded: false,
            ..self
        }
    }

    /// The recording after a report at `at`, and the event that follows. Reports of a recording that has ended, and those
    /// that its state does not allow, change nothing.
    pub fn apply(mut self, report: RecordingReport, at: Timestamp) -> (Self, Option<RecordingEvent>) {
        use ParticipantRecordingState::{Active, Failed, Starting, Stopped, Stopping};
        if self.has_ended() {
            return (self, None);
        }
        let mut event = None;
        match report {
            RecordingReport::Started { at } => {
                if self.state == Starting {
                    self.state = Active;
                }
                if self.started_at.is_none() {
                    self.started_at = Some(at);
                    event = Some(RecordingEvent::Start);
                }
            }
            RecordingReport::Unpublished if self.state != Stopping => {
                self.state = Stopping;
                self.unpublished_at = Some(at);
                self.resume_until = Some(at.plus(window(&self.config)));
            }
            RecordingReport::Unpublished => {}
            RecordingReport::Written { duration_ms, next_thumbnail } => {
                (self.duration_ms, self.next_thumbnail) = (duration_ms, next_thumbnail);
            }
            RecordingReport::Uploaded => self.uploaded = self.state == Stopping,
            RecordingReport::Ended { duration_ms } if self.state == Stopping => {
                (self.state, self.ended_at, self.duration_ms) = (Stopped, Some(at), duration_ms);
                event = self.started_at.map(|_| RecordingEvent::End);
            }
            RecordingReport::Ended { .. } => {}
            RecordingReport::Failed { failure, duration_ms } => {
                (self.state, self.ended_at, self.duration_ms) = (Failed, Some(at), duration_ms);
                self.failure = Some(failure);
                let started = self.started_at.is_some();
                event = Some(if started { RecordingEvent::EndFailure } else { RecordingEvent::StartFailure });
            }
        }
        (self, event)
    }
}

/// The reconnect window of a configuration.
pub fn window(config: &AutoParticipantRecordingConfiguration) -> Duration {
    let seconds = config.recording_reconnect_window_seconds.as_ref().map_or(0, |window| window.0);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// The last part of a prefix: when the recording began, in whole seconds.
const FOLDER: &str = "%Y-%m-%dT%H-%M-%SZ";

/// `stage/session/participant/time`. Two recordings of a participant never share a prefix: one that begins in the same
/// second as the former one gets the next second.
fn prefix(session: &SessionId, participant: &str, last: Option<&str>, at: Timestamp) -> String {
    let folder = format!("{}/{}/{participant}", session.stage, session.session);
    let last = last.and_then(|last| last.strip_prefix(&folder)?.strip_prefix('/'));
    let last = last.and_then(|time| Some(NaiveDateTime::parse_from_str(time, FOLDER).ok()?.and_utc().timestamp()));
    let seconds = last.map_or(at.unix_seconds(), |last| at.unix_seconds().max(last + 1));
    let time = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    format!("{folder}/{}", time.format(FOLDER))
}

#[cfg(test)]
mod tests {
    use super::ParticipantRecordingState::{Active, Failed, Starting, Stopped, Stopping};
    use super::RecordingReport as Report;
    use super::*;
    use crate::domain::stage;
    use crate::model::stage::ParticipantRecordingReconnectWindowSeconds;
    use proptest::prelude::*;

    /// 2026-03-04T05:06:07.089Z
    const NOW: Timestamp = Timestamp(1_772_600_767_089);

    fn plan(window: i64, node: &str) -> RecordingPlan {
        let config = AutoParticipantRecordingConfiguration {
            recording_reconnect_window_seconds: Some(ParticipantRecordingReconnectWindowSeconds(window)),
            ..stage::recording(None)
        };
        let [id, storage, bucket, connection] = ["r", "s", "films", "c"].map(str::to_owned);
        RecordingPlan { id, storage, bucket, config, connection, node: node.to_owned() }
    }

    fn session() -> SessionId {
        SessionId { stage: "stage".into(), session: "st-1".into() }
    }

    fn recording(window: i64) -> Recording {
        Recording::new(plan(window, "n"), &session(), "anna", None, NOW)
    }

    fn failed() -> Report {
        let failure = Failure { error_code: "NoSuchBucket".into(), reason: "gone".into() };
        Report::Failed { failure, duration_ms: 7 }
    }

    /// The states after each report, a second apart, and the events.
    fn run(reports: &[Report]) -> (Vec<ParticipantRecordingState>, Vec<RecordingEvent>) {
        let (mut now, mut recording, mut states, mut events) = (NOW, recording(0), Vec::new(), Vec::new());
        for report in reports {
            now = now.plus(Duration::from_secs(1));
            let event;
            (recording, event) = recording.apply(report.clone(), now);
            states.push(recording.state);
            events.extend(event);
        }
        (states, events)
    }

    #[test]
    fn states_and_events_follow_from_reports() {
        use RecordingEvent::{End, EndFailure, Start, StartFailure};
        let (started, ended) = (Report::Started { at: NOW }, Report::Ended { duration_ms: 7 });
        let stopped = || Report::Unpublished;
        let cases = [
            (vec![started.clone(), stopped(), ended.clone()], vec![Active, Stopping, Stopped], vec![Start, End]),
            // The storage confirms the start after the participant has stopped.
            (vec![stopped(), started.clone(), ended.clone()], vec![Stopping, Stopping, Stopped], vec![Start, End]),
            // Without media there is nothing to announce.
            (vec![stopped(), ended.clone()], vec![Stopping, Stopped], vec![]),
            (vec![failed(), stopped(), ended.clone()], vec![Failed; 3], vec![StartFailure]),
            (vec![started.clone(), failed(), failed()], vec![Active, Failed, Failed], vec![Start, EndFailure]),
            (vec![started.clone(), stopped(), failed()], vec![Active, Stopping, Failed], vec![Start, EndFailure]),
            (vec![started.clone(), started.clone(), ended], vec![Active; 3], vec![Start]),
        ];
        for (reports, states, events) in cases {
            assert_eq!(run(&reports), (states, events), "{reports:?}");
        }
    }

    #[test]
    fn the_prefix_is_that_of_aws_and_never_used_twice() {
        let first = recording(0).prefix;
        assert_eq!(first, "stage/st-1/anna/2026-03-04T05-06-07Z");
        let next = |last: &str, at| Recording::new(plan(0, "n"), &session(), "anna", Some(last), at).prefix;
        let second = next(&first, NOW);
        assert_eq!(second, "stage/st-1/anna/2026-03-04T05-06-08Z");
        assert_eq!(next(&second, NOW), "stage/st-1/anna/2026-03-04T05-06-09Z");
        assert_eq!(next(&second, Timestamp(NOW.0 + 60_000)), "stage/st-1/anna/2026-03-04T05-07-07Z");
        for other in ["stage/st-1/bert/2026-03-04T05-06-07Z", "a/b", "stage/st-1/anna/x"] {
            assert_eq!(next(other, NOW), first);
        }
    }

    #[test]
    fn a_publication_within_the_window_continues_the_recording() {
        let stopped = |window| recording(window).apply(Report::Unpublished, NOW).0;
        let at = |seconds: i64| Timestamp(NOW.0 + seconds * 1000);
        assert!(stopped(10).can_resume(&plan(10, "n"), at(10)));
        assert!(!stopped(10).can_resume(&plan(10, "n"), at(11)), "too late");
        assert!(!stopped(10).is_window_over(at(10)) && stopped(10).is_window_over(Timestamp(at(10).0 + 1)));
        assert!(stopped(0).is_window_over(NOW));
        assert!(!stopped(0).can_resume(&plan(10, "n"), NOW), "it had no window");
        assert!(!stopped(10).can_resume(&plan(0, "n"), NOW), "the configuration has no window any more");
        assert!(!recording(10).can_resume(&plan(10, "n"), NOW), "the former publication has not ended");
        assert!(!stopped(10).can_resume(&RecordingPlan { storage: "t".into(), ..plan(10, "n") }, NOW));
        assert!(!stopped(10).can_resume(&plan(10, "m"), NOW), "its node has not uploaded everything");
        let (uploaded, _) = stopped(10).apply(Report::Uploaded, NOW);
        assert!(uploaded.can_resume(&plan(10, "m"), NOW));
        assert!(Recording { node: None, ..stopped(10) }.can_resume(&plan(10, "m"), NOW), "its node is dead");
        let resumed = uploaded.resume(plan(10, "m"), "st-2");
        assert_eq!((resumed.state, resumed.uploaded, resumed.resume_until), (Starting, false, None));
        assert_eq!((resumed.session, &*resumed.current_session), (session(), "st-2"));
    }

    fn any_report() -> impl Strategy<Value = Report> {
        prop_oneof![
            Just(Report::Started { at: NOW }),
            Just(Report::Unpublished),
            Just(Report::Uploaded),
            Just(Report::Written { duration_ms: 1, next_thumbnail: 2 }),
            Just(Report::Ended { duration_ms: 3 }),
            Just(failed()),
        ]
    }

    proptest! {
        #[test]
        fn each_recording_has_one_start_and_one_end_whatever_is_reported(reports in prop::collection::vec(any_report(), 0..20)) {
            let (states, events) = run(&reports);
            let count = |wanted: &[RecordingEvent]| events.iter().filter(|event| wanted.contains(event)).count();
            let starts = count(&[RecordingEvent::Start]);
            let ends = count(&[RecordingEvent::End, RecordingEvent::EndFailure]);
            prop_assert!(starts <= 1 && ends <= starts, "{events:?}");
            prop_assert!(starts + count(&[RecordingEvent::StartFailure]) <= 1, "{events:?}");
            let end = states.iter().position(|state| matches!(state, Stopped | Failed)).unwrap_or(states.len());
            prop_assert!(states[end..].iter().all(|state| *state == states[end]), "{states:?}");
        }
    }
}
