//! The background tasks of a node: media events, heartbeats, sweeps, reconciliation, and the orderly shutdown.

use super::registry::{CloseReason, Connection, End};
use super::{Connections, Maintenance};
use crate::app::nodes;
use crate::domain::admission::Intent;
use crate::model::fault::{Bug, Fault};
use crate::model::participant::EventErrorCode;
use futures_util::FutureExt as _;
use greenroom_media::{self as media, MediaEvent, TransportId};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// Interval of sweeps for what is due in the store.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Sweeps between two comparisons with the media thread.
const SWEEPS_PER_COMPARISON: u32 = 5;
/// Delay before a task that panicked is restarted.
const RESTART_DELAY: Duration = Duration::from_secs(1);
/// Interval and timeout of the liveness check of the media thread.
const PING_INTERVAL: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum time for the deregistration of the node, including retries.
const DEREGISTER_TIMEOUT: Duration = Duration::from_secs(5);

impl Maintenance {
    /// Runs the background tasks until the server stops, then closes all connections within `grace`.
    pub async fn run(self, grace: Duration) {
        let Maintenance { connections, media_events } = self;
        let media_events = Arc::new(Mutex::new(media_events));
        let clone = || connections.clone();
        let [media, heartbeats, errors, sweeps, changes, pings, samples, faults, recordings] =
            std::array::from_fn(|_| clone());
        let mut tasks = JoinSet::new();
        let handle = move || media.clone().handle_media_events(media_events.clone());
        tasks.spawn(restart_on_panic("media events", handle));
        tasks.spawn(restart_on_panic("heartbeats", move || heartbeats.clone().send_heartbeats()));
        tasks.spawn(restart_on_panic("errors of other nodes", move || errors.clone().forward_remote_errors()));
        tasks.spawn(restart_on_panic("sweeps", move || sweeps.clone().run_sweeps()));
        tasks.spawn(restart_on_panic("stage changes", move || Maintenance::poll_changes(changes.clone())));
        tasks.spawn(restart_on_panic("media thread pings", move || pings.clone().ping_media_thread()));
        tasks.spawn(restart_on_panic("recordings", move || {
            let connections = recordings.clone();
            async move { connections.recordings.run().await }
        }));
        if connections.app.metrics().media_quality.is_on() {
            tasks.spawn(restart_on_panic("media samples", move || samples.clone().sample_media()));
        }
        if connections.app.test_controls().is_some() {
            tasks.spawn(restart_on_panic("faults", move || faults.clone().apply_faults()));
        }
        connections.stopping.cancelled().await;
        connections.close();
        connections.tasks.close();
        if tokio::time::timeout(grace, connections.tasks.wait()).await.is_err() {
            tracing::warn!(setting = "--shutdown-seconds", "participant connections aborted at shutdown");
        }
        // While this node still owns them: the end of its registration releases them to others.
        connections.recordings.stop(grace).await;
        tasks.shutdown().await;
        connections.deregister(grace.min(DEREGISTER_TIMEOUT)).await;
        connections.media.stop().await;
    }
}

/// Runs a task, and again when it panics.
pub(super) async fn restart_on_panic<F: Future<Output = ()>>(name: &'static str, mut task: impl FnMut() -> F) {
    while let Err(panic) = AssertUnwindSafe(task()).catch_unwind().await {
        tracing::error!(task = name, panic = %Bug::from(panic), "background task panicked; restarting");
        tokio::time::sleep(RESTART_DELAY).await;
    }
}

impl Connections {
    /// Accepts no more connections, and closes the events WebSockets and the encoders.
    fn close(&self) {
        let mut registry = self.registry();
        registry.closed = true;
        let end = End::Remote(CloseReason::GoingAway);
        registry.connections.values().for_each(|connection| connection.notify_end(end));
    }

    async fn handle_media_events(self: Arc<Self>, events: Arc<Mutex<mpsc::Receiver<MediaEvent>>>) {
        let mut events = events.lock().await;
        while let Some(event) = events.recv().await {
            let (MediaEvent::Connected(transport)
            | MediaEvent::MediaStarted(transport)
            | MediaEvent::MediaMissing(transport, _)
            | MediaEvent::Closed(transport, _)) = event;
            let Some(id) = self.registry().id_of(transport).cloned() else { continue };
            match event {
                MediaEvent::Connected(_) => {
                    self.setup_finished(&id, transport);
                    self.transport_connected(&id, false);
                }
                MediaEvent::MediaStarted(_) => self.transport_connected(&id, true),
                MediaEvent::MediaMissing(_, failure) => self.report_missing_media(&id, failure),
                MediaEvent::Closed(_, reason) => self.transport_closed(&id, transport, reason),
            }
        }
        tracing::error!("media thread ended");
    }

    fn transport_closed(self: &Arc<Self>, id: &str, transport: TransportId, reason: media::CloseReason) {
        tracing::debug!(?transport, ?reason, connection.id = id, "media connection closed");
        self.setup_ended(id, reason);
        let code = match reason {
            media::CloseReason::Failed(failure) => self.report_failure(id, failure),
            media::CloseReason::BitrateExceeded => Some(EventErrorCode::BitrateExceeded),
            media::CloseReason::ResolutionExceeded => Some(EventErrorCode::ResolutionExceeded),
            media::CloseReason::BFramesPresent => Some(EventErrorCode::BFramePresent),
            media::CloseReason::Requested
            | media::CloseReason::ClosedByClient
            | media::CloseReason::PublisherClosed => None,
        };
        self.end(id, End::Local(code));
    }

    /// Records that media flow: for a subscriber once it is connected, for a publisher once RTP has arrived.
    pub(super) fn transport_connected(self: &Arc<Self>, id: &str, media_received: bool) {
        let (publishes, is_new) = {
            let mut registry = self.registry();
            let connection = registry.connections.get(id);
            let publishes = connection.is_some_and(|connection| connection.intent == Intent::Publish);
            if publishes && !media_received {
                return;
            }
            (publishes, registry.mark_media_flowing(id))
        };
        if is_new {
            self.app.metrics().media.connection(if publishes { "publish" } else { "subscribe" }, "connected", "");
            self.new_connections.notify(self.app.test_controls());
        }
        self.persist(id);
    }

    /// Checks that the media thread responds, for the readiness endpoint.
    async fn ping_media_thread(self: Arc<Self>) {
        let mut responded = true;
        loop {
            tokio::time::sleep(PING_INTERVAL).await;
            let responds = matches!(tokio::time::timeout(PING_TIMEOUT, self.media.ping()).await, Ok(Ok(_)));
            self.app.readiness().media_answers(responds);
            match (std::mem::replace(&mut responded, responds), responds) {
                (true, false) => tracing::error!(deadline = ?PING_TIMEOUT, "media thread does not answer"),
                (false, true) => tracing::info!("media thread answers again"),
                _ => {}
            }
        }
    }

    /// Applies what is due in the store, closes streams that are too old, and compares with the media thread.
    async fn run_sweeps(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut event_drops, mut sweeps) = (0, 0);
        loop {
            ticks.tick().await;
            if let Err(fault) = nodes::sweep(&self.app).await {
                log_failure(&fault, "sweep failed");
            }
            self.close_old_streams();
            self.expire_tombstones();
            sweeps += 1;
            if sweeps >= SWEEPS_PER_COMPARISON || self.media.socket_stats().event_drops > event_drops {
                sweeps = 0;
                event_drops = self.media.socket_stats().event_drops;
                self.compare_with_media_thread().await;
            }
        }
    }

    /// Recovers from media events that were dropped because their queue was full.
    async fn compare_with_media_thread(self: &Arc<Self>) {
        let open: Vec<_> = {
            let registry = self.registry();
            let open = registry.connections.iter().filter(|(_, connection)| connection.is_open());
            open.filter_map(|(id, connection)| Some((id.clone(), Connection::webrtc_id(connection)?))).collect()
        };
        let Ok(transports) = self.media.snapshot().await else { return };
        let transports: HashMap<_, _> = transports.into_iter().map(|stats| (stats.id, stats)).collect();
        for (id, transport) in open {
            match transports.get(&transport) {
                None => self.end(&id, End::Local(None)),
                Some(stats) if stats.media_received || stats.connected => {
                    self.transport_connected(&id, stats.media_received);
                }
                Some(_) => {}
            }
        }
        let unknown = transports.into_keys().filter(|transport| self.registry().id_of(*transport).is_none());
        unknown.for_each(|transport| self.media.close(transport));
    }
}

/// Logs a failure as a warning; at debug level while the store is unavailable, which is logged elsewhere.
pub(super) fn log_failure(fault: &Fault, message: &'static str) {
    let error = fault as &dyn std::error::Error;
    if fault.is_unavailable() {
        tracing::debug!(error, "{message}");
    } else {
        tracing::warn!(error, "{message}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_restarted_and_continues() {
        let (sender, receiver) = mpsc::channel(9);
        for n in 0..9 {
            sender.send(n).await.unwrap();
        }
        drop(sender);
        let (receiver, received) = (Mutex::new(receiver), std::sync::Mutex::new(Vec::new()));
        let receive = || async {
            let mut receiver = receiver.lock().await;
            while let Some(n) = receiver.recv().await {
                assert_ne!(n % 4, 3, "on purpose");
                received.lock().unwrap().push(n);
            }
        };
        restart_on_panic("numbers", receive).await;
        assert_eq!(*received.lock().unwrap(), [0, 1, 2, 4, 5, 6, 8]);
    }
}
