//! What has to be done all the time: media events, signs of life, what is due, and the end.

use super::held::{CloseReason, Connection, End};
use super::{Connections, Work};
use crate::app::nodes::{self, Liveness};
use crate::domain::admission::Intent;
use crate::model::fault::{Bug, Fault};
use crate::model::participant::EventErrorCode;
use futures_util::FutureExt as _;
use greenroom_media::{self as media, MediaEvent, TransportId};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// How often what is due is done.
const DUE: Duration = Duration::from_secs(1);
/// How long to wait before work that has ended by a bug begins anew.
const ANEW: Duration = Duration::from_secs(1);
/// How long to wait after a sign of life that did not get through.
const BEAT_AGAIN: Duration = Duration::from_millis(250);
/// How many of those times pass between two comparisons with what the media thread has.
const COMPARED: u32 = 5;
/// How often the media thread is asked for an answer, and how long it may take.
const PING: Duration = Duration::from_secs(1);
const PING_DEADLINE: Duration = Duration::from_secs(2);
/// How long the record may take to be told that the node retires, tried again while the store is busy.
const RETIRING: Duration = Duration::from_secs(5);

impl Work {
    /// Works until the plane is to stop, then ends everything within `grace`.
    pub async fn run(self, grace: Duration) {
        let Work { plane, events } = self;
        let events = Arc::new(Mutex::new(events));
        let mut work = JoinSet::new();
        let (hears, lives, tends, looks) = (plane.clone(), plane.clone(), plane.clone(), plane.clone());
        let relays = plane.clone();
        work.spawn(anew("hearing of media", move || hears.clone().hear(events.clone())));
        work.spawn(anew("signs of life", move || lives.clone().live()));
        work.spawn(anew("messages of other nodes", move || relays.clone().relay()));
        work.spawn(anew("what is due", move || tends.clone().tend()));
        work.spawn(anew("looking at stages", move || Work::look(looks.clone())));
        let pings = plane.clone();
        work.spawn(anew("media thread pings", move || pings.clone().ping()));
        plane.stopping.cancelled().await;
        plane.close();
        plane.tasks.close();
        if tokio::time::timeout(grace, plane.tasks.wait()).await.is_err() {
            tracing::warn!("participants' connections were cut off: they took longer than --shutdown-seconds");
        }
        work.shutdown().await;
        plane.retire(grace.min(RETIRING)).await;
        plane.media.stop().await;
    }
}

/// Does work that goes on all the time; if a bug ends it, it begins anew.
pub(super) async fn anew<W: Future<Output = ()>>(what: &'static str, mut work: impl FnMut() -> W) {
    while let Err(panic) = AssertUnwindSafe(work()).catch_unwind().await {
        tracing::error!(what, text = %Bug::from(panic), "work on connections has ended by a bug; it begins anew");
        tokio::time::sleep(ANEW).await;
    }
}

impl Connections {
    /// Takes no more connections, and tells the sockets to close.
    fn close(&self) {
        let mut held = self.held();
        held.closed = true;
        held.connections.values().for_each(|connection| connection.dismiss(CloseReason::GoingAway));
    }

    /// Ends every connection of this node in the record.
    async fn retire(&self, patience: Duration) {
        let retired = async {
            while let Err(fault) = nodes::retire(&self.app).await {
                tracing::warn!(error = &fault as &dyn std::error::Error, "the node could not retire yet");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        if tokio::time::timeout(patience, retired).await.is_err() {
            tracing::warn!("the node did not retire; another one ends what it held");
        }
    }

    /// Hears what becomes of peers.
    async fn hear(self: Arc<Self>, events: Arc<Mutex<mpsc::Receiver<MediaEvent>>>) {
        let mut events = events.lock().await;
        while let Some(event) = events.recv().await {
            match event {
                MediaEvent::Connected(peer) | MediaEvent::MediaStarted(peer) => {
                    let id = self.held().id_of(peer).cloned();
                    id.into_iter().for_each(|id| self.flows(&id, matches!(event, MediaEvent::MediaStarted(_))));
                }
                MediaEvent::MediaMissing(peer, failure) => {
                    let id = self.held().id_of(peer).cloned();
                    id.into_iter().for_each(|id| self.media_missing(&id, failure));
                }
                MediaEvent::Closed(peer, why) => self.closed(peer, why),
            }
        }
        tracing::error!("the media thread has ended");
    }

    /// A media connection has ended.
    fn closed(self: &Arc<Self>, peer: TransportId, why: media::CloseReason) {
        let Some(id) = self.held().id_of(peer).cloned() else { return };
        tracing::debug!(?peer, ?why, id, "media connection closed");
        let code = match why {
            media::CloseReason::Failed(failure) => self.media_failed(&id, failure),
            media::CloseReason::BitrateExceeded => Some(EventErrorCode::BitrateExceeded),
            media::CloseReason::ResolutionExceeded => Some(EventErrorCode::ResolutionExceeded),
            media::CloseReason::BFramesPresent => Some(EventErrorCode::BFramePresent),
            media::CloseReason::Requested
            | media::CloseReason::ClosedByClient
            | media::CloseReason::PublisherClosed => None,
        };
        self.end(&id, End::Here(code));
    }

    /// A subscriber's media flow once it is connected, a publisher's when they come.
    fn flows(self: &Arc<Self>, id: &str, media: bool) {
        let (publishes, news) = {
            let mut held = self.held();
            let publishes = held.connections.get(id).is_some_and(|connection| connection.wish == Intent::Publish);
            if publishes && !media {
                return;
            }
            (publishes, held.flows(id))
        };
        if news {
            self.app.metrics.media.connection(if publishes { "publish" } else { "subscribe" }, "connected", "");
        }
        self.write(id);
    }

    /// Gives signs of life.
    async fn live(self: Arc<Self>) {
        let pause = self.app.settings.participation.lease / 3;
        let mut given = true;
        loop {
            tokio::time::sleep(if given { pause } else { pause.min(BEAT_AGAIN) }).await;
            given = self.beat().await;
        }
    }

    /// Gives one, and answers whether it got through.
    async fn beat(self: &Arc<Self>) -> bool {
        match nodes::beat(&self.app).await {
            Ok(Liveness::Known) => true,
            Ok(Liveness::Lost) => {
                tracing::warn!("this node was taken for dead: every connection is dropped");
                let ids: Vec<_> = self.held().connections.keys().cloned().collect();
                ids.iter().for_each(|id| self.end(id, End::Elsewhere(CloseReason::GoingAway)));
                true
            }
            Err(fault) => {
                failed(&fault, "no sign of life could be given");
                false
            }
        }
    }

    /// Asks the media thread for an answer, again and again, for readiness.
    async fn ping(self: Arc<Self>) {
        let mut answered = true;
        loop {
            tokio::time::sleep(PING).await;
            let answers = matches!(tokio::time::timeout(PING_DEADLINE, self.media.snapshot()).await, Ok(Ok(_)));
            self.app.readiness.media_answers(answers);
            match (std::mem::replace(&mut answered, answers), answers) {
                (true, false) => tracing::error!(deadline = ?PING_DEADLINE, "media thread does not answer"),
                (false, true) => tracing::info!("media thread answers again"),
                _ => {}
            }
        }
    }

    /// Does what is due, and compares with the media thread.
    async fn tend(self: Arc<Self>) {
        let mut times = tokio::time::interval(DUE);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut dropped, mut passed) = (0, 0);
        loop {
            times.tick().await;
            if let Err(fault) = nodes::sweep(&self.app).await {
                failed(&fault, "what is due could not be done");
            }
            self.age();
            passed += 1;
            if passed >= COMPARED || self.media.socket_stats().event_drops > dropped {
                passed = 0;
                dropped = self.media.socket_stats().event_drops;
                self.compare().await;
            }
        }
    }

    /// Ends streams that are too old, and forgets what is long past.
    fn age(self: &Arc<Self>) {
        let now = self.app.clock.monotonic();
        let due = {
            let mut held = self.held();
            held.bury(now);
            held.older_than(self.settings.stream_most, now)
        };
        due.iter().for_each(|id| self.end(id, End::Here(Some(EventErrorCode::StreamDurationExceeded))));
    }

    /// Makes good what events did not tell: there is room for so many of them only.
    async fn compare(self: &Arc<Self>) {
        let open = |connection: &Connection| connection.opened.is_some() && !connection.has_ended();
        let ours: Vec<_> = {
            let held = self.held();
            let media = held.connections.iter().filter(|(_, connection)| open(connection));
            media.filter_map(|(id, connection)| Some((id.clone(), connection.peer()?))).collect()
        };
        let Ok(peers) = self.media.snapshot().await else { return };
        let peers: std::collections::HashMap<_, _> = peers.into_iter().map(|state| (state.id, state)).collect();
        for (id, peer) in ours {
            match peers.get(&peer) {
                None => self.end(&id, End::Here(None)),
                Some(state) if state.media_received || state.connected => self.flows(&id, state.media_received),
                Some(_) => {}
            }
        }
        let unknown = peers.into_keys().filter(|peer| self.held().id_of(*peer).is_none());
        unknown.for_each(|peer| self.media.close(peer));
    }
}

/// Logs a failure, unless it is that the store is away, which is in the log already.
pub(super) fn failed(fault: &Fault, what: &str) {
    if fault.is_unavailable() {
        tracing::debug!(error = fault as &dyn std::error::Error, "{what}");
    } else {
        tracing::warn!(error = fault as &dyn std::error::Error, "{what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_a_bug_ends_begins_anew_with_what_is_left() {
        let (tell, told) = mpsc::channel(9);
        for n in 0..9 {
            tell.send(n).await.unwrap();
        }
        drop(tell);
        let (told, heard) = (Mutex::new(told), std::sync::Mutex::new(Vec::new()));
        let hear = || async {
            let mut told = told.lock().await;
            while let Some(n) = told.recv().await {
                assert_ne!(n % 4, 3, "on purpose");
                heard.lock().unwrap().push(n);
            }
        };
        anew("numbers", hear).await;
        assert_eq!(*heard.lock().unwrap(), [0, 1, 2, 4, 5, 6, 8]);
    }
}
