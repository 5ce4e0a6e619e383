//! One of the participants of a load, and what all of them share.

use super::aws::Api;
use super::clip::Clip;
use super::doors::{Connection, DoorError, Doors};
use super::events::{Events, Heard, PING_EVERY};
use super::figures::State;
use super::http::{HttpClient, PATIENCE, ServiceError};
use super::link::Watch;
use super::peer::Identity;
use super::token::Token;
use super::{ClientError, http};
use crate::options::{LoadOptions, Now};
use aws_credential_types::Credentials;
use futures_util::future::join_all;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval, sleep, timeout};

/// How often somebody who does not publish yet is asked for again, and for how long.
const AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How long somebody who is on the way in may go on with it when everybody leaves.
const HURRY: Duration = Duration::from_secs(2);

/// What a participant does.
#[derive(Clone, Debug)]
pub enum Role {
    /// Publishes the test pattern.
    Publish,
    /// Subscribes to these.
    Subscribe(Vec<String>),
}

/// What a participant tells.
pub enum Notice {
    /// It is in, and this is its id.
    Joined(String),
    /// It is not, or is no longer as it should be: why, in a word.
    Failed(String),
    /// It was in, and something of it has ended.
    Broken(String),
}

/// What all participants share.
pub struct Crowd {
    api: Api,
    http: HttpClient,
    identity: Identity,
    clip: Arc<Clip>,
    stage: String,
    events: bool,
    /// The figures of all connections: of publishers, of subscribers.
    pub watches: [Mutex<Vec<Watch>>; 2],
    /// Set when everybody is to leave.
    leave: watch::Receiver<bool>,
}

impl Crowd {
    /// What a load is made of.
    pub fn new(args: &LoadOptions, now: Now, leave: watch::Receiver<bool>) -> Result<Crowd, ClientError> {
        let fields: Vec<_> = args.stage.split(':').collect();
        let ["arn", _, "ivs", region, _, resource] = fields[..] else {
            return Err(ClientError::Stage(args.stage.clone()));
        };
        if !resource.starts_with("stage/") {
            return Err(ClientError::Stage(args.stage.clone()));
        }
        let http = http(&args.client)?;
        let session = args.session_token.clone();
        let credentials = Credentials::from_keys(&args.access_key_id, &args.secret_access_key, session);
        let api = Api {
            http: http.clone(),
            endpoint: args.endpoint.parse().map_err(|_| ClientError::Endpoint(args.endpoint.clone()))?,
            region: args.region.clone().unwrap_or_else(|| region.to_owned()),
            credentials,
            now,
        };
        let identity = Identity::new().map_err(DoorError::from)?;
        let (clip, stage) = (Arc::new(Clip::pattern()), args.stage.clone());
        let watches = [Mutex::default(), Mutex::default()];
        Ok(Crowd { api, http, identity, clip, stage, events: !args.no_events, watches, leave })
    }

    /// Notes a connection, so that its figures are seen.
    fn watch(&self, role: &Role, watch: Watch) {
        let n = usize::from(matches!(role, Role::Subscribe(_)));
        self.watches[n].lock().unwrap_or_else(PoisonError::into_inner).push(watch);
    }
}

/// One participant, from its token to its farewell.
pub async fn member(crowd: Arc<Crowd>, role: Role, number: usize, tell: mpsc::UnboundedSender<Notice>) {
    // Whoever listened has gone only when all is over.
    let say = |notice| drop(tell.send(notice));
    let entered = tokio::select! {
        entered = enter(&crowd, &role, number) => entered,
        () = hurried(crowd.leave.clone()) => return,
    };
    match entered {
        Err(error) => say(Notice::Failed(error.code().to_owned())),
        Ok(mut inside) => {
            say(Notice::Joined(inside.doors.token.participant.clone()));
            if let Err(code) = inside.stay(crowd.leave.clone()).await {
                say(Notice::Broken(code));
            }
            inside.leave().await;
        }
    }
}

/// A participant that has joined.
struct Inside {
    doors: Doors,
    events: Option<Events>,
    connections: Vec<Connection>,
}

async fn enter(crowd: &Crowd, role: &Role, number: usize) -> Result<Inside, DoorError> {
    let (capability, name) = match role {
        Role::Publish => ("PUBLISH", "publisher"),
        Role::Subscribe(_) => ("SUBSCRIBE", "subscriber"),
    };
    let text = crowd.api.token(&crowd.stage, capability, &format!("load-{name}-{number}")).await?;
    let token = Token::read(&text, None, None)?;
    let doors = Doors { http: crowd.http.clone(), identity: crowd.identity.clone(), token };
    let events = if crowd.events { Some(doors.events().await?) } else { None };
    let mut inside = Inside { doors, events, connections: Vec::new() };
    let done = inside.connect(crowd, role).await;
    match done {
        Ok(()) => Ok(inside),
        Err(error) => {
            inside.leave().await;
            Err(error)
        }
    }
}

impl Inside {
    async fn connect(&mut self, crowd: &Crowd, role: &Role) -> Result<(), DoorError> {
        match role {
            Role::Publish => self.connections.push(self.doors.publish(crowd.clip.clone()).await?),
            Role::Subscribe(remotes) => {
                if remotes.is_empty() {
                    let message = "nobody publishes whom to subscribe to".into();
                    return Err(ServiceError { code: "PUBLISHER_NOT_FOUND".into(), message }.into());
                }
                for remote in remotes {
                    self.connections.push(subscribe(&self.doors, remote).await?);
                }
            }
        }
        for connection in &self.connections {
            let connected = connection.link.until(|now| now.state == State::Connected);
            let state = timeout(PATIENCE, connected).await.map(|now| now.state);
            if state != Ok(State::Connected) {
                let message = "the media connection did not come about".into();
                return Err(ServiceError { code: "MEDIA_NOT_CONNECTED".into(), message }.into());
            }
            crowd.watch(role, connection.link.watch());
        }
        Ok(())
    }

    /// Stays until everybody leaves, or it is thrown out: why, in a word.
    async fn stay(&mut self, mut leave: watch::Receiver<bool>) -> Result<(), String> {
        let mut ping = interval(PING_EVERY);
        loop {
            let over = join_all(self.connections.iter().map(|connection| connection.link.until(|_| false)));
            let Some(events) = &mut self.events else {
                tokio::select! {
                    () = told(&mut leave) => return Ok(()),
                    _ = over => return Err("MEDIA_ENDED".into()),
                }
            };
            tokio::select! {
                () = told(&mut leave) => return Ok(()),
                _ = over => return Err("MEDIA_ENDED".into()),
                _ = ping.tick() => events.ping().await,
                heard = events.hear() => if let Heard::Closed(why) = heard {
                    return Err(why.map_or("EVENTS_LOST".into(), |(code, word)| format!("EVENTS_CLOSED_{code}_{word}")));
                }
            }
        }
    }

    async fn leave(self) {
        for connection in self.connections {
            self.doors.end(connection).await;
        }
        if let Some(events) = self.events {
            events.close().await;
        }
    }
}

/// Done when everybody is to leave.
async fn told(leave: &mut watch::Receiver<bool>) {
    // Whoever would say so has gone: that says it too.
    let _ = leave.wait_for(|now| *now).await;
}

/// Done when everybody is to leave, and has had a while to finish what it was at.
async fn hurried(mut leave: watch::Receiver<bool>) {
    told(&mut leave).await;
    sleep(HURRY).await;
}

/// Subscribes to somebody who has been let in, but may not be announced yet.
async fn subscribe(doors: &Doors, remote: &str) -> Result<Connection, DoorError> {
    let until = Instant::now() + AGAIN.1;
    loop {
        match doors.subscribe(remote).await {
            Err(error) if error.code() == "PUBLISHER_NOT_FOUND" && Instant::now() < until => sleep(AGAIN.0).await,
            done => return done,
        }
    }
}
