//! Whatever participants do at once, on any node: the state is consistent.

use crate::cluster::{Cluster, Node, each, scope, subscribe, ticket};
use crate::replay::{OUTBOX, Participant, rebuilds_sessions};
use crate::replicas::replicate;
use greenroom::app::{connections, nodes};
use greenroom::domain::admission::{Intent, SignalingErrorCode, VerifiedToken};
use greenroom::model::fault::FaultKind;
use greenroom::model::participant::ParticipantState;
use greenroom::model::replication::ReplicationState;
use greenroom::store::{ConnectionRow, Leased, ParticipantRow};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Pseudo-random numbers, the same for the same seed.
struct Dice(greenroom::ids::Ids);

impl Dice {
    fn roll(&self, sides: usize) -> usize {
        let bytes = self.0.bytes();
        usize::from(u16::from_le_bytes([bytes[0], bytes[1]])) % sides
    }

    fn pick<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }
}

/// A client at a node, with connections of its own.
struct Actor {
    node: Node,
    dice: Dice,
    name: String,
    made: usize,
    open: VecDeque<(VerifiedToken, String)>,
}

impl Actor {
    async fn act(&mut self, stages: &[String], people: &[&str]) {
        let (stage, who) = (self.dice.pick(stages).clone(), *self.dice.pick(people));
        let ticket = ticket(&self.node, &stage, who);
        match self.dice.roll(100) {
            0..20 => self.open(&ticket, Intent::Events).await,
            20..35 => self.open(&ticket, Intent::Publish).await,
            35..50 => self.open(&ticket, subscribe(self.dice.pick::<&str>(people))).await,
            50..65 => {
                if let Some((ticket, id)) = self.open.back() {
                    self.node.started(ticket, id).await;
                }
            }
            65..85 => {
                if let Some((ticket, id)) = self.open.pop_front() {
                    self.node.ended(&ticket, &id).await;
                }
            }
            85..90 => {
                let other = self.dice.pick(stages).clone();
                let window = 20 * self.dice.roll(2) as u32;
                if let Err(fault) = replicate(&self.node, who, &stage, &other, window).await {
                    assert_ne!(fault.name(), FaultKind::InternalServer.name(), "{fault:?}");
                }
            }
            90..92 => self.node.disconnect(&stage, "unlucky").await.unwrap(),
            92..97 => {
                self.node.0.clock().advance(Duration::from_secs(self.dice.roll(15) as u64));
                nodes::heartbeat(&self.node.0).await.unwrap();
                nodes::sweep(&self.node.0).await.unwrap();
            }
            _ => drop(self.node.view(&stage).await),
        }
    }

    async fn open(&mut self, ticket: &VerifiedToken, wish: Intent) {
        self.made += 1;
        let was = self.node.0.node();
        let id = format!("{}-{}", self.name, self.made);
        match self.node.open(ticket, wish.clone(), &id).await {
            Ok(connections::Placement::Here { .. }) => self.open.push_back((ticket.clone(), id)),
            Ok(connections::Placement::Elsewhere(_)) => {}
            Err(refusal) if refusal.code == SignalingErrorCode::Internal => {
                // Fenced, as its heartbeat was late; anything else is a failure.
                nodes::heartbeat(&self.node.0).await.unwrap();
                assert_ne!(self.node.0.node(), was, "{refusal:?}");
                self.open.clear();
            }
            Err(refusal) => connections::refused(&self.node.0, ticket, &wish, &refusal).await,
        }
    }
}

async fn play(cluster: &Cluster, nodes: &[Node], seed: u64) -> Vec<String> {
    let mut stages = Vec::new();
    for _ in 0..2 {
        stages.push(nodes[0].stage().await);
    }
    let people = ["a", "b", "c", "unlucky"];
    let actor = |n: usize| {
        let (node, stages) = (nodes[n % nodes.len()].clone(), stages.clone());
        let dice = Dice(greenroom::ids::Ids::seeded(seed * 100 + n as u64));
        tokio::spawn(async move {
            let mut actor = Actor { node, dice, name: format!("{seed}-{n}"), made: 0, open: VecDeque::new() };
            for _ in 0..40 {
                actor.act(&stages, &people).await;
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
async fn the_state_is_consistent_whatever_happens_at_once() {
    each(&FLAGS, async |cluster, one| {
        let mut nodes = vec![one];
        if let crate::engines::Engine::Postgres(..) = cluster.engine {
            nodes.push(cluster.node("http://two").await);
        }
        for seed in 0..6 {
            let stages = play(cluster, &nodes, seed).await;
            for stage in &stages {
                check(&nodes, stage).await;
                log_matches_events(&nodes[0], stage, true).await;
                rebuilds_sessions(&nodes[0], stage).await;
            }
            if seed == 5 && nodes.len() == 2 {
                // One node dies, and nothing of it is left.
                let dead = nodes.pop().unwrap();
                cluster.live(11, &[&nodes[0]]).await;
                for stage in &stages {
                    check(&nodes, stage).await;
                    assert!(dead.held(stage).await.is_empty());
                    log_matches_events(&nodes[0], stage, true).await;
                    rebuilds_sessions(&nodes[0], stage).await;
                }
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn extended_events_are_off_by_default() {
    each(&FLAGS[..4], async |cluster, node| {
        let nodes = [node];
        for stage in &play(cluster, &nodes, 7).await {
            log_matches_events(&nodes[0], stage, false).await;
        }
    })
    .await;
}

/// The log has the events of the participants, in their order, and no others; a session's start comes first and its end
/// last.
async fn log_matches_events(node: &Node, stage: &str, extended: bool) {
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
        for row in node.everybody(stage, &session).await {
            let mut expected = Vec::new();
            for event in node.events_in(stage, &session, &row.id).await {
                let name = OUTBOX.iter().find(|(name, ..)| Some(*name) == event.name).unwrap();
                if extended || name.2 {
                    let about = event.remote_participant_id.map(|id| id.0).unwrap_or_default();
                    expected.push((name.1.to_owned(), event.event_time.unwrap().0.0, about));
                }
            }
            let found = log.remove(&(session.clone(), row.id.clone())).unwrap_or_default();
            assert_eq!(found, expected, "{} in {session}", row.id);
        }
        let names = sessions.remove(&session).unwrap_or_default();
        let places = |name: &str| (0..names.len()).filter(|n| names[*n] == name).collect::<Vec<_>>();
        let last = end.is_some().then(|| names.len() - 1);
        if extended {
            assert_eq!((places("Session Started"), places("Session Ended")), (vec![0], last.into_iter().collect()));
        } else {
            assert!(names.iter().all(|name| OUTBOX.iter().any(|event| event.2 && event.1 == name)), "{names:?}");
        }
    }
    assert!(log.is_empty() && sessions.is_empty(), "no events of others: {log:?} {sessions:?}");
}

/// All invariants of a stage.
async fn check(nodes: &[Node], stage: &str) {
    let node = &nodes[0];
    let sessions = node.sessions(stage).await;
    assert!(sessions.iter().filter(|session| session.2.is_none()).count() <= 1, "{sessions:?}");
    let living: BTreeSet<_> = nodes.iter().map(|node| node.0.node()).collect();
    let mut publishing = Vec::new();
    for (session, start, end) in &sessions {
        assert!(end.is_none_or(|end| end >= *start), "{sessions:?}");
        for row in node.everybody(stage, session).await {
            let events = node.events_in(stage, session, &row.id).await;
            let rows = if end.is_none() { node.rows(stage, &row.id).await } else { Vec::new() };
            let story = || format!("{row:?}\n{rows:?}\n{events:?}");
            assert_eq!(
                Participant::replay(&events),
                Participant::from(&row),
                "its events rebuild its state: {}",
                story()
            );
            assert!(rows.iter().all(|connection| living.contains(&connection.node_id)), "{}", story());
            assert!(rows.iter().all(|connection| connection.session_id == *session), "{}", story());
            if row.state == ParticipantState::Disconnected || end.is_some() {
                assert!(rows.is_empty() && row.state == ParticipantState::Disconnected, "{}", story());
            } else if row.source_stage_id.is_none() {
                connected(&row, &rows);
            }
            publishing.extend(rows.into_iter().filter(|connection| connection.intent == Intent::Publish));
        }
    }
    let home =
        node.0.db().read().await.unwrap().owner(Leased::StageMedia(&scope(), stage)).await.unwrap().map(|node| node.id);
    assert_eq!(home.is_some(), !publishing.is_empty(), "{home:?} {publishing:?}");
    assert!(publishing.iter().all(|connection| Some(&connection.node_id) == home.as_ref()), "{home:?} {publishing:?}");
    replicas(node, stage).await;
    if let Some((session, _, None)) = sessions.first() {
        let everybody = node.everybody(stage, session).await;
        let present = everybody.iter().filter(|row| row.state == ParticipantState::Connected);
        let expected: BTreeMap<_, _> = present.map(|row| (row.id.clone(), row.publishing)).collect();
        let view = node.view(stage).await;
        let seen = view.participants.iter().map(|entry| (entry.id.clone(), entry.publishing)).collect();
        assert_eq!(expected, seen);
    }
}

/// A connected participant does what its connections are for, and nothing else.
fn connected(row: &ParticipantRow, rows: &[ConnectionRow]) {
    assert!(!rows.is_empty(), "{row:?}");
    let publishing: Vec<_> = rows.iter().filter(|connection| connection.intent == Intent::Publish).collect();
    assert!(publishing.len() <= 1, "{rows:?}");
    assert_eq!(row.publishing, publishing.iter().any(|connection| connection.started), "{row:?} {rows:?}");
    let subscriptions: Vec<_> = rows.iter().filter(|connection| connection.intent.remote().is_some()).collect();
    let to: BTreeSet<_> = subscriptions.iter().filter_map(|connection| connection.intent.remote()).collect();
    assert_eq!(to.len(), subscriptions.len(), "one subscription to each: {rows:?}");
    let started = subscriptions.iter().filter(|connection| connection.started);
    let started: BTreeSet<_> = started.filter_map(|connection| connection.intent.remote()).collect();
    assert_eq!(row.subscriptions.iter().map(String::as_str).collect::<BTreeSet<_>>(), started, "{row:?} {rows:?}");
}

/// A replica is in its stage while its source publishes, and no longer.
async fn replicas(node: &Node, stage: &str) {
    for replication in node.0.db().read().await.unwrap().replications_of_stage(&scope(), stage).await.unwrap() {
        if replication.source_stage_id != stage {
            continue;
        }
        let find = async |stage: &str, session: &str| {
            let everybody = node.everybody(stage, session).await;
            everybody.into_iter().find(|row| row.id == replication.participant_id)
        };
        let source = find(stage, &replication.source_session_id).await.expect("who is replicated was there");
        let replica = find(&replication.destination_stage_id, &replication.destination_session_id).await;
        let shown = replica.is_some_and(|row| row.source_stage_id.is_some() && row.publishing);
        let goes_on = replication.state == ReplicationState::Active && replication.ends_at.is_none();
        assert_eq!(shown, goes_on, "{replication:?}");
        assert!(!goes_on || source.publishing, "{replication:?} {source:?}");
    }
}
