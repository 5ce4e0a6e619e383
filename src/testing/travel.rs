//! Moves the clock: everything that is due fires in its order before the clock shows a later time.

use super::TestState;
use super::participants;
use crate::app::{App, due, outbox};
use crate::clock::{ControlledClock, Timestamp};
use crate::model::fault::Fault;
use std::sync::Arc;
use tokio::sync::MutexGuard;

/// Maximum due times that one call fires.
const MAX_FIRED: u64 = 100_000;

/// A move of the clock, which stands still meanwhile; one at a time. Dropped, the clock runs on if it did before.
pub struct Travel<'a> {
    state: &'a TestState,
    clock: &'a ControlledClock,
    /// Whether the clock runs afterwards.
    pub runs: bool,
    /// Due times that have fired.
    pub fired: u64,
    _one: MutexGuard<'a, ()>,
}

/// The clock of a server, which the test API must control.
pub fn control(app: &App) -> Result<&ControlledClock, Fault> {
    app.clock().control().ok_or_else(|| Fault::conflict("The clock of this server is not controlled by the test API"))
}

impl<'a> Travel<'a> {
    /// Stops the clock.
    pub async fn begin(state: &'a TestState) -> Result<Travel<'a>, Fault> {
        let clock = control(&state.app)?;
        let one = state.travel.lock().await;
        let runs = !clock.is_frozen();
        clock.freeze(state.app.clock().now());
        Ok(Travel { state, clock, runs, fired: 0, _one: one })
    }

    fn app(&self) -> &'a Arc<App> {
        &self.state.app
    }

    pub fn now(&self) -> Timestamp {
        self.app().clock().now()
    }

    /// Sets the clock, without firing anything.
    pub fn set(&self, at: Timestamp) {
        self.clock.freeze(at);
        // Tasks that wait for a time look at the clock.
        self.app().notifier().notify();
    }

    /// Moves the clock forward to `target`, from due time to due time.
    pub async fn advance_to(&mut self, target: Timestamp) -> Result<(), Fault> {
        loop {
            let next = self.fire().await?;
            let Some(at) = next.filter(|at| *at <= target) else { break };
            if self.fired >= MAX_FIRED {
                let text = format!(
                    "{MAX_FIRED} due times have fired, and the clock shows {}; call again to go on to {target}",
                    self.now()
                );
                return Err(Fault::conflict(text));
            }
            self.set(at);
            self.fired += 1;
        }
        if target > self.now() {
            self.set(target);
        }
        Ok(())
    }

    /// Fires what is due now. Returns the next later time at which something is.
    async fn fire(&self) -> Result<Option<Timestamp>, Fault> {
        let (app, hooks) = (self.app(), &self.state.hooks);
        (hooks.end_old_streams)().await;
        let ended = participants::end_old_streams(self.state).await?;
        if due::run(app).await? | ended {
            participants::reconcile(self.state).await?;
            due::run(app).await?;
        }
        (hooks.end_recordings)().await;
        outbox::relay(app).await?;
        let delivery = (hooks.deliver)().await?;
        let streams = [(hooks.next_stream_end)(), participants::next_stream_end(self.state)];
        let now = self.now();
        let all = streams.into_iter().chain([due::next(app).await?, delivery]).flatten();
        Ok(all.filter(|at| *at > now).min())
    }

    /// Deletes events that are older than their retention, and lets the clock run on if it did before. Returns how many due
    /// times have fired.
    pub async fn end(self) -> Result<u64, Fault> {
        outbox::trim(self.app()).await?;
        Ok(self.fired)
    }
}

impl Travel<'_> {
    /// Ends the move, and shows the system's time again. Returns how many due times have fired.
    pub async fn resume(mut self) -> Result<u64, Fault> {
        self.runs = false;
        self.clock.resume();
        self.app().notifier().notify();
        outbox::trim(self.app()).await?;
        Ok(self.fired)
    }
}

impl Drop for Travel<'_> {
    fn drop(&mut self) {
        if self.runs {
            self.clock.run(self.now(), self.app().clock().real());
            self.app().notifier().notify();
        }
    }
}
