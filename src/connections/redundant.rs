//! Redundant ingest: two encoders, and the virtual participant that others see in their place.

use super::Connections;
use super::encoders::EncoderEnd;
use super::join::ended_while_opening;
use super::registry::End;
use super::sources::{SourceConnection, SourcePlacement, wait_for_end};
use super::stage::StageKey;
use crate::app::encoders;
use crate::domain::admission::{EncoderRole, SignalingError, VerifiedToken};
use crate::metrics::Metrics;
use crate::model::participant::EventErrorCode;
use greenroom_ingest::{Failover, TRACKS};
use greenroom_media::{MediaPacket, MediaSink, MediaTrack, TransportId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;
use tokio::sync::Notify;
use tokio::sync::watch;

/// Packets of a relayed encoder that wait for the failover: about two seconds at 8.5 Mbit/s, with audio.
const SINK_CAPACITY: usize = 2048;

/// A stage, and a virtual participant of it.
type StreamKey = (StageKey, String);

/// The streams of virtual participants that have an encoder.
#[derive(Debug, Default)]
pub(super) struct RedundantStreams(Mutex<HashMap<StreamKey, Weak<RedundantStream>>>);

/// The one stream of two redundant encoders. Ends with the last of them.
struct RedundantStream {
    key: StreamKey,
    state: Mutex<StreamState>,
    /// Notified when the failover has a deadline earlier than the one that its task waits for.
    rescheduled: Arc<Notify>,
    connections: Arc<Connections>,
}

struct StreamState {
    failover: Failover,
    /// The connection of the virtual participant.
    output: SourceConnection,
    /// Ids of the connections of the encoders, by their index.
    inputs: HashMap<usize, String>,
    /// The deadline that the stream's task waits for.
    deadline: Option<Instant>,
}

/// A connection as one of the two inputs. Dropping it ends the input.
pub(super) struct RedundantInput {
    stream: Arc<RedundantStream>,
    index: usize,
    connection: String,
}

impl std::fmt::Debug for RedundantStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedundantStream").field("key", &self.key).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for RedundantInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedundantInput").field("stream", &self.stream).field("index", &self.index).finish()
    }
}

impl RedundantStreams {
    fn map(&self) -> MutexGuard<'_, HashMap<StreamKey, Weak<RedundantStream>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &StreamKey) -> Option<Arc<RedundantStream>> {
        self.map().get(key).and_then(Weak::upgrade)
    }
}

impl RedundantStream {
    fn lock(&self) -> MutexGuard<'_, StreamState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the failover, and passes on what comes out.
    fn change(&self, change: impl FnOnce(&mut StreamState, Instant)) {
        let mut state = self.lock();
        change(&mut state, Instant::now());
        state.deliver(&self.key, self.connections.app.metrics());
        let (next, deadline) = (state.failover.next_timeout(), state.deadline);
        if next.is_some_and(|next| deadline.is_none_or(|deadline| next < deadline)) {
            self.rescheduled.notify_one();
        }
    }

    /// The deadline of the failover, for which the stream's task waits from now on.
    fn schedule(&self) -> Option<Instant> {
        let mut state = self.lock();
        state.deadline = state.failover.next_timeout();
        state.deadline
    }

    /// Makes a connection the input `index`, in the place of another one.
    fn join(self: Arc<Self>, index: usize, connection: String) -> RedundantInput {
        self.change(|state, now| {
            if state.inputs.insert(index, connection.clone()).is_some() {
                state.failover.ended(now, index);
            }
        });
        RedundantInput { stream: self, index, connection }
    }

    /// Ends the encoders: the virtual participant was disconnected.
    fn end_inputs(&self, end: EncoderEnd) {
        let inputs: Vec<_> = self.lock().inputs.values().cloned().collect();
        let end = match end {
            EncoderEnd::DurationExceeded => End::Local(Some(EventErrorCode::StreamDurationExceeded)),
            EncoderEnd::Disconnected | EncoderEnd::StageDeleted | EncoderEnd::Stopping | EncoderEnd::Removed => {
                End::Local(None)
            }
        };
        inputs.iter().for_each(|id| self.connections.end(id, end));
    }
}

impl Drop for RedundantStream {
    fn drop(&mut self) {
        let mut map = self.connections.redundant_streams.map();
        // Another stream may have taken its place.
        if map.get(&self.key).is_some_and(|stream| stream.strong_count() == 0) {
            map.remove(&self.key);
        }
    }
}

impl StreamState {
    fn deliver(&mut self, key: &StreamKey, metrics: &Metrics) {
        while let Some(packet) = self.failover.poll_packet() {
            self.output.push(packet);
        }
        while let Some((input, reason)) = self.failover.poll_switch() {
            metrics.ingest.switched(reason);
            let reason = reason.as_str();
            tracing::info!(reason, encoder = input, participant.id = key.1, stage.id = key.0.id, "encoder switched");
        }
    }
}

impl RedundantInput {
    pub fn push(&self, packet: MediaPacket) {
        self.change(|state, now| state.failover.push(now, self.index, packet));
    }

    /// Changes the stream, unless another connection has taken the place of this one.
    fn change(&self, change: impl FnOnce(&mut StreamState, Instant)) {
        self.stream.change(|state, now| {
            if state.inputs.get(&self.index) == Some(&self.connection) {
                change(state, now);
            }
        });
    }
}

impl Drop for RedundantInput {
    fn drop(&mut self) {
        self.change(|state, now| {
            state.inputs.remove(&self.index);
            state.failover.ended(now, self.index);
        });
    }
}

impl Connections {
    /// Makes a connection an input of the virtual participant's stream, which joins the stage with its first input; `None` for a
    /// participant that is not one of two redundant encoders.
    pub(super) async fn join_redundant(
        self: &Arc<Self>,
        connection: &str,
        token: &VerifiedToken,
    ) -> Result<Option<RedundantInput>, SignalingError> {
        let role = token.encoder.as_ref().map(|encoder| &encoder.role);
        let Some(EncoderRole::Redundant { index, .. }) = role else { return Ok(None) };
        let Some(virtual_token) = encoders::virtual_participant(token) else { return Ok(None) };
        let key = (StageKey::of(&virtual_token), virtual_token.participant.clone());
        let _guard = self.negotiation_locks.lock(key.0.clone(), key.1.clone()).await;
        let stream = match self.redundant_streams.get(&key).filter(|stream| !stream.has_ended()) {
            Some(stream) => stream,
            None => self.open_redundant(key, virtual_token).await?,
        };
        Ok(Some(stream.join(*index, connection.to_owned())))
    }

    async fn open_redundant(
        self: &Arc<Self>,
        key: StreamKey,
        token: VerifiedToken,
    ) -> Result<Arc<RedundantStream>, SignalingError> {
        let output = match self.open_source(&Arc::new(token)).await? {
            SourcePlacement::Local(output) => output,
            // The stage's media have moved since the encoder was admitted here.
            SourcePlacement::Remote(_) => return Err(ended_while_opening()),
        };
        let mut ended = output.ended();
        let failover = Failover::new(Instant::now());
        let state = StreamState { failover, output, inputs: HashMap::new(), deadline: None };
        let stream = Arc::new(RedundantStream {
            key: key.clone(),
            state: Mutex::new(state),
            rescheduled: Arc::default(),
            connections: self.clone(),
        });
        self.redundant_streams.map().insert(key, Arc::downgrade(&stream));
        let (weak, rescheduled) = (Arc::downgrade(&stream), stream.rescheduled.clone());
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move { stopping.run_until_cancelled(run(weak, &mut ended, &rescheduled)).await });
        Ok(stream)
    }

    /// Makes the media of a publisher that another node relays an input of the virtual participant's stream, if it is one of two
    /// redundant encoders.
    pub(super) async fn feed_redundant(
        self: &Arc<Self>,
        connection: &str,
        token: &VerifiedToken,
        transport: TransportId,
    ) -> Result<(), SignalingError> {
        let Some(input) = self.join_redundant(connection, token).await? else { return Ok(()) };
        let sink = self.media.add_sink(transport, SINK_CAPACITY).await;
        let sink = sink.map_err(|error| self.offer_error(token, error))?;
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move { stopping.run_until_cancelled(forward(sink, input)).await });
        Ok(())
    }
}

impl RedundantStream {
    /// Whether the virtual participant's connection has ended.
    fn has_ended(&self) -> bool {
        self.lock().output.ended().borrow().is_some()
    }
}

/// Runs the deadlines of a stream until it ends.
async fn run(stream: Weak<RedundantStream>, ended: &mut watch::Receiver<Option<EncoderEnd>>, rescheduled: &Notify) {
    loop {
        let Some(deadline) = stream.upgrade().map(|stream| stream.schedule()) else { return };
        let due = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            end = wait_for_end(ended) => {
                if let Some(stream) = stream.upgrade() {
                    stream.end_inputs(end);
                }
                return;
            }
            () = rescheduled.notified() => {}
            () = due => {
                if let Some(stream) = stream.upgrade() {
                    stream.change(|state, now| state.failover.handle_timeout(now));
                }
            }
        }
    }
}

/// Forwards the media of a relayed encoder until it ends.
async fn forward(mut sink: MediaSink, input: RedundantInput) {
    let kinds: Vec<_> = sink.tracks().iter().map(|track| track.kind).collect();
    while let Some(packet) = sink.recv().await {
        let kind = kinds.get(packet.track).copied();
        let track =
            TRACKS.iter().position(|track| Some(*track) == kind.map(|kind| MediaTrack { kind, codec: packet.codec }));
        if let Some(track) = track {
            input.push(MediaPacket { track, ..packet });
        }
    }
}
