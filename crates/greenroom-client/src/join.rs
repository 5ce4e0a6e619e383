//! `greenroom join`: one participant, from the door to the farewell.

use super::clip::Clip;
use super::doors::{Connection, DoorError, Doors};
use super::events::{Events, Heard, PING_EVERY, Participant};
use super::figures::Figures;
use super::http::ServiceError;
use super::peer::Identity;
use super::token::Token;
use super::view::{Lane, View};
use super::wanted::Wanted;
use super::{ClientError, http};
use crate::options::JoinOptions;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, interval, sleep_until, timeout};

/// How long the reason for an end is waited for.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Refusals that are over soon: who begins to publish is announced a moment before there is something to receive.
const PASSING: [&str; 2] = ["PUBLISHER_NOT_FOUND", "BUSY"];

/// A participant on a stage.
struct Visit<'a> {
    doors: Doors,
    events: Events,
    view: View<'a>,
    wanted: Wanted,
    there: Vec<Participant>,
    lanes: BTreeMap<Lane, Connection>,
    /// Whom it is no use to ask again, as long as they are there.
    given_up: BTreeSet<String>,
    start: Instant,
}

/// Joins a stage and stays until the time is over or `stop` is done. `terminal` says whether `out` is one.
pub async fn run(
    args: JoinOptions,
    out: &mut (dyn Write + Send),
    terminal: bool,
    stop: impl Future<Output = ()>,
) -> Result<(), ClientError> {
    let token = Token::read(&token(&args)?, args.events_url.as_deref(), args.whip_url.as_deref())?;
    let clip = if args.publish.is_empty() { None } else { Some(Arc::new(Clip::named(&args.publish, args.fps)?)) };
    for warning in clip.iter().flat_map(|clip| &clip.warnings) {
        tracing::warn!("{warning}");
    }
    let identity = Identity::new().map_err(DoorError::from)?;
    let doors = Doors { http: http(&args.client)?, identity, token };
    let events = doors.events().await?;
    let mut view = View::new(out, args.output, terminal);
    view.joined(&doors.token.participant, &doors.token.stage);
    let mut visit = Visit {
        doors,
        events,
        view,
        wanted: Wanted::of(&args.subscribe),
        there: Vec::new(),
        lanes: BTreeMap::new(),
        given_up: BTreeSet::new(),
        start: Instant::now(),
    };
    let stayed = visit.stay(clip, &args, stop).await;
    visit.leave().await;
    stayed
}

fn token(args: &JoinOptions) -> Result<String, ClientError> {
    if args.token != "-" {
        return Ok(args.token.clone());
    }
    let mut text = String::new();
    std::io::stdin().take(64 * 1024).read_to_string(&mut text).map_err(ClientError::Input)?;
    Ok(text)
}

impl Visit<'_> {
    async fn stay(
        &mut self,
        clip: Option<Arc<Clip>>,
        args: &JoinOptions,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ClientError> {
        let until = args.duration.map(|seconds| self.start + Duration::from_secs(u64::from(seconds)));
        let mut print = interval(Duration::from_secs(u64::from(args.interval)));
        let mut ping = interval(PING_EVERY);
        let mut stop = std::pin::pin!(stop);
        if let Some(clip) = clip {
            self.lanes.insert(Lane::Publish, self.doors.publish(clip).await?);
        }
        if let Wanted::These(ids) = self.wanted.clone() {
            for id in ids {
                let connection = self.doors.subscribe(&id).await?;
                self.lanes.insert(Lane::Subscribe(id), connection);
            }
        }
        loop {
            tokio::select! {
                () = &mut stop => return Ok(()),
                () = sleep_until(until.unwrap_or(self.start)), if until.is_some() => return Ok(()),
                heard = self.events.hear() => self.heard(heard).await?,
                lane = over(&self.lanes) => self.over(lane).await?,
                _ = ping.tick() => self.events.ping().await,
                _ = print.tick() => {
                    self.follow().await;
                    self.print();
                }
            }
        }
    }

    async fn heard(&mut self, heard: Heard) -> Result<(), ClientError> {
        match heard {
            Heard::State(there) => {
                if there != self.there {
                    self.view.stage(&there);
                }
                self.there = there;
                let publishing = |id: &String| self.there.iter().any(|other| other.is_publishing && other.id == *id);
                self.given_up.retain(publishing);
                self.follow().await;
                Ok(())
            }
            Heard::Error(refusal) => {
                self.view.refused(None, &refusal);
                Ok(())
            }
            Heard::Closed(why) => Err(ClientError::Ended(self.reason(why))),
        }
    }

    /// Why the events WebSocket was closed, in one word and a sentence.
    fn reason(&self, why: Option<(u16, String)>) -> ServiceError {
        if let Some(refusal) = self.events.refused() {
            return refusal.clone();
        }
        let Some((code, word)) = why else {
            return ServiceError {
                code: "CONNECTION_LOST".into(),
                message: "the events WebSocket broke off without a word".into(),
            };
        };
        let name = if word.is_empty() { format!("CLOSED_{code}") } else { word };
        ServiceError { code: name, message: format!("the service closed the events WebSocket ({code})") }
    }

    /// Subscribes to whom is wanted and there, and leaves whom is not there any longer.
    async fn follow(&mut self) {
        let now = self.lanes.keys().filter_map(|lane| match lane {
            Lane::Subscribe(id) => Some(id.clone()),
            Lane::Publish => None,
        });
        let steps = self.wanted.steps(&self.doors.token.participant, &self.there, &now.collect());
        for id in steps.end {
            self.drop_lane(Lane::Subscribe(id)).await;
        }
        for id in steps.begin {
            if !self.given_up.contains(&id) {
                self.begin(id).await;
            }
        }
    }

    async fn begin(&mut self, id: String) {
        let lane = Lane::Subscribe(id.clone());
        match self.doors.subscribe(&id).await {
            Ok(connection) => drop(self.lanes.insert(lane, connection)),
            // Asked again before long.
            Err(error) if PASSING.contains(&error.code()) => {}
            Err(error) => {
                let refusal = ServiceError { code: error.code().to_owned(), message: error.to_string() };
                self.view.refused(Some(&lane), &refusal);
                self.given_up.insert(id);
            }
        }
    }

    async fn drop_lane(&mut self, lane: Lane) {
        if let Some(connection) = self.lanes.remove(&lane) {
            let figures = self.doors.end(connection).await;
            self.view.ended(&lane, &figures);
        }
    }

    /// A connection is over by itself. Without what it publishes, the participant has no reason to stay; what it receives
    /// may come back.
    async fn over(&mut self, lane: Lane) -> Result<(), ClientError> {
        let state = self.lanes.get(&lane).map(|connection| connection.link.figures().state);
        self.drop_lane(lane.clone()).await;
        if lane != Lane::Publish {
            return Ok(());
        }
        // The service says why over the other connection.
        let word = async {
            loop {
                match self.events.hear().await {
                    Heard::Closed(why) => return Err(why),
                    Heard::Error(refusal) => return Ok(refusal),
                    Heard::State(_) => {}
                }
            }
        };
        match timeout(LAST_WORD, word).await {
            Ok(Ok(refusal)) => return Err(ClientError::Ended(refusal)),
            Ok(Err(why)) => return Err(ClientError::Ended(self.reason(why))),
            Err(_) => {}
        }
        let state = state.map_or("over", |state| state.name());
        let message = format!("what this participant publishes was ended by the service or the network ({state})");
        Err(ClientError::Ended(ServiceError { code: "PUBLISH_ENDED".into(), message }))
    }

    fn print(&mut self) {
        let all: BTreeMap<Lane, Figures> =
            self.lanes.iter().map(|(lane, connection)| (lane.clone(), connection.link.figures())).collect();
        self.view.figures(self.start.elapsed(), &all);
    }

    /// Ends everything, and says so.
    async fn leave(mut self) {
        self.print();
        let doors = &self.doors;
        let ends = std::mem::take(&mut self.lanes).into_iter();
        let ends = ends.map(|(lane, connection)| async move { (lane, doors.end(connection).await) });
        for (lane, figures) in join_all(ends).await {
            self.view.ended(&lane, &figures);
        }
        self.events.close().await;
    }
}

/// Done when one of the connections is over: which.
async fn over(lanes: &BTreeMap<Lane, Connection>) -> Lane {
    let waits = lanes.iter().map(|(lane, connection)| async move {
        connection.link.until(|_| false).await;
        lane.clone()
    });
    match waits.collect::<FuturesUnordered<_>>().next().await {
        Some(lane) => lane,
        None => std::future::pending().await,
    }
}
