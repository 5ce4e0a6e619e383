//! Delivers to one target, whenever this node is the one that does.

use super::ledger::Ledger;
use super::send::{Entry, Outcome, Sender};
use super::targets::Target;
use super::window::Window;
use crate::app::views::ChangeSubscription;
use crate::app::{App, outbox};
use crate::clock::Timestamp;
use crate::metrics;
use crate::model::fault::Fault;
use crate::store::{EventRow, StageKey, TargetRow};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Events that are read at once.
const PAGE: i64 = 250;
/// How often is looked for what is due and who delivers, whatever is heard.
const TICK: Duration = Duration::from_secs(1);
/// How long what was delivered may go without being written down while more is delivered.
const SETTLE: Duration = Duration::from_millis(200);
/// What may be delivered before it is written down at once.
const MANY: i64 = 250;

/// Delivers until `stop`.
pub(super) async fn run(app: Arc<App>, target: Target, stop: CancellationToken) {
    let sender = match Sender::new(&target, &app).await {
        Ok(sender) => Arc::new(sender),
        Err(error) => {
            tracing::error!(target_name = target.name, %error, "nothing is delivered: TLS cannot be used");
            return stop.cancelled().await;
        }
    };
    let ledger = Ledger::new(&app, &target.name);
    let (log_end, ear) = (app.log_end.subscribe(), app.bell.listen());
    let figures = app.metrics.target(&target.name);
    let worker = Worker { app, target, sender, ledger, figures, stop, log_end, ear, away: false };
    worker.run().await;
}

/// Delivers to one target.
struct Worker {
    app: Arc<App>,
    target: Target,
    sender: Arc<Sender>,
    ledger: Ledger,
    figures: metrics::Target,
    stop: CancellationToken,
    log_end: watch::Receiver<i64>,
    ear: ChangeSubscription,
    /// Whether the store was away when last asked.
    away: bool,
}

/// What is known while this node delivers.
struct Turn {
    window: Window,
    sends: JoinSet<Vec<(i64, Outcome)>>,
    /// Until when no other node may.
    until: Timestamp,
    settled: Instant,
    looked: Option<Instant>,
    looked_at: Timestamp,
}

/// Why a turn is over.
enum Over {
    Stopped,
    /// Another node delivers.
    Lost,
}

impl Worker {
    async fn run(mut self) {
        loop {
            let claimed = match self.ledger.introduce(self.target.from_oldest).await {
                Ok(()) => self.ledger.claim().await,
                Err(fault) => Err(fault),
            };
            let claimed = self.heard(claimed).flatten();
            if let Some((until, row)) = claimed {
                match self.turn(until, &row).await {
                    Over::Stopped => return,
                    Over::Lost => tracing::info!(target_name = self.target.name, "another node delivers from now on"),
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// What the store answered; that it cannot is said once.
    fn heard<T>(&mut self, answer: Result<T, Fault>) -> Option<T> {
        match answer {
            Ok(answer) => {
                self.away = false;
                Some(answer)
            }
            Err(fault) => {
                if !std::mem::replace(&mut self.away, true) {
                    let error = &fault as &dyn std::error::Error;
                    tracing::warn!(error, target_name = self.target.name, "events cannot be delivered yet");
                }
                None
            }
        }
    }

    /// Delivers until another node does, or the end.
    async fn turn(&mut self, until: Timestamp, row: &TargetRow) -> Over {
        let rules = self.sender.rules(&self.target);
        let window = Window::new(rules, row.position, row.failing_since.map(Timestamp));
        let (now, looked_at) = (Instant::now(), Timestamp(i64::MIN));
        let mut turn = Turn { window, sends: JoinSet::new(), until, settled: now, looked: None, looked_at };
        loop {
            self.log_end.borrow_and_update();
            if self.stop.is_cancelled() {
                self.finish(turn).await;
                return Over::Stopped;
            }
            match self.step(&mut turn).await {
                Ok(true) => self.away = false,
                Ok(false) => return Over::Lost,
                Err(fault) => {
                    self.heard::<()>(Err(fault));
                }
            }
            self.wait(&mut turn).await;
        }
    }

    /// Does what can be done now; answers whether this node is still the one that delivers.
    async fn step(&self, turn: &mut Turn) -> Result<bool, Fault> {
        let lease = self.app.settings.participation.lease;
        if self.app.lease_now().plus(lease * 2 / 3) >= turn.until {
            let Some((until, _)) = self.ledger.claim().await? else { return Ok(false) };
            turn.until = until;
        }
        while let Some(sent) = turn.sends.try_join_next() {
            self.learn(&mut turn.window, sent);
        }
        let late = turn.settled.elapsed() >= SETTLE || turn.window.changes.delivered >= MANY;
        if turn.window.is_unsettled() && (turn.window.is_idle() || late) && !self.settle(turn).await? {
            return Ok(false);
        }
        if !self.look(turn).await? {
            return Ok(false);
        }
        if turn.window.has_room() && turn.window.read() < *self.log_end.borrow() {
            if turn.window.is_unsettled() && !self.settle(turn).await? {
                return Ok(false);
            }
            self.read(&mut turn.window).await?;
        }
        self.send(turn);
        Ok(true)
    }

    /// Looks for what was parked and is due: once a second of the clock, and of ours, as others may change it.
    /// Answers whether this node is still the one that delivers.
    async fn look(&self, turn: &mut Turn) -> Result<bool, Fault> {
        let now = self.app.clock.now();
        let rested = turn.looked.is_some_and(|looked| looked.elapsed() < TICK);
        if rested && now < turn.looked_at.plus(TICK) {
            return Ok(true);
        }
        // What the store does not know yet would be found due once more.
        if turn.window.is_unsettled() && !self.settle(turn).await? {
            return Ok(false);
        }
        /// As many as may be on their way, and as many again.
        const MOST: usize = 128;
        let due = self.ledger.due(MOST).await?;
        turn.window.add_due(due);
        (turn.looked, turn.looked_at) = (Some(Instant::now()), now);
        Ok(true)
    }

    /// Reads on.
    async fn read(&self, window: &mut Window) -> Result<(), Fault> {
        let after = window.read();
        // A standby in office may know less than was once known.
        let end = outbox::end(&self.app).await?;
        let page = outbox::page(&self.app, after, PAGE).await?;
        let last = page.last().map_or(end.max(after), |row| row.position);
        let forgotten = last - after - page.len() as i64;
        if forgotten > 0 {
            let name = &self.target.name;
            tracing::warn!(target_name = name, events = forgotten, "events were forgotten before they were delivered");
        }
        let waiting = self.ledger.waiting(after, last).await?;
        let wanted: Vec<_> = page.into_iter().filter(|row| self.wants(row)).map(entry).collect();
        window.add(wanted, &waiting, last, self.app.clock.now());
        Ok(())
    }

    fn wants(&self, row: &EventRow) -> bool {
        let Some(pattern) = &self.target.pattern else { return true };
        serde_json::from_str(&row.body).is_ok_and(|event| pattern.matches(&event))
    }

    /// Sends what may go, as long as no other node may.
    fn send(&self, turn: &mut Turn) {
        let now = self.app.clock.now();
        while self.app.lease_now() < turn.until
            && let Some(entries) = turn.window.next(now)
        {
            let (sender, seconds, begun) = (self.sender.clone(), self.figures.seconds.clone(), Instant::now());
            turn.sends.spawn(async move {
                let outcomes = sender.send(&entries).await;
                seconds.observe(begun.elapsed().as_secs_f64());
                entries.iter().map(|entry| entry.position).zip(outcomes).collect()
            });
        }
    }

    fn learn(&self, window: &mut Window, sent: Result<Vec<(i64, Outcome)>, tokio::task::JoinError>) {
        let random = || {
            let bytes = self.app.ids.bytes();
            u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
        };
        match sent {
            Ok(results) => {
                let taken = results.iter().filter(|(_, outcome)| *outcome == Outcome::Taken).count();
                self.figures.delivered.inc_by(taken as u64);
                self.figures.failed.inc_by((results.len() - taken) as u64);
                window.done(results, self.app.clock.now(), random);
            }
            Err(bug) => std::panic::resume_unwind(bug.into_panic()),
        }
    }

    /// Writes down what was learned.
    async fn settle(&self, turn: &mut Turn) -> Result<bool, Fault> {
        if !self.ledger.settle(&turn.window).await? {
            return Ok(false);
        }
        let moved = !turn.window.changes.taken.is_empty() || !turn.window.changes.parked.is_empty();
        if moved {
            // What waited behind it is due.
            turn.looked = None;
            turn.looked_at = Timestamp(i64::MIN);
        }
        if let Some((error, _)) = &turn.window.changes.error {
            tracing::debug!(target_name = self.target.name, error, "an event was not taken");
        }
        turn.window.settle();
        turn.settled = Instant::now();
        Ok(true)
    }

    /// Waits until there is something to do.
    async fn wait(&mut self, turn: &mut Turn) {
        let now = self.app.clock.now();
        let mut most = TICK;
        if !self.away {
            if turn.window.has_room() && turn.window.read() < *self.log_end.borrow() {
                return tokio::task::yield_now().await;
            }
            if let Some(due) = turn.window.due() {
                most = most.min(Duration::from_millis(u64::try_from(due.0.saturating_sub(now.0)).unwrap_or(0)));
            }
            if turn.window.is_unsettled() {
                let left = if turn.window.is_idle() { Duration::ZERO } else { SETTLE };
                most = most.min(left);
            } else if turn.looked.is_none() {
                most = Duration::ZERO;
            }
        }
        tokio::select! {
            () = self.stop.cancelled() => {}
            Some(sent) = turn.sends.join_next() => self.learn(&mut turn.window, sent),
            _ = self.log_end.changed(), if !self.away => {}
            () = self.ear.heard(), if !self.away => {}
            () = tokio::time::sleep(most) => {}
        }
    }

    /// Waits for what is on its way, writes it down, and lets another node deliver.
    async fn finish(&mut self, mut turn: Turn) {
        let rest = async {
            while let Some(sent) = turn.sends.join_next().await {
                self.learn(&mut turn.window, sent);
            }
        };
        let _ = tokio::time::timeout(super::GRACE / 2, rest).await;
        let settled = if turn.window.is_unsettled() { self.ledger.settle(&turn.window).await } else { Ok(true) };
        if self.heard(settled) == Some(true) {
            let released = self.ledger.release().await;
            self.heard(released);
        }
    }
}

fn entry(row: EventRow) -> Entry {
    let EventRow { position, account, region, stage_id, id, body, written_at, .. } = row;
    Entry { position, stage: StageKey { account, region, stage_id }, id, body, written_at }
}
