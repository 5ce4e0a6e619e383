//! Delivers events to one target while this node owns its lease.

use super::faults;
use super::queue::DeliveryQueue;
use super::settling::Settling;
use super::sinks::{Outcome, Outgoing, Sink};
use super::targets::Target;
use crate::app::App;
use crate::app::deliveries::{Claimed, EventTarget};
use crate::app::event_log::{self, Event};
use crate::app::leases::Lease;
use crate::app::views::ChangeSubscription;
use crate::clock::Timestamp;
use crate::metrics;
use crate::model::fault::Fault;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Events per page of the log.
const PAGE: i64 = 250;
/// Interval of lease claims by other nodes, and of polls for due parked events.
const TICK: Duration = Duration::from_secs(1);
/// Maximum interval between records of progress during continuous deliveries.
const RECORD_INTERVAL: Duration = Duration::from_millis(200);
/// Deliveries after which progress is recorded immediately.
const RECORD_AFTER: i64 = 250;

/// Delivers events until `stop`.
pub(super) async fn run(app: Arc<App>, target: Target, settling: Arc<Settling>, stop: CancellationToken) {
    let sink = match Sink::new(&target, &app).await {
        Ok(sink) => Arc::new(sink),
        Err(error) => {
            tracing::error!(target_name = target.name, %error, "event target not usable: TLS configuration failed");
            return report_nothing(&target.name, &settling, &stop).await;
        }
    };
    let state = EventTarget::new(&app, &target.name);
    let (log_end, changes) = (app.log_end(), app.notifier().subscribe());
    let metrics = app.metrics().target(&target.name);
    let (rounds, target) = (settling.rounds(), Arc::new(target));
    let worker =
        Worker { app, target, sink, state, metrics, stop, log_end, changes, settling, rounds, unavailable: false };
    worker.run().await;
}

/// Reports every round of a target that cannot be sent anything, until `stop`.
async fn report_nothing(name: &str, settling: &Settling, stop: &CancellationToken) {
    let mut rounds = settling.rounds();
    loop {
        let round = *rounds.borrow_and_update();
        settling.report(name, round, None);
        tokio::select! {
            () = stop.cancelled() => return,
            _ = rounds.changed() => {}
        }
    }
}

/// Delivers to one target.
struct Worker {
    app: Arc<App>,
    target: Arc<Target>,
    sink: Arc<Sink>,
    /// The target in the store.
    state: EventTarget,
    metrics: metrics::Target,
    stop: CancellationToken,
    log_end: watch::Receiver<i64>,
    changes: ChangeSubscription,
    settling: Arc<Settling>,
    rounds: watch::Receiver<u64>,
    /// Whether the last access to the store failed.
    unavailable: bool,
}

/// The state of delivery while this node owns the lease.
struct Delivery {
    queue: DeliveryQueue,
    requests: JoinSet<Vec<(i64, Outcome)>>,
    lease: Lease,
    recorded: Instant,
    /// Time of the last poll for parked events, by the monotonic clock and by the service's.
    polled: Option<Instant>,
    polled_at: Timestamp,
    /// The last round ([`Settling`]) at whose time parked events were polled, and the last that was reported.
    polled_round: u64,
    reported_round: u64,
}

/// Why the delivery ended.
enum Ended {
    Stopped,
    LeaseLost,
}

impl Worker {
    async fn run(mut self) {
        loop {
            let claimed = match self.state.register(self.target.from_oldest).await {
                Ok(()) => self.state.claim().await,
                Err(fault) => Err(fault),
            };
            let claimed = self.track_availability(claimed).flatten();
            let round = *self.rounds.borrow_and_update();
            if claimed.is_none() && !self.unavailable {
                // Another node delivers.
                self.settling.report(&self.target.name, round, None);
            }
            if let Some(claimed) = claimed {
                match self.deliver(claimed).await {
                    Ended::Stopped => return,
                    Ended::LeaseLost => tracing::info!(target_name = self.target.name, "event target lease lost"),
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = self.rounds.changed() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// Records whether the store was available; logs the first of consecutive failures.
    fn track_availability<T>(&mut self, answer: Result<T, Fault>) -> Option<T> {
        match answer {
            Ok(answer) => {
                self.unavailable = false;
                Some(answer)
            }
            Err(fault) => {
                if !std::mem::replace(&mut self.unavailable, true) {
                    let error = &fault as &dyn std::error::Error;
                    tracing::warn!(error, target_name = self.target.name, "event delivery waits for the store");
                }
                None
            }
        }
    }

    /// Delivers until the lease is lost or the worker is stopped.
    async fn deliver(&mut self, claimed: Claimed) -> Ended {
        let Claimed { lease, position, failing_since } = claimed;
        let queue = DeliveryQueue::new(self.sink.options(&self.target), position, failing_since);
        let (recorded, polled_at) = (Instant::now(), Timestamp(i64::MIN));
        let mut delivery = Delivery {
            queue,
            requests: JoinSet::new(),
            lease,
            recorded,
            polled: None,
            polled_at,
            polled_round: 0,
            reported_round: 0,
        };
        loop {
            self.log_end.borrow_and_update();
            let round = *self.rounds.borrow_and_update();
            if self.stop.is_cancelled() {
                self.finish(delivery).await;
                return Ended::Stopped;
            }
            match self.step_in_round(&mut delivery, round).await {
                Ok(true) => self.unavailable = false,
                Ok(false) => return Ended::LeaseLost,
                Err(fault) => {
                    self.track_availability::<()>(Err(fault));
                }
            }
            self.wait(&mut delivery).await;
        }
    }

    /// Performs all work that is possible now, and reports the round once nothing is left. Returns whether this node still
    /// owns the lease.
    async fn step_in_round(&self, delivery: &mut Delivery, round: u64) -> Result<bool, Fault> {
        if round != delivery.polled_round {
            delivery.polled_round = round;
            delivery.polled = None;
            delivery.polled_at = Timestamp(i64::MIN);
        }
        if !self.step(delivery).await? {
            return Ok(false);
        }
        let queue = &delivery.queue;
        let all_read = !queue.has_capacity() || queue.read() >= *self.log_end.borrow();
        let may_send = self.app.lease_now() < delivery.lease.expires_at;
        let settled = queue.is_idle() && !queue.has_progress() && delivery.polled.is_some() && all_read && may_send;
        if settled && round != delivery.reported_round {
            delivery.reported_round = round;
            let now = self.app.clock().now();
            let retry = delivery.queue.next_at().filter(|at| *at > now);
            let next_at = retry.into_iter().chain(self.state.next_due().await?).min();
            self.settling.report(&self.target.name, round, next_at);
        }
        Ok(true)
    }

    /// Performs all work that is possible now. Returns whether this node still owns the lease.
    async fn step(&self, delivery: &mut Delivery) -> Result<bool, Fault> {
        if self.app.lease_now().plus(self.app.lease_duration() * 2 / 3) >= delivery.lease.expires_at {
            let Some(claimed) = self.state.claim().await? else { return Ok(false) };
            delivery.lease = claimed.lease;
        }
        while let Some(done) = delivery.requests.try_join_next() {
            self.done(&mut delivery.queue, done);
        }
        let many = delivery.queue.unrecorded_deliveries() >= RECORD_AFTER;
        let is_due = delivery.queue.is_idle() || delivery.recorded.elapsed() >= RECORD_INTERVAL || many;
        if is_due && !self.record(delivery).await? {
            return Ok(false);
        }
        if !self.poll_parked(delivery).await? {
            return Ok(false);
        }
        if delivery.queue.has_capacity() && delivery.queue.read() < *self.log_end.borrow() {
            if !self.record(delivery).await? {
                return Ok(false);
            }
            self.read(&mut delivery.queue).await?;
        }
        self.send(delivery);
        Ok(true)
    }

    /// Polls for due parked events, once a second of the service's clock or of the monotonic one: operators can redrive events.
    /// Returns whether this node still owns the lease.
    async fn poll_parked(&self, delivery: &mut Delivery) -> Result<bool, Fault> {
        let now = self.app.clock().now();
        let polled_recently = delivery.polled.is_some_and(|polled| polled.elapsed() < TICK);
        if polled_recently && now < delivery.polled_at.plus(TICK) {
            return Ok(true);
        }
        // Deliveries that are not recorded yet would be returned as due.
        if !self.record(delivery).await? {
            return Ok(false);
        }
        /// Twice the maximum concurrency.
        const LIMIT: usize = 128;
        let due = self.state.due(LIMIT).await?;
        delivery.queue.add_due(due);
        (delivery.polled, delivery.polled_at) = (Some(Instant::now()), now);
        Ok(true)
    }

    /// Reads the next page of the log.
    async fn read(&self, queue: &mut DeliveryQueue) -> Result<(), Fault> {
        let after = queue.read();
        // A promoted standby may have lost the last events.
        let end = event_log::end(&self.app).await?;
        let page = event_log::page(&self.app, after, PAGE).await?;
        let last = page.last().map_or(end.max(after), |event| event.position);
        let lost = last - after - page.len() as i64;
        if lost > 0 {
            let name = &self.target.name;
            tracing::warn!(target_name = name, events = lost, "events were deleted before their delivery");
        }
        let blocked = self.state.blocked_stages(after, last).await?;
        let events = page.into_iter().filter(|event| self.matches(event)).map(Outgoing::from).collect();
        queue.add(events, &blocked, last, self.app.clock().now());
        Ok(())
    }

    fn matches(&self, event: &Event) -> bool {
        let Some(pattern) = &self.target.pattern else { return true };
        serde_json::from_str(&event.body).is_ok_and(|event| pattern.matches(&event))
    }

    /// Sends all requests that are possible, as long as the lease is valid.
    fn send(&self, delivery: &mut Delivery) {
        let now = self.app.clock().now();
        while self.app.lease_now() < delivery.lease.expires_at
            && let Some(events) = delivery.queue.next(now)
        {
            let (sink, seconds, begun) = (self.sink.clone(), self.metrics.seconds.clone(), Instant::now());
            let (app, target) = (self.app.clone(), self.target.clone());
            delivery.requests.spawn(async move {
                let outcomes = faults::send(&app, &target, &sink, &events).await;
                seconds.observe(begun.elapsed().as_secs_f64());
                events.iter().map(|event| event.position).zip(outcomes).collect()
            });
        }
    }

    /// Handles the outcomes of a request.
    fn done(&self, queue: &mut DeliveryQueue, done: Result<Vec<(i64, Outcome)>, tokio::task::JoinError>) {
        let random = || {
            let bytes = self.app.ids().entropy();
            u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
        };
        match done {
            Ok(results) => {
                let delivered = results.iter().filter(|(_, outcome)| *outcome == Outcome::Delivered).count();
                self.metrics.delivered.inc_by(delivered as u64);
                self.metrics.failed.inc_by((results.len() - delivered) as u64);
                queue.done(results, self.app.clock().now(), random);
            }
            Err(bug) => std::panic::resume_unwind(bug.into_panic()),
        }
    }

    /// Records progress, if there is any. Returns whether this node still owns the lease.
    async fn record(&self, delivery: &mut Delivery) -> Result<bool, Fault> {
        if !delivery.queue.has_progress() {
            return Ok(true);
        }
        let progress = delivery.queue.progress();
        if !self.state.record(&delivery.lease, progress).await? {
            return Ok(false);
        }
        if let Some((error, _)) = &progress.error {
            tracing::debug!(target_name = self.target.name, error, "event not delivered");
        }
        if !progress.delivered_late.is_empty() || !progress.parked.is_empty() {
            // Blocked events may have become due.
            delivery.polled = None;
            delivery.polled_at = Timestamp(i64::MIN);
        }
        delivery.queue.recorded();
        delivery.recorded = Instant::now();
        Ok(true)
    }

    /// Waits until more work is possible.
    async fn wait(&mut self, delivery: &mut Delivery) {
        let mut timeout = TICK;
        if !self.unavailable {
            if delivery.queue.has_capacity() && delivery.queue.read() < *self.log_end.borrow() {
                return tokio::task::yield_now().await;
            }
            if let Some(wait) = delivery.queue.next_at().and_then(|at| self.app.clock().until(at)) {
                timeout = timeout.min(wait);
            }
            if delivery.queue.has_progress() {
                let left = if delivery.queue.is_idle() { Duration::ZERO } else { RECORD_INTERVAL };
                timeout = timeout.min(left);
            } else if delivery.polled.is_none() {
                timeout = Duration::ZERO;
            }
        }
        tokio::select! {
            () = self.stop.cancelled() => {}
            Some(done) = delivery.requests.join_next() => self.done(&mut delivery.queue, done),
            _ = self.log_end.changed(), if !self.unavailable => {}
            _ = self.rounds.changed(), if !self.unavailable => {}
            () = self.changes.changed(), if !self.unavailable => {}
            () = tokio::time::sleep(timeout) => {}
        }
    }

    /// Waits for requests in flight, records progress, and releases the lease.
    async fn finish(&mut self, mut delivery: Delivery) {
        let rest = async {
            while let Some(done) = delivery.requests.join_next().await {
                self.done(&mut delivery.queue, done);
            }
        };
        let _ = tokio::time::timeout(super::GRACE / 2, rest).await;
        let recorded = self.record(&mut delivery).await;
        if self.track_availability(recorded) == Some(true) {
            let released = self.state.release(&delivery.lease).await;
            self.track_availability(released);
        }
    }
}
