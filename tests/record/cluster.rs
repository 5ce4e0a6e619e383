//! A cluster in this process: nodes on one store with a manual clock, and actions of participants on them.

use crate::engines::Engine;
use clap::Parser;
use greenroom::app::connections::{self, Placement};
use greenroom::app::{App, OperationContext, nodes, participants, stages, views};
use greenroom::clock::{Clock, Timestamp};
use greenroom::config::ServeArgs;
use greenroom::domain::admission::{Intent, SignalingError, SignalingErrorCode, VerifiedToken};
use greenroom::domain::participant::Client;
use greenroom::ids::Ids;
use greenroom::model::arn::Scope;
use greenroom::model::fault::Fault;
use greenroom::model::participant::{Event, ListParticipantEventsRequest};
use greenroom::model::stage::{CreateStageRequest, DeleteStageRequest, StageArn};
use greenroom::model::token::{ParticipantTokenCapabilities, ParticipantTokenCapability};
use greenroom::server::Server;
use greenroom::store::{ConnectionRow, ParticipantFilter, ParticipantRow, SessionKey};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The time at which tests start.
pub const START: Timestamp = Timestamp(1_767_225_600_000);

/// Nodes on one store; several if the store can be shared.
pub struct Cluster {
    pub engine: Engine,
    pub clock: Clock,
    flags: Vec<String>,
}

#[derive(Clone)]
pub struct Node(pub Arc<App>);

/// The master key of every node.
pub const MASTER_KEY: &str = "Z3JlZW5yb29tLXRlc3RzLW1hc3Rlci1rZXktMzJieSE=";

pub fn scope() -> Scope {
    Scope { account: "123456789012".into(), region: "us-west-2".into() }
}

pub fn from_json<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Runs a test on each engine, with flags of `greenroom serve`.
pub async fn on_each_engine(flags: &[&str], check: impl AsyncFn(&Cluster, Node)) {
    for engine in Engine::both().await {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let cluster = Cluster { engine, clock: Clock::manual(START), flags };
        let node = cluster.node("http://one").await;
        // Boxed: without optimisation, each caller has a copy of a check's large future on the test's stack.
        Box::pin(check(&cluster, node)).await;
    }
}

/// Runs a test on PostgreSQL only, which several nodes can share, if it is available.
pub async fn on_postgres(flags: &[&str], check: impl AsyncFn(&Cluster, Node)) {
    on_each_engine(flags, async |cluster, node| {
        if let Engine::Postgres(..) = cluster.engine {
            Box::pin(check(cluster, node)).await;
        }
    })
    .await;
}

impl Cluster {
    /// Starts a node without its server's tasks.
    pub async fn node(&self, url: &str) -> Node {
        Node(self.server(url).await.app)
    }

    /// A server that does not run yet.
    pub async fn server(&self, url: &str) -> Server {
        let store = match self.engine.url() {
            greenroom::config::Url::Postgres(secret) => secret.0,
            other => other.to_string(),
        };
        let fixed = [
            "test",
            "--listen",
            "127.0.0.1:0",
            "--master-key",
            MASTER_KEY,
            "--node-url",
            url,
            "--database-url",
            &store,
        ];
        let fixed = fixed.into_iter().chain(["--public-url", "http://green.example", "--sqlite-synchronous", "off"]);
        let args = ServeArgs::parse_from(fixed.map(str::to_owned).chain(self.flags.clone()));
        Box::pin(Server::start(args, self.clock.clone(), Ids::Random)).await.unwrap()
    }

    /// Advances the clock second by second while the given nodes send heartbeats; then they sweep.
    pub async fn advance_with_heartbeats(&self, seconds: u64, nodes: &[&Node]) {
        for _ in 1..seconds {
            self.clock.advance(Duration::from_secs(1));
            for node in nodes {
                nodes::heartbeat(&node.0).await.unwrap();
            }
        }
        self.advance(1, nodes).await;
    }

    /// Advances the clock; every given node sends a heartbeat, then sweeps.
    pub async fn advance(&self, seconds: u64, nodes: &[&Node]) {
        self.clock.advance(Duration::from_secs(seconds));
        for node in nodes {
            nodes::heartbeat(&node.0).await.unwrap();
        }
        for node in nodes {
            nodes::sweep(&node.0).await.unwrap();
        }
    }
}

/// A verified token issued now.
pub fn verified(node: &Node, stage: &str, participant: &str) -> VerifiedToken {
    let now = node.0.clock().now().unix_seconds();
    VerifiedToken {
        scope: scope(),
        stage: stage.into(),
        participant: participant.into(),
        user_id: format!("user of {participant}"),
        attributes: from_json(json!({"who": participant})),
        capabilities: ParticipantTokenCapabilities(ParticipantTokenCapability::ALL.to_vec()),
        issued_at: now,
        expires_at: now + 3600,
        self_signed: true,
        digest: format!("digest of {participant}"),
        connection_token: None,
        encoder: None,
    }
}

pub fn subscribe(remote: &str) -> Intent {
    Intent::Subscribe(remote.into())
}

pub fn placed_here(publisher: Option<&str>) -> Result<Placement, SignalingError> {
    Ok(Placement::Local { publisher: publisher.map(str::to_owned) })
}

/// The code of an error.
pub fn code<T: std::fmt::Debug>(answer: Result<T, SignalingError>) -> SignalingErrorCode {
    answer.unwrap_err().code
}

impl Node {
    pub fn ctx(&self) -> OperationContext {
        OperationContext::new(self.0.clone(), scope())
    }

    /// Creates a stage; returns its id.
    pub async fn stage(&self) -> String {
        let stage =
            stages::create(self.ctx(), from_json::<CreateStageRequest>(json!({}))).await.unwrap().stage.unwrap();
        scope().own(&stage.arn).unwrap().to_owned()
    }

    pub async fn delete(&self, stage: &str) -> Result<(), Fault> {
        let input: DeleteStageRequest = from_json(json!({"arn": StageArn::new(&scope(), stage)}));
        greenroom::app::retry(|| stages::delete(self.ctx(), input.clone())).await.map(drop)
    }

    pub async fn disconnect(&self, stage: &str, participant: &str) -> Result<(), Fault> {
        let input = json!({"stageArn": StageArn::new(&scope(), stage), "participantId": participant});
        greenroom::app::retry(|| participants::disconnect(self.ctx(), from_json(input.clone()))).await.map(drop)
    }

    pub async fn open(&self, verified: &VerifiedToken, intent: Intent, id: &str) -> Result<Placement, SignalingError> {
        connections::open(&self.0, verified, &intent, id, Client::default()).await.map(|(found, _)| found)
    }

    pub async fn find(&self, verified: &VerifiedToken, intent: Intent) -> Result<Placement, SignalingError> {
        connections::find_placement(&self.0, verified, &intent).await
    }

    pub async fn started(&self, verified: &VerifiedToken, id: &str) {
        connections::started(&self.0, verified, id).await.unwrap();
    }

    pub async fn ended(&self, verified: &VerifiedToken, id: &str) {
        connections::ended(&self.0, verified, id, None).await.unwrap();
    }

    /// Opens a connection and starts its media.
    pub async fn run(&self, verified: &VerifiedToken, intent: Intent, id: &str) {
        self.open(verified, intent, id).await.unwrap();
        self.started(verified, id).await;
    }

    pub async fn view(&self, stage: &str) -> views::View {
        views::view(&self.0, &scope(), stage).await.unwrap()
    }

    /// Sorted ids of the connections that the stage view has for this node.
    pub async fn connection_ids(&self, stage: &str) -> Vec<String> {
        let mut connection_ids: Vec<_> = self.view(stage).await.connections.into_iter().collect();
        connection_ids.sort();
        connection_ids
    }

    /// All sessions of a stage, newest first: id, start and end.
    pub async fn sessions(&self, stage: &str) -> Vec<(String, i64, Option<i64>)> {
        let mut conn = self.0.db().read().await.unwrap();
        let rows = conn.sessions(&scope(), stage, &greenroom::model::page::Position::last(), 100).await.unwrap();
        rows.into_iter().map(|row| (row.id, row.started_at - START.0, row.ended_at.map(|at| at - START.0))).collect()
    }

    /// All current and former participants of a session.
    pub async fn participants_of(&self, stage: &str, session: &str) -> Vec<ParticipantRow> {
        let mut conn = self.0.db().read().await.unwrap();
        let (scope, first) = (scope(), greenroom::model::page::Position::first());
        let at = SessionKey { scope: &scope, stage, session };
        conn.participants(at, &ParticipantFilter::All, &first, 1000).await.unwrap()
    }

    /// A participant of the newest session.
    pub async fn participant(&self, stage: &str, id: &str) -> ParticipantRow {
        let session = self.sessions(stage).await.remove(0).0;
        self.participants_of(stage, &session).await.into_iter().find(|row| row.id == id).expect("it is in the session")
    }

    /// The rows of a participant's connections.
    pub async fn rows(&self, stage: &str, participant: &str) -> Vec<ConnectionRow> {
        self.0.db().read().await.unwrap().connections_of(&scope(), stage, participant).await.unwrap()
    }

    /// The events of a participant in a session.
    pub async fn events_in(&self, stage: &str, session: &str, participant: &str) -> Vec<Event> {
        let mut events = Vec::new();
        let mut next = None;
        loop {
            let input: ListParticipantEventsRequest = from_json(json!({
                "stageArn": StageArn::new(&scope(), stage), "sessionId": session, "participantId": participant,
                "maxResults": 100, "nextToken": next,
            }));
            let page = participants::events(self.ctx(), input).await.unwrap();
            events.extend(page.events.0);
            next = page.next_token;
            if next.is_none() {
                return events;
            }
        }
    }

    /// The events of a participant in the newest session: name, remote participant and error.
    pub async fn event_names(&self, stage: &str, participant: &str) -> Vec<String> {
        let session = self.sessions(stage).await.remove(0).0;
        let word = |event: Event| {
            let about = event.remote_participant_id.map(|id| format!(" {}", &*id)).unwrap_or_default();
            let error = event.error_code.map(|code| format!(" {}", code.as_str())).unwrap_or_default();
            format!("{}{about}{error}", event.name.unwrap().as_str())
        };
        self.events_in(stage, &session, participant).await.into_iter().map(word).collect()
    }
}
