//! Single steps; what many of them add up to is tested on both engines, in `tests/record`.

use super::*;
use crate::domain::participant::Client;
use crate::model::participant::{EventName, ParticipantProtocol};
use crate::model::replication::ReplicationState;

const NOW: Timestamp = Timestamp(1_000_000);
const CODE: EventErrorCode = EventErrorCode::InvalidInput;
const DURATIONS: Durations = Durations {
    start: Duration::ZERO,
    idle: Duration::from_secs(60),
    most: Duration::from_secs(3600),
    stop: Duration::ZERO,
    retention: Duration::ZERO,
};

fn session() -> SessionId {
    SessionId { stage: "stage".into(), session: "session".into() }
}

fn take(state: StageState, command: Command) -> Result<Outcome, Illegal> {
    let scope = Scope { account: "123456789012".into(), region: "us-west-2".into() };
    let rules = Rules {
        scope: &scope,
        session_end: Duration::ZERO,
        session_silent: None,
        compositions: &DURATIONS,
        extended_events: true,
    };
    step(&rules, state, command, NOW)
}

fn record(step: &Step) -> ParticipantRecord {
    let record = step.changes.iter().find_map(|change| match change {
        Change::InsertParticipant { participant, .. } | Change::UpdateParticipant { participant, .. } => {
            Some(participant.clone())
        }
        _ => None,
    });
    *record.expect("a participant is written")
}

fn joined() -> ParticipantRecord {
    let participant = NewParticipant {
        id: "a".into(),
        user_id: String::new(),
        attributes: ParticipantAttributes::default(),
        client: Client::default(),
        protocol: ParticipantProtocol::Unknown,
        ingest_configuration_id: None,
        redundant_ingest: false,
        source: None,
    };
    record(&take(StageState::default(), Command::Join { session: session(), participant }).unwrap().0)
}

fn act(participant: ParticipantRecord, command: ParticipantCommand) -> Result<Outcome, Illegal> {
    let state = StageState { participant: Some(participant), ..StageState::default() };
    take(state, Command::Participant { session: session(), id: "a".into(), command, at: NOW })
}

#[test]
fn a_publisher_that_leaves_ends_its_replications_before_its_session() {
    let (publishing, _) = act(joined(), ParticipantCommand::Publish(None)).unwrap();
    let (left, then) = act(record(&publishing), ParticipantCommand::Leave).unwrap();
    let [Command::SourceStopped { .. }, Command::PublisherStopped { .. }, Command::ParticipantLeft { .. }] = &then[..]
    else {
        panic!("{then:?}")
    };
    let [
        Change::UpdateParticipant { version: 2, events, .. },
        Change::BumpRevision { .. },
        Change::ForgetConnections { .. },
    ] = &left.changes[..]
    else {
        panic!("{left:?}")
    };
    let names: Vec<_> = events.iter().filter_map(|event| event.name).collect();
    assert_eq!((names, left.outbox.len()), (vec![EventName::PublishStopped, EventName::Left], 2));
}

#[test]
fn what_the_state_does_not_allow_is_refused() {
    assert_eq!(act(joined(), ParticipantCommand::Unpublish).unwrap_err(), Illegal::NotPublishing);
    let command =
        Command::Participant { session: session(), id: "a".into(), command: ParticipantCommand::Leave, at: NOW };
    assert_eq!(take(StageState::default(), command).unwrap_err(), Illegal::NotConnected);
}

#[test]
fn a_session_ends_once() {
    let close = || Command::CloseSession { session: session(), at: NOW };
    let open = StageState { session_open: true, ..StageState::default() };
    let (step, _) = take(open, close()).unwrap();
    assert_eq!((step.changes, step.outbox.len()), (vec![Change::EndSession { session: session(), at: NOW }], 1));
    let (step, then) = take(StageState::default(), close()).unwrap();
    assert!(step.changes.is_empty() && step.outbox.is_empty() && then.is_empty(), "{step:?} {then:?}");
}

#[test]
fn a_replication_ends_once() {
    let replication = |state| Replication {
        participant: "a".into(),
        source: session(),
        destination: SessionId { stage: "other".into(), session: "other session".into() },
        state,
        reconnect_window_seconds: 0,
        started_at: NOW,
        ends_at: None,
    };
    let end = |state, source| {
        let replications = vec![replication(state)];
        let command = Command::EndReplication { replication: replication(state).key() };
        let participant = Some(ParticipantRecord { source, ..joined() });
        take(StageState { replications, participant, ..StageState::default() }, command).unwrap()
    };
    let (step, then) = end(ReplicationState::Active, Some(session()));
    assert_eq!(step.changes[0], Change::PutReplication(replication(ReplicationState::Stopped)));
    assert!(matches!(&then[..], [Command::Disconnect { .. }, Command::RecordReplication { .. }]), "{then:?}");
    let (step, then) = end(ReplicationState::Active, None);
    assert_eq!(step.changes, [Change::PutReplication(replication(ReplicationState::Stopped))]);
    assert!(matches!(&then[..], [Command::RecordReplication { .. }]), "a participant of its own stays: {then:?}");
    let (step, then) = end(ReplicationState::Stopped, Some(session()));
    assert!(step.changes.is_empty() && then.is_empty(), "{step:?} {then:?}");
}

#[test]
fn the_state_of_an_ingest_configuration_follows_its_encoders_after_everything_else() {
    let configuration = Some("ingest".to_owned());
    let encoder = ParticipantRecord { ingest_configuration_id: configuration.clone(), ..joined() };
    let (step, then) = act(encoder, ParticipantCommand::Publish(None)).unwrap();
    let publishing = record(&step);
    assert!(matches!(&then[..], [Command::SourceStarted { .. }, Command::EncodersChanged { .. }]), "{then:?}");
    let (left, then) = act(publishing.clone(), ParticipantCommand::Leave).unwrap();
    let [.., Command::ParticipantLeft { .. }, Command::EncodersChanged { stage, configuration: changed }] = &then[..]
    else {
        panic!("{then:?}")
    };
    assert_eq!((stage.as_str(), Some(changed)), ("stage", configuration.as_ref()));
    let (_, then) = act(record(&left), ParticipantCommand::Fail(EventName::PublishError, CODE, None)).unwrap();
    assert!(then.is_empty(), "nothing has changed for the configuration: {then:?}");
    let (_, then) = act(publishing, ParticipantCommand::Unpublish).unwrap();
    assert!(matches!(then.last(), Some(Command::EncodersChanged { .. })), "{then:?}");
}

#[test]
fn an_ingest_configuration_is_active_while_any_encoder_publishes() {
    use IngestConfigurationState::{Active, Inactive};
    for (encoders, state) in [(0, Inactive), (1, Active), (3, Active)] {
        let command = Command::EncodersChanged { stage: "stage".into(), configuration: "ingest".into() };
        let (step, then) = take(StageState { encoders, ..StageState::default() }, command).unwrap();
        let (stage, configuration) = ("stage".to_owned(), "ingest".to_owned());
        assert_eq!((step.changes, then.len()), (vec![Change::SetIngestState { stage, configuration, state }], 0));
    }
}

#[test]
fn a_participant_that_joins_again_is_what_it_joins_as() {
    let again = |ingest_configuration_id: Option<&str>, redundant_ingest| {
        let (left, _) = act(joined(), ParticipantCommand::Leave).unwrap();
        let participant = NewParticipant {
            id: "a".into(),
            user_id: String::new(),
            attributes: ParticipantAttributes::default(),
            client: Client::default(),
            protocol: ParticipantProtocol::Rtmps,
            ingest_configuration_id: ingest_configuration_id.map(str::to_owned),
            redundant_ingest,
            source: None,
        };
        let state = StageState { session_open: true, participant: Some(record(&left)), ..StageState::default() };
        let record = record(&take(state, Command::Join { session: session(), participant }).unwrap().0);
        (record.ingest_configuration_id, record.redundant_ingest, record.protocol)
    };
    assert_eq!(again(Some("ingest"), true), (Some("ingest".into()), true, ParticipantProtocol::Rtmps));
    assert_eq!(again(None, false), (None, false, ParticipantProtocol::Rtmps));
}
