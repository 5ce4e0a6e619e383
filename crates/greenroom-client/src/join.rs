//! `greenroom join`: one participant, from joining to leaving.

use super::clip::Clip;
use super::events::{EventsMessage, EventsSocket, PING_INTERVAL, Participant};
use super::http::ServiceError;
use super::peer_connection::Identity;
use super::printer::{Printer, StreamId};
use super::stats::ConnectionStats;
use super::subscriptions::Subscriptions;
use super::token::Token;
use super::whip_client::{Connection, JoinError, WhipClient};
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

/// How long to wait for the reason after the publication ended.
const CLOSE_REASON_TIMEOUT: Duration = Duration::from_secs(1);
/// Errors after which a subscription is retried: a publisher can be announced before its media can be subscribed to.
const TRANSIENT_ERRORS: [&str; 2] = ["PUBLISHER_NOT_FOUND", "BUSY"];

/// A participant that has joined a stage.
struct JoinSession<'a> {
    whip_client: WhipClient,
    events: EventsSocket,
    printer: Printer<'a>,
    subscriptions: Subscriptions,
    participants: Vec<Participant>,
    connections: BTreeMap<StreamId, Connection>,
    /// Publishers that rejected a subscription: not retried while they publish.
    failed: BTreeSet<String>,
    start: Instant,
}

/// Joins a stage and stays until the duration has passed or `stop` completes. `terminal`: whether `out` is a terminal.
pub async fn run(
    args: JoinOptions,
    out: &mut (dyn Write + Send),
    terminal: bool,
    stop: impl Future<Output = ()>,
) -> Result<(), ClientError> {
    let token = Token::parse(&token(&args)?, args.events_url.as_deref(), args.whip_url.as_deref())?;
    let clip = if args.publish.is_empty() { None } else { Some(Arc::new(Clip::load(&args.publish, args.fps)?)) };
    for warning in clip.iter().flat_map(|clip| &clip.warnings) {
        tracing::warn!("{warning}");
    }
    let identity = Identity::new().map_err(JoinError::from)?;
    let whip_client = WhipClient { http: http(&args.client)?, identity, token };
    let events = whip_client.events().await?;
    let mut printer = Printer::new(out, args.output, terminal);
    printer.joined(&whip_client.token.participant, &whip_client.token.stage);
    let mut session = JoinSession {
        whip_client,
        events,
        printer,
        subscriptions: Subscriptions::parse(&args.subscribe),
        participants: Vec::new(),
        connections: BTreeMap::new(),
        failed: BTreeSet::new(),
        start: Instant::now(),
    };
    let result = session.run(clip, &args, stop).await;
    session.leave().await;
    result
}

fn token(args: &JoinOptions) -> Result<String, ClientError> {
    if args.token != "-" {
        return Ok(args.token.clone());
    }
    let mut text = String::new();
    std::io::stdin().take(64 * 1024).read_to_string(&mut text).map_err(ClientError::Input)?;
    Ok(text)
}

impl JoinSession<'_> {
    async fn run(
        &mut self,
        clip: Option<Arc<Clip>>,
        args: &JoinOptions,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ClientError> {
        let deadline = args.duration.map(|seconds| self.start + Duration::from_secs(u64::from(seconds)));
        let mut report = interval(Duration::from_secs(u64::from(args.interval)));
        let mut ping = interval(PING_INTERVAL);
        let mut stop = std::pin::pin!(stop);
        if let Some(clip) = clip {
            self.connections.insert(StreamId::Publish, self.whip_client.publish(clip).await?);
        }
        if let Subscriptions::Ids(ids) = self.subscriptions.clone() {
            for id in ids {
                let connection = self.whip_client.subscribe(&id).await?;
                self.connections.insert(StreamId::Subscribe(id), connection);
            }
        }
        loop {
            tokio::select! {
                () = &mut stop => return Ok(()),
                () = sleep_until(deadline.unwrap_or(self.start)), if deadline.is_some() => return Ok(()),
                message = self.events.next() => self.handle_message(message).await?,
                stream = first_closed(&self.connections) => self.handle_closed(stream).await?,
                _ = ping.tick() => self.events.ping().await,
                _ = report.tick() => {
                    self.update_subscriptions(&[]).await;
                    self.print_stats();
                }
            }
        }
    }

    async fn handle_message(&mut self, message: EventsMessage) -> Result<(), ClientError> {
        match message {
            EventsMessage::StageState(participants) => {
                let previous = std::mem::replace(&mut self.participants, participants);
                if previous != self.participants {
                    self.printer.stage(&self.participants);
                }
                let publishing =
                    |id: &String| self.participants.iter().any(|other| other.is_publishing && other.id == *id);
                self.failed.retain(publishing);
                self.update_subscriptions(&previous).await;
                Ok(())
            }
            EventsMessage::Error(error) => {
                self.printer.error(None, &error);
                Ok(())
            }
            EventsMessage::Closed(close) => Err(ClientError::Ended(self.close_error(close))),
        }
    }

    /// The reason why the events WebSocket was closed.
    fn close_error(&self, close: Option<(u16, String)>) -> ServiceError {
        if let Some(error) = self.events.last_error() {
            return error.clone();
        }
        let Some((code, reason)) = close else {
            return ServiceError { code: "CONNECTION_LOST".into(), message: "the events WebSocket was lost".into() };
        };
        let name = if reason.is_empty() { format!("CLOSED_{code}") } else { reason };
        ServiceError { code: name, message: format!("the service closed the events WebSocket ({code})") }
    }

    /// Subscribes to new publishers, and unsubscribes from those of the previous participants that have stopped.
    async fn update_subscriptions(&mut self, previous: &[Participant]) {
        let current = self.connections.keys().filter_map(|stream| match stream {
            StreamId::Subscribe(id) => Some(id.clone()),
            StreamId::Publish => None,
        });
        let own = &self.whip_client.token.participant;
        let changes = self.subscriptions.changes(own, previous, &self.participants, &current.collect());
        for id in changes.unsubscribe {
            self.close(StreamId::Subscribe(id)).await;
        }
        for id in changes.subscribe {
            if !self.failed.contains(&id) {
                self.subscribe(id).await;
            }
        }
    }

    async fn subscribe(&mut self, id: String) {
        let stream = StreamId::Subscribe(id.clone());
        match self.whip_client.subscribe(&id).await {
            Ok(connection) => drop(self.connections.insert(stream, connection)),
            // Retried at the next report.
            Err(error) if TRANSIENT_ERRORS.contains(&error.code()) => {}
            Err(error) => {
                let error = ServiceError { code: error.code().to_owned(), message: error.to_string() };
                self.printer.error(Some(&stream), &error);
                self.failed.insert(id);
            }
        }
    }

    async fn close(&mut self, stream: StreamId) {
        if let Some(connection) = self.connections.remove(&stream) {
            let stats = self.whip_client.end(connection).await;
            self.printer.ended(&stream, &stats);
        }
    }

    /// Handles a connection that was closed by the service or the network. The end of the publication ends the session; a
    /// publisher may come back.
    async fn handle_closed(&mut self, stream: StreamId) -> Result<(), ClientError> {
        let state = self.connections.get(&stream).map(|connection| connection.transport.stats().state);
        self.close(stream.clone()).await;
        if stream != StreamId::Publish {
            return Ok(());
        }
        // The service sends the reason on the events WebSocket.
        let reason = async {
            loop {
                match self.events.next().await {
                    EventsMessage::Closed(close) => return Err(close),
                    EventsMessage::Error(error) => return Ok(error),
                    EventsMessage::StageState(_) => {}
                }
            }
        };
        match timeout(CLOSE_REASON_TIMEOUT, reason).await {
            Ok(Ok(error)) => return Err(ClientError::Ended(error)),
            Ok(Err(close)) => return Err(ClientError::Ended(self.close_error(close))),
            Err(_) => {}
        }
        let state = state.map_or("closed", |state| state.name());
        let message = format!("the publication was ended by the service or the network ({state})");
        Err(ClientError::Ended(ServiceError { code: "PUBLISH_ENDED".into(), message }))
    }

    fn print_stats(&mut self) {
        let all: BTreeMap<StreamId, ConnectionStats> = self
            .connections
            .iter()
            .map(|(stream, connection)| (stream.clone(), connection.transport.stats()))
            .collect();
        self.printer.stats(self.start.elapsed(), &all);
    }

    /// Ends all connections, and prints that.
    async fn leave(mut self) {
        self.print_stats();
        let whip_client = &self.whip_client;
        let ends = std::mem::take(&mut self.connections).into_iter();
        let ends = ends.map(|(stream, connection)| async move { (stream, whip_client.end(connection).await) });
        for (stream, stats) in join_all(ends).await {
            self.printer.ended(&stream, &stats);
        }
        self.events.close().await;
    }
}

/// Waits until one of the connections is closed.
async fn first_closed(connections: &BTreeMap<StreamId, Connection>) -> StreamId {
    let waits = connections.iter().map(|(stream, connection)| async move {
        connection.transport.wait_for(|_| false).await;
        stream.clone()
    });
    match waits.collect::<FuturesUnordered<_>>().next().await {
        Some(stream) => stream,
        None => std::future::pending().await,
    }
}
