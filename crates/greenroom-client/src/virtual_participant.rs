//! One participant of a load test, and the context that all of them share.

use super::api::{ApiClient, Signer};
use super::clip::Clip;
use super::events::{EventsMessage, EventsSocket, PING_INTERVAL};
use super::http::{HttpClient, ServiceError};
use super::peer_connection::Identity;
use super::token::Token;
use super::transport::StatsReceiver;
use super::whip_client::{Connection, JoinError, WhipClient};
use super::{ClientError, http};
use crate::options::{LoadOptions, Now};
use futures_util::future::join_all;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval, sleep};

/// Interval and maximum duration of retries of a subscription to a publisher that is not announced yet.
const SUBSCRIBE_RETRY_INTERVAL: Duration = Duration::from_millis(200);
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a participant that is joining may continue when the load ends.
const LEAVE_GRACE: Duration = Duration::from_secs(2);

/// The role of a participant.
#[derive(Clone, Debug)]
pub enum Role {
    /// Publishes the test pattern.
    Publish,
    /// Subscribes to the participants with these ids.
    Subscribe(Vec<String>),
}

/// An event of a participant.
pub enum ParticipantEvent {
    /// It has joined; with its id.
    Joined(String),
    /// It could not join; with an error code.
    Failed(String),
    /// A connection ended after it had joined; with an error code.
    Interrupted(String),
}

/// What all participants of a load test share.
pub struct LoadContext {
    api: ApiClient,
    http: HttpClient,
    identity: Identity,
    clip: Arc<Clip>,
    stage: String,
    events: bool,
    /// Statistics of publishing and of subscribing connections.
    pub stats_receivers: [Mutex<Vec<StatsReceiver>>; 2],
    /// Set when all participants must leave.
    leave: watch::Receiver<bool>,
}

impl LoadContext {
    pub fn new(args: &LoadOptions, now: Now, leave: watch::Receiver<bool>) -> Result<LoadContext, ClientError> {
        let fields: Vec<_> = args.stage.split(':').collect();
        let ["arn", _, "ivs", region, _, resource] = fields[..] else {
            return Err(ClientError::Stage(args.stage.clone()));
        };
        if !resource.starts_with("stage/") {
            return Err(ClientError::Stage(args.stage.clone()));
        }
        let http = http(&args.client)?;
        let session_token = args.session_token.as_deref();
        let region = args.region.as_deref().unwrap_or(region);
        let api = ApiClient {
            http: http.clone(),
            endpoint: args.endpoint.parse().map_err(|_| ClientError::Endpoint(args.endpoint.clone()))?,
            signer: Signer::new(&args.access_key_id, &args.secret_access_key, session_token, region, now),
        };
        let identity = Identity::new().map_err(JoinError::from)?;
        let (clip, stage) = (Arc::new(Clip::test_pattern()), args.stage.clone());
        let stats_receivers = [Mutex::default(), Mutex::default()];
        Ok(LoadContext { api, http, identity, clip, stage, events: !args.no_events, stats_receivers, leave })
    }

    /// Adds the statistics of a connection.
    fn add_stats(&self, role: &Role, stats: StatsReceiver) {
        let n = usize::from(matches!(role, Role::Subscribe(_)));
        self.stats_receivers[n].lock().unwrap_or_else(PoisonError::into_inner).push(stats);
    }
}

/// Runs a participant, from its token to its leaving.
pub async fn run(
    context: Arc<LoadContext>,
    role: Role,
    number: usize,
    sender: mpsc::UnboundedSender<ParticipantEvent>,
) {
    // Fails only after the end of the load.
    let send = |event| drop(sender.send(event));
    let joined = tokio::select! {
        joined = join(&context, &role, number) => joined,
        () = leave_deadline(context.leave.clone()) => return,
    };
    match joined {
        Err(error) => send(ParticipantEvent::Failed(error.code().to_owned())),
        Ok(mut participant) => {
            send(ParticipantEvent::Joined(participant.whip_client.token.participant.clone()));
            if let Err(code) = participant.stay(context.leave.clone()).await {
                send(ParticipantEvent::Interrupted(code));
            }
            participant.leave().await;
        }
    }
}

/// A participant that has joined the stage.
struct VirtualParticipant {
    whip_client: WhipClient,
    events: Option<EventsSocket>,
    connections: Vec<Connection>,
}

async fn join(context: &LoadContext, role: &Role, number: usize) -> Result<VirtualParticipant, JoinError> {
    let (capability, name) = match role {
        Role::Publish => ("PUBLISH", "publisher"),
        Role::Subscribe(_) => ("SUBSCRIBE", "subscriber"),
    };
    let text =
        context.api.create_participant_token(&context.stage, capability, &format!("load-{name}-{number}")).await?;
    let token = Token::parse(&text, None, None)?;
    let whip_client = WhipClient { http: context.http.clone(), identity: context.identity.clone(), token };
    let events = if context.events { Some(whip_client.events().await?) } else { None };
    let mut participant = VirtualParticipant { whip_client, events, connections: Vec::new() };
    match participant.connect(context, role).await {
        Ok(()) => Ok(participant),
        Err(error) => {
            participant.leave().await;
            Err(error)
        }
    }
}

impl VirtualParticipant {
    async fn connect(&mut self, context: &LoadContext, role: &Role) -> Result<(), JoinError> {
        match role {
            Role::Publish => self.connections.push(self.whip_client.publish(context.clip.clone()).await?),
            Role::Subscribe(remotes) => {
                if remotes.is_empty() {
                    let message = "no publisher has joined".into();
                    return Err(ServiceError { code: "PUBLISHER_NOT_FOUND".into(), message }.into());
                }
                for remote in remotes {
                    self.connections.push(subscribe(&self.whip_client, remote).await?);
                }
            }
        }
        for connection in &self.connections {
            connection.connected().await?;
            context.add_stats(role, connection.transport.subscribe_stats());
        }
        Ok(())
    }

    /// Stays until the end of the load, or returns an error code when a connection ends.
    async fn stay(&mut self, mut leave: watch::Receiver<bool>) -> Result<(), String> {
        let mut ping = interval(PING_INTERVAL);
        loop {
            let closed = join_all(self.connections.iter().map(|connection| connection.transport.wait_for(|_| false)));
            let Some(events) = &mut self.events else {
                tokio::select! {
                    () = wait_for_leave(&mut leave) => return Ok(()),
                    _ = closed => return Err("MEDIA_ENDED".into()),
                }
            };
            tokio::select! {
                () = wait_for_leave(&mut leave) => return Ok(()),
                _ = closed => return Err("MEDIA_ENDED".into()),
                _ = ping.tick() => events.ping().await,
                message = events.next() => if let EventsMessage::Closed(close) = message {
                    return Err(close.map_or("EVENTS_LOST".into(), |(code, reason)| format!("EVENTS_CLOSED_{code}_{reason}")));
                }
            }
        }
    }

    async fn leave(self) {
        for connection in self.connections {
            self.whip_client.end(connection).await;
        }
        if let Some(events) = self.events {
            events.close().await;
        }
    }
}

/// Waits for the end of the load.
async fn wait_for_leave(leave: &mut watch::Receiver<bool>) {
    // An error means that the sender was dropped, which also stops the participant.
    let _ = leave.wait_for(|now| *now).await;
}

/// Waits for the end of the load, and [`LEAVE_GRACE`] more.
async fn leave_deadline(mut leave: watch::Receiver<bool>) {
    wait_for_leave(&mut leave).await;
    sleep(LEAVE_GRACE).await;
}

/// Subscribes to a publisher that has joined, but may not be announced yet.
async fn subscribe(whip_client: &WhipClient, remote: &str) -> Result<Connection, JoinError> {
    let deadline = Instant::now() + SUBSCRIBE_TIMEOUT;
    loop {
        match whip_client.subscribe(remote).await {
            Err(error) if error.code() == "PUBLISHER_NOT_FOUND" && Instant::now() < deadline => {
                sleep(SUBSCRIBE_RETRY_INTERVAL).await;
            }
            result => return result,
        }
    }
}
