//! The rules of a stage as one pure step: the state that a command reads goes in; changes, events and follow-up commands
//! come out. `app::stage_state` loads, applies and repeats, inside one transaction.
//!
//! Sessions, participants, replications, compositions and connections react to commands; none calls another. Follow-up
//! commands run in order, before commands that were queued earlier (depth first): the departures of the last
//! participants come before the end of their session.

mod compositions;
mod connections;
mod encoders;
mod participants;
mod record;
mod recordings;
mod replications;
mod sessions;
#[cfg(test)]
mod tests;

pub use compositions::ScheduledComposition;
pub use connections::{Connection, error_event};
pub use participants::ParticipantCommand;
pub use record::{NewParticipant, ParticipantRecord, ParticipantRecording};
pub use replications::{Replication, ReplicationKey};

use super::composition::{Durations, Progress};
use super::event::{self, CompositionError, EventContext, OutboxEvent, Subject};
use super::participant::Illegal;
use super::recording::{Recording, RecordingPlan, RecordingReport};
use crate::clock::Timestamp;
use crate::model::arn::Scope;
use crate::model::ingest_configuration::IngestConfigurationState;
use crate::model::participant::{Event, EventErrorCode, ParticipantAttributes};
use std::time::Duration;

/// A session of a stage, by ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionId {
    pub stage: String,
    pub session: String,
}

/// The settings that the rules depend on.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    pub scope: &'a Scope,
    /// From the leaving of the last participant to the end of the session.
    pub session_end: Duration,
    /// Without a publisher, to the end of a session with participants; `None` is never.
    pub session_silent: Option<Duration>,
    pub compositions: &'a Durations,
    /// Whether events are made that AWS does not have.
    pub extended_events: bool,
}

/// The part of a stage's state that one command reads; what the command does not read is left empty.
#[derive(Clone, Debug, Default)]
pub struct StageState {
    /// Whether the command's session is open.
    pub session_open: bool,
    /// The participant that the command is about.
    pub participant: Option<ParticipantRecord>,
    /// The publisher that a replica comes from.
    pub source: Option<ParticipantRecord>,
    /// Participants of the session that are connected, or publish, in the order of first joining.
    pub present: Vec<ParticipantRecord>,
    /// Whether any participant is connected to the session.
    pub any_connected: bool,
    /// How many participants publish to the stage.
    pub publishers: i64,
    /// Whether the participant to subscribe to is a replica.
    pub remote_is_replica: bool,
    /// Whether the participant has connections besides the one that the command is about.
    pub other_connections: bool,
    /// The session that a replica is to enter: open, or to be opened. `None` if its stage is gone.
    pub destination: Option<SessionId>,
    /// Whether a participant of the replica's id is connected to that session.
    pub destination_taken: bool,
    pub replications: Vec<Replication>,
    /// How many active replications the source has.
    pub active_replications: i64,
    /// Compositions of the stage, ended or not.
    pub compositions: Vec<ScheduledComposition>,
    /// How a publication that starts is to be recorded, if it is.
    pub recording_plan: Option<Box<RecordingPlan>>,
    /// The participant's recordings that have not ended, or the one that a report is about.
    pub recordings: Vec<Recording>,
    /// How many encoders of the ingest configuration publish.
    pub encoders: i64,
}

/// What is to happen in a stage. `at` is the time of what happens, where that may be before now.
#[derive(Clone, Debug)]
pub enum Command {
    /// A participant joins the session, for the first time or again; the session is opened if it is not open.
    Join { session: SessionId, participant: NewParticipant },
    /// A connected participant does something.
    Participant { session: SessionId, id: String, command: ParticipantCommand, at: Timestamp },
    /// A participant leaves if it is connected.
    Disconnect { session: SessionId, id: String },
    /// A participant has left, perhaps the last one.
    ParticipantLeft { session: SessionId, at: Timestamp },
    /// A participant has stopped publishing, perhaps the last one.
    PublisherStopped { session: SessionId, at: Timestamp },
    /// A connection has ended; with its last one, the participant leaves.
    ConnectionEnded { session: SessionId, connection: Connection, reason: Option<EventErrorCode> },
    /// Another connection of the participant takes the place of this one.
    ConnectionReplaced { session: SessionId, connection: Connection },
    /// An encoder of an ingest configuration has started or stopped publishing.
    EncodersChanged { stage: String, configuration: String },
    /// Every participant leaves and the session ends.
    EndSession { session: SessionId, at: Timestamp },
    /// The session ends; its participants have left.
    CloseSession { session: SessionId, at: Timestamp },
    /// A publisher has started: its replicas come back within their reconnect windows.
    SourceStarted { session: SessionId, id: String },
    /// A publisher has stopped: its replicas leave.
    SourceStopped { session: SessionId, id: String },
    /// A replica of a publisher in the session `from` enters its stage, and publishes.
    EnterReplica { replication: Replication, from: SessionId, attributes: ParticipantAttributes },
    /// The same within the reconnect window, in whatever session is open by now.
    ReturnReplica { replication: Replication, from: SessionId },
    /// A replication ends, if it is active.
    EndReplication { replication: ReplicationKey },
    /// The source notes that a replication has started or stopped.
    RecordReplication { replication: Replication },
    /// Replications from or to the stage end whose reconnect windows have expired.
    EndDueReplications { stage: String },
    /// The stage is deleted: its replications, its session and its compositions end.
    TearDownStage { stage: String, session: Option<SessionId> },
    /// Forgets the replications of a stage that is deleted.
    ForgetReplications { stage: String },
    /// The session of a stage that is deleted ends; its history is deleted with it.
    TearDownSession { session: SessionId },
    /// Events for the participants that are still in the session of a stage that is deleted.
    AnnounceDepartures { session: SessionId },
    /// Compositions of a stage that is deleted stop.
    StopCompositions { stage: String },
    /// The history of the stage has changed, and with it when the next events of its compositions are due.
    RescheduleCompositions { stage: String },
    /// The recorder reports of a recording of the stage, which may be deleted.
    RecordingReported { stage: String, id: String, report: RecordingReport },
    /// The recording of a participant goes on in another session than this one.
    RecordingMoved { session: SessionId, id: String, prefix: String },
}

impl Command {
    /// The stage that the command's events belong to.
    pub fn stage(&self) -> &str {
        match self {
            Command::Join { session, .. }
            | Command::Participant { session, .. }
            | Command::Disconnect { session, .. }
            | Command::ParticipantLeft { session, .. }
            | Command::PublisherStopped { session, .. }
            | Command::ConnectionEnded { session, .. }
            | Command::ConnectionReplaced { session, .. }
            | Command::EndSession { session, .. }
            | Command::CloseSession { session, .. }
            | Command::SourceStarted { session, .. }
            | Command::SourceStopped { session, .. }
            | Command::TearDownSession { session }
            | Command::AnnounceDepartures { session }
            | Command::RecordingMoved { session, .. } => &session.stage,
            Command::EnterReplica { replication, .. } | Command::ReturnReplica { replication, .. } => {
                &replication.destination.stage
            }
            Command::RecordReplication { replication } => &replication.source.stage,
            Command::EndReplication { replication } => &replication.source_stage,
            Command::EndDueReplications { stage }
            | Command::TearDownStage { stage, .. }
            | Command::ForgetReplications { stage }
            | Command::StopCompositions { stage }
            | Command::RescheduleCompositions { stage }
            | Command::EncodersChanged { stage, .. }
            | Command::RecordingReported { stage, .. } => stage,
        }
    }
}

/// A change of what is stored. The order of a step's changes is kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    InsertParticipant {
        session: SessionId,
        participant: Box<ParticipantRecord>,
        events: Vec<Event>,
    },
    /// `version` is the number of events that the participant had when it was read (compare-and-set).
    UpdateParticipant {
        session: SessionId,
        version: i64,
        participant: Box<ParticipantRecord>,
        events: Vec<Event>,
    },
    /// Deletes the participant's connections, and releases the stage's media home if that was among them.
    ForgetConnections {
        stage: String,
        participant: String,
    },
    DeleteConnection {
        stage: String,
        id: String,
    },
    /// Releases the stage's media home, unless a participant is connected to publish.
    ReleaseMediaHome {
        stage: String,
    },
    OpenSession {
        session: SessionId,
        at: Timestamp,
        ends_at: Option<Timestamp>,
    },
    SetSessionDeadline {
        session: SessionId,
        ends_at: Option<Timestamp>,
    },
    /// The same, unless a participant is connected.
    SetEmptySessionDeadline {
        session: SessionId,
        ends_at: Option<Timestamp>,
    },
    EndSession {
        session: SessionId,
        at: Timestamp,
    },
    /// The stage has no publisher since `at`.
    MarkStageQuiet {
        stage: String,
        at: Timestamp,
    },
    /// Connected clients are to be sent the new state of the stage.
    BumpRevision {
        stage: String,
    },
    PutReplication(Replication),
    DeleteReplications {
        stage: String,
    },
    StopComposition {
        id: String,
        at: Timestamp,
        error: Option<CompositionError>,
    },
    RescheduleComposition {
        id: String,
        progress: Progress,
        next_at: Timestamp,
    },
    /// Sets the state of an ingest configuration, if it is still attached to the stage.
    SetIngestState {
        stage: String,
        configuration: String,
        state: IngestConfigurationState,
    },
    InsertRecording(Box<Recording>),
    UpdateRecording(Box<Recording>),
}

/// What a command leads to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    pub changes: Vec<Change>,
    /// Events of the command's stage, in order.
    pub outbox: Vec<OutboxEvent>,
}

/// What a command leads to, and the commands that follow from it.
pub type Outcome = (Step, Vec<Command>);

/// Decides what a command leads to at `now`; refuses what the state does not allow.
pub fn step(rules: &Rules<'_>, state: StageState, command: Command, now: Timestamp) -> Result<Outcome, Illegal> {
    let mut draft = Draft { rules: *rules, step: Step::default(), then: Vec::new() };
    match command {
        Command::Join { session, participant } => draft.join(state, &session, participant, now)?,
        Command::Participant { session, command, at, .. } => draft.participant(state, &session, command, at)?,
        Command::Disconnect { session, .. } => draft.disconnect(state, session, now),
        Command::ParticipantLeft { session, at } => draft.participant_left(&state, session, at),
        Command::PublisherStopped { session, at } => draft.publisher_stopped(&state, session, at),
        Command::ConnectionEnded { session, connection, reason } => {
            draft.connection_ended(state, &session, connection, reason, now);
        }
        Command::ConnectionReplaced { session, connection } => {
            draft.connection_replaced(state, &session, connection, now)
        }
        Command::EncodersChanged { stage, configuration } => draft.encoders_changed(&state, stage, configuration),
        Command::EndSession { session, at } => draft.end_session(state, session, at),
        Command::CloseSession { session, at } => draft.close_session(&state, session, at),
        Command::SourceStarted { session, .. } => draft.source_started(state, &session),
        Command::SourceStopped { .. } => draft.source_stopped(state, now),
        Command::EnterReplica { replication, from, attributes } => {
            draft.enter_replica(state, replication, from, attributes, now)?;
        }
        Command::ReturnReplica { replication, from } => draft.return_replica(state, replication, from),
        Command::EndReplication { .. } => draft.end_replication(state),
        Command::RecordReplication { replication } => draft.record_replication(state, &replication, now),
        Command::EndDueReplications { .. } => draft.end_active(&state),
        Command::TearDownStage { stage, session } => draft.tear_down_stage(&state, stage, session),
        Command::ForgetReplications { stage } => draft.change(Change::DeleteReplications { stage }),
        Command::TearDownSession { session } => draft.tear_down_session(state, session, now),
        Command::AnnounceDepartures { session } => draft.announce_departures(state, &session, now)?,
        Command::StopCompositions { stage } => draft.stop_compositions(&state, stage, now),
        Command::RescheduleCompositions { .. } => draft.reschedule_compositions(state),
        Command::RecordingReported { report, .. } => draft.recording_reported(state, report, now),
        Command::RecordingMoved { session, prefix, .. } => draft.recording_moved(state, &session, &prefix),
    }
    Ok((draft.step, draft.then))
}

/// A step while it is decided.
struct Draft<'a> {
    rules: Rules<'a>,
    step: Step,
    then: Vec<Command>,
}

impl Draft<'_> {
    fn change(&mut self, change: Change) {
        self.step.changes.push(change);
    }

    fn follow(&mut self, command: Command) {
        self.then.push(command);
    }

    fn bump(&mut self, session: &SessionId) {
        self.change(Change::BumpRevision { stage: session.stage.clone() });
    }

    /// Writes a new participant and its events.
    fn insert(&mut self, session: &SessionId, participant: ParticipantRecord, events: Vec<Event>) {
        let participant = ParticipantRecord { events: events.len() as i64, ..participant };
        self.announce(session, &participant, &events);
        let (session, participant) = (session.clone(), Box::new(participant));
        self.change(Change::InsertParticipant { session, participant, events });
    }

    /// Writes a participant that had `version` events, and its new ones.
    fn update(&mut self, session: &SessionId, version: i64, after: ParticipantRecord, events: Vec<Event>) {
        let participant = ParticipantRecord { events: version + events.len() as i64, ..after };
        self.announce(session, &participant, &events);
        let (session, participant) = (session.clone(), Box::new(participant));
        self.change(Change::UpdateParticipant { session, version, participant, events });
    }

    /// Puts events of a participant into the outbox.
    fn announce(&mut self, session: &SessionId, participant: &ParticipantRecord, events: &[Event]) {
        let source = participant.source.as_ref().map(|source| (&*source.stage, &*source.session));
        let subject = Subject { id: participant.id(), user_id: &participant.user_id, source };
        let context = session.context(self.rules.scope);
        self.step.outbox.extend(event::of_participant(context, subject, events, self.rules.extended_events));
    }
}

impl SessionId {
    fn context<'a>(&'a self, scope: &'a Scope) -> EventContext<'a> {
        EventContext { scope, stage: &self.stage, session: &self.session }
    }
}
