//! Random concurrent actions of participants on all nodes: the state is consistent.

use crate::cluster::{Cluster, Node, on_each_engine, scope, subscribe, verified};
use crate::replay::{LOG_NAMES, Participant, assert_replay_matches_sessions};
use crate::replicas::replicate;
use greenroom::app::{connections, nodes};
use greenroom::domain::admission::{Intent, SignalingErrorCode, VerifiedToken};
use greenroom::model::fault::FaultKind;
use greenroom::model::participant::ParticipantState;
use greenroom::model::replication::ReplicationState;
use greenroom::store::{ConnectionRow, Leased, ParticipantRow};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Seeded pseudo-random numbers.
struct Random(greenroom::ids::Ids);

impl Random {
    fn below(&self, limit: usize) -> usize {
        let bytes = self.0.bytes();
        usize::from(u16::from_le_bytes([bytes[0], bytes[1]])) % limit
    }

    fn choose<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// A client with its own connections on a node.
struct Actor {
    node: Node,
    random: Random,
    name: String,
    opened: usize,
    open: VecDeque<(VerifiedToken, String)>,
}

impl Actor {
    async fn act(&mut self, stages: &[String], ids: &[&str]) {
        let (stage, id) = (self.random.choose(stages).clone(), *self.random.choose(ids));
        let verified = verified(&self.node, &stage, id);
        match self.random.below(100) {
            0..20 => self.open(&verified, Intent::Events).await,
            20..35 => self.open(&verified, Intent::Publish).await,
            35..50 => self.open(&verified, subscribe(self.random.choose::<&str>(ids))).await,
            50..65 => {
                if let Some((verified, id)) = self.open.back() {
                    self.node.started(verified, id).await;
                }
            }
            65..85 => {
                if let Some((verified, id)) = self.open.pop_front() {
                    self.node.ended(&verified, &id).await;
                }
            }
            85..90 => {
                let other = self.random.choose(stages).clone();
                let window = 20 * self.random.below(2) as u32;
                if let Err(fault) = replicate(&self.node, id, &stage, &other, window).await {
                    assert_ne!(fault.name(), FaultKind::InternalServer.name(), "{fault:?}");
                }
            }
            90..92 => self.node.disconnect(&stage, "unlucky").await.unwrap(),
            92..97 => {
                self.node.0.clock().advance(Duration::from_secs(self.random.below(15) as u64));
                nodes::heartbeat(&self.node.0).await.unwrap();
                nodes::sweep(&self.node.0).await.unwrap();
            }
            _ => drop(self.node.view(&stage).await),
        }
    }

    async fn open(&mut self, verified: &VerifiedToken, intent: Intent) {
        self.opened += 1;
        let before = self.node.0.node();
        let id = format!("{}-{}", self.name, self.opened);
        match self.node.open(verified, intent.clone(), &id).await {
            Ok(connections::Placement::Local { .. }) => self.open.push_back((verified.clone(), id)),
            Ok(connections::Placement::Remote(_)) => {}
            Err(refusal) if refusal.code == SignalingErrorCode::Internal => {
                // The only allowed cause: the node was fenced because its heartbeat was late.
                nodes::heartbeat(&self.node.0).await.unwrap();
                assert_ne!(self.node.0.node(), before, "{refusal:?}");
                self.open.clear();
            }
            Err(refusal) => connections::record_error(&self.node.0, verified, &intent, &refusal).await,
        }
    }
}

async fn run_actors(cluster: &Cluster, nodes: &[Node], seed: u64) -> Vec<String> {
    let mut stages = Vec::new();
    for _ in 0..2 {
        stages.push(nodes[0].stage().await);
    }
    let ids = ["a", "b", "c", "unlucky"];
    let actor = |n: usize| {
        let (node, stages) = (nodes[n % nodes.len()].clone(), stages.clone());
        let random = Random(greenroom::ids::Ids::seeded(seed * 100 + n as u64));
        tokio::spawn(async move {
            let mut actor = Actor { node, random, name: format!("{seed}-{n}"), opened: 0, open: VecDeque::new() };
            for _ in 0..40 {
                actor.act(&stages, &ids).await;
            }
        })
    };
    let actors: Vec<_> = (0..4).map(actor).collect();
    for actor in actors {
        actor.await.unwrap();
    }
    // Every node sends a heartbeat, so that none dies during the checks.
    for node in nodes {
        nodes::heartbeat(&node.0).await.unwrap();
    }
    cluster.advance(0, &nodes.iter().collect::<Vec<_>>()).await;
    stages
}

const FLAGS: [&str; 5] = ["--session-end-seconds", "7", "--quotas", "publishers=3,subscribers=2", "--extended-events"];

#[tokio::test(flavor = "multi_thread")]
async fn the_state_is_consistent_after_random_concurrent_actions() {
    on_each_engine(&FLAGS, async |cluster, one| {
        let mut nodes = vec![one];
        if let crate::engines::Engine::Postgres(..) = cluster.engine {
            nodes.push(cluster.node("http://two").await);
        }
        for seed in 0..6 {
            let stages = run_actors(cluster, &nodes, seed).await;
            for stage in &stages {
                assert_invariants(&nodes, stage).await;
                assert_log_matches_events(&nodes[0], stage, true).await;
                assert_replay_matches_sessions(&nodes[0], stage).await;
            }
            if seed == 5 && nodes.len() == 2 {
                // One node dies; all of its connections are removed.
                let dead = nodes.pop().unwrap();
                cluster.advance_with_heartbeats(11, &[&nodes[0]]).await;
                for stage in &stages {
                    assert_invariants(&nodes, stage).await;
                    assert!(dead.connection_ids(stage).await.is_empty());
                    assert_log_matches_events(&nodes[0], stage, true).await;
                    assert_replay_matches_sessions(&nodes[0], stage).await;
                }
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn extended_events_are_off_by_default() {
    on_each_engine(&FLAGS[..4], async |cluster, node| {
        let nodes = [node];
        for stage in &run_actors(cluster, &nodes, 7).await {
            assert_log_matches_events(&nodes[0], stage, false).await;
        }
    })
    .await;
}

/// Asserts that the log has exactly the events of the participants, in order, between the start and the end of each session.
async fn assert_log_matches_events(node: &Node, stage: &str, extended: bool) {
    let mut log: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut sessions: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for entry in node.log_of(stage).await {
        sessions.entry(entry.session()).or_default().push(entry.name());
        if !entry.participant().is_empty() {
            let event = (entry.name(), entry.at(), entry.remote());
            log.entry((entry.session(), entry.participant())).or_default().push(event);
        }
    }
    for (session, _, end) in node.sessions(stage).await {
        for row in node.participants_of(stage, &session).await {
            let mut expected = Vec::new();
            for event in node.events_in(stage, &session, &row.id).await {
                let name = LOG_NAMES.iter().find(|(name, ..)| Some(*name) == event.name).unwrap();
                if extended || name.2 {
                    let about = event.remote_participant_id.map(|id| id.0).unwrap_or_default();
                    expected.push((name.1.to_owned(), event.event_time.unwrap().0.0, about));
                }
            }
            let found = log.remove(&(session.clone(), row.id.clone())).unwrap_or_default();
            assert_eq!(found, expected, "{} in {session}", row.id);
        }
        let names = sessions.remove(&session).unwrap_or_default();
        let positions = |name: &str| (0..names.len()).filter(|n| names[*n] == name).collect::<Vec<_>>();
        if extended {
            let last = end.is_some().then(|| names.len() - 1);
            assert_eq!(
                (positions("Session Started"), positions("Session Ended")),
                (vec![0], last.into_iter().collect())
            );
        } else {
            assert!(names.iter().all(|name| LOG_NAMES.iter().any(|event| event.2 && event.1 == name)), "{names:?}");
        }
    }
    assert!(log.is_empty() && sessions.is_empty(), "unexpected events: {log:?} {sessions:?}");
}

/// Asserts all invariants of a stage.
async fn assert_invariants(nodes: &[Node], stage: &str) {
    let node = &nodes[0];
    let sessions = node.sessions(stage).await;
    assert!(sessions.iter().filter(|session| session.2.is_none()).count() <= 1, "{sessions:?}");
    let live_nodes: BTreeSet<_> = nodes.iter().map(|node| node.0.node()).collect();
    let mut publishing = Vec::new();
    for (session, start, end) in &sessions {
        assert!(end.is_none_or(|end| end >= *start), "{sessions:?}");
        for row in node.participants_of(stage, session).await {
            let events = node.events_in(stage, session, &row.id).await;
            let rows = if end.is_none() { node.rows(stage, &row.id).await } else { Vec::new() };
            let event_names = || format!("{row:?}\n{rows:?}\n{events:?}");
            assert_eq!(
                Participant::replay(&events),
                Participant::from(&row),
                "the replay of its events yields its state: {}",
                event_names()
            );
            assert!(rows.iter().all(|connection| live_nodes.contains(&connection.node_id)), "{}", event_names());
            assert!(rows.iter().all(|connection| connection.session_id == *session), "{}", event_names());
            if row.state == ParticipantState::Disconnected || end.is_some() {
                assert!(rows.is_empty() && row.state == ParticipantState::Disconnected, "{}", event_names());
            } else if row.source_stage_id.is_none() {
                assert_connected(&row, &rows);
            }
            publishing.extend(rows.into_iter().filter(|connection| connection.intent == Intent::Publish));
        }
    }
    let home =
        node.0.db().read().await.unwrap().owner(Leased::StageMedia(&scope(), stage)).await.unwrap().map(|node| node.id);
    assert_eq!(home.is_some(), !publishing.is_empty(), "{home:?} {publishing:?}");
    assert!(publishing.iter().all(|connection| Some(&connection.node_id) == home.as_ref()), "{home:?} {publishing:?}");
    assert_replicas(node, stage).await;
    if let Some((session, _, None)) = sessions.first() {
        let participants = node.participants_of(stage, session).await;
        let present = participants.iter().filter(|row| row.state == ParticipantState::Connected);
        let expected: BTreeMap<_, _> = present.map(|row| (row.id.clone(), row.publishing)).collect();
        let view = node.view(stage).await;
        let seen = view.participants.iter().map(|entry| (entry.id.clone(), entry.publishing)).collect();
        assert_eq!(expected, seen);
    }
}

/// Asserts that the state of a connected participant matches its connections.
fn assert_connected(row: &ParticipantRow, rows: &[ConnectionRow]) {
    assert!(!rows.is_empty(), "{row:?}");
    let publishing: Vec<_> = rows.iter().filter(|connection| connection.intent == Intent::Publish).collect();
    assert!(publishing.len() <= 1, "{rows:?}");
    assert_eq!(row.publishing, publishing.iter().any(|connection| connection.started), "{row:?} {rows:?}");
    let subscriptions: Vec<_> = rows.iter().filter(|connection| connection.intent.remote().is_some()).collect();
    let to: BTreeSet<_> = subscriptions.iter().filter_map(|connection| connection.intent.remote()).collect();
    assert_eq!(to.len(), subscriptions.len(), "one subscription per publisher: {rows:?}");
    let started = subscriptions.iter().filter(|connection| connection.started);
    let started: BTreeSet<_> = started.filter_map(|connection| connection.intent.remote()).collect();
    assert_eq!(row.subscriptions.iter().map(String::as_str).collect::<BTreeSet<_>>(), started, "{row:?} {rows:?}");
}

/// Asserts that a replica is in its stage exactly while its source publishes.
async fn assert_replicas(node: &Node, stage: &str) {
    for replication in node.0.db().read().await.unwrap().replications_of_stage(&scope(), stage).await.unwrap() {
        if replication.source_stage_id != stage {
            continue;
        }
        let find = async |stage: &str, session: &str| {
            let participants = node.participants_of(stage, session).await;
            participants.into_iter().find(|row| row.id == replication.participant_id)
        };
        let source = find(stage, &replication.source_session_id).await.expect("the source participant exists");
        let replica = find(&replication.destination_stage_id, &replication.destination_session_id).await;
        let visible = replica.is_some_and(|row| row.source_stage_id.is_some() && row.publishing);
        let active = replication.state == ReplicationState::Active && replication.ends_at.is_none();
        assert_eq!(visible, active, "{replication:?}");
        assert!(!active || source.publishing, "{replication:?} {source:?}");
    }
}
