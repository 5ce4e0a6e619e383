//! The one connection that writes, and who has it: one at a time, in the order of asking. It goes from hand to hand
//! without a task of its own: whoever is done with it gives it to the next, also when that is in a `Drop`.
//!
//! Transactions share commits. What is done by [`super::Transaction`] is part of one transaction of the engine, the
//! group's, until somebody commits it for all of them. Whoever is done with his part gives the connection away, lets
//! others go first who are ready to write, and asks for it again; who of the group has it first commits, and tells the
//! others. Nobody is told that his part lasts before it does.

use super::log::Log;
use crate::store::cause::{Cause, is_busy, is_full};
use rusqlite::Connection;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Most transactions that share a commit.
const MOST: usize = 128;

/// The shortest and the longest time from one try to the next, while another process writes.
const SOON: Duration = Duration::from_millis(1);
const LATER: Duration = Duration::from_millis(20);

/// Where the connection lies while nobody has it.
#[derive(Debug)]
pub(super) struct Desk {
    state: Mutex<State>,
    /// How long to wait for a turn, and for another process.
    patience: Duration,
    /// The log of the file; in memory, there is none, and no commit is worth sharing.
    log: Option<Arc<Log>>,
}

#[derive(Debug)]
struct State {
    seat: Option<Box<Seat>>,
    /// Nobody waits while the seat is here.
    queue: VecDeque<Waiting>,
    closed: bool,
}

/// Somebody who waits for his turn.
#[derive(Debug)]
struct Waiting {
    turn: oneshot::Sender<Turn>,
    /// The group that he would commit: after its end, he needs no turn.
    group: Option<u64>,
}

/// The connection, and the group whose transaction is open on it.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) conn: Connection,
    group: u64,
    members: Vec<oneshot::Sender<Ended>>,
    /// Whether the engine's transaction is to leave no trace, and could not be ended.
    spoilt: bool,
}

/// How a commit ended.
pub(super) type Ended = Result<(), Failed>;

/// Why nobody is told that it lasts.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub cause: Cause,
    /// Whether nothing was written, for certain.
    pub nothing: bool,
}

impl Seat {
    /// Ends the group: what it wrote lasts, or nothing of it does.
    fn commit(&mut self) -> Ended {
        if self.spoilt {
            self.undo();
            return Err(Failed { cause: Cause::Lost, nothing: true });
        }
        let Err(error) = super::run(&self.conn, "COMMIT") else { return Ok(()) };
        // The engine ends the transaction unless it could not even begin to write. On a full disk, what marks the
        // commit was not written.
        let open = !self.conn.is_autocommit();
        if open {
            self.undo();
        }
        let nothing = open || is_full(&error);
        Err(Failed { cause: error.into(), nothing })
    }

    /// Ends the engine's transaction without a trace.
    pub(super) fn undo(&mut self) {
        let undone = super::run(&self.conn, "ROLLBACK");
        self.spoilt = !self.conn.is_autocommit();
        if let (Err(error), true) = (undone, self.spoilt) {
            tracing::error!(%error, "SQLite does not roll back");
        }
    }

    /// Takes those in who wait to be told the outcome, and begins a new group.
    pub(super) fn dismiss(&mut self) -> Vec<oneshot::Sender<Ended>> {
        self.group += 1;
        std::mem::take(&mut self.members)
    }

    /// Whether nothing is written yet that others wait for.
    pub(super) fn is_clear(&self) -> bool {
        self.spoilt || self.conn.is_autocommit()
    }

    /// Whether something is to be committed, and nobody will come to do it.
    fn is_forsaken(&self) -> bool {
        !self.spoilt && !self.conn.is_autocommit() && self.members.iter().all(oneshot::Sender::is_closed)
    }
}

/// Tells the members of a group how it ended.
pub(super) fn tell(members: Vec<oneshot::Sender<Ended>>, ended: &Ended) {
    for member in members {
        // Who has gone meanwhile need not know.
        let _ = member.send(ended.clone());
    }
}

/// Whoever has this has the connection. Dropped, it goes to the next.
#[derive(Debug)]
pub(super) struct Turn {
    desk: Arc<Desk>,
    seat: Option<Box<Seat>>,
}

enum Asked {
    Now(Turn),
    Later(oneshot::Receiver<Turn>),
}

impl Desk {
    pub(super) fn new(conn: Connection, patience: Duration, log: Option<Arc<Log>>) -> Arc<Self> {
        let seat = Box::new(Seat { conn, group: 0, members: Vec::new(), spoilt: false });
        let state = State { seat: Some(seat), queue: VecDeque::new(), closed: false };
        Arc::new(Desk { state: Mutex::new(state), patience, log })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody has the connection.
    pub(super) fn is_free(&self) -> bool {
        self.state().seat.is_some()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    fn ask(self: &Arc<Self>, state: &mut State, group: Option<u64>) -> Asked {
        if let Some(seat) = state.seat.take() {
            return Asked::Now(Turn { desk: self.clone(), seat: Some(seat) });
        }
        let (turn, later) = oneshot::channel();
        state.queue.push_back(Waiting { turn, group });
        Asked::Later(later)
    }

    /// The connection, when it is one's turn.
    pub(super) async fn turn(self: &Arc<Self>) -> Result<Turn, Cause> {
        let asked = {
            let mut state = self.state();
            if state.closed {
                return Err(Cause::Closed);
            }
            self.ask(&mut state, None)
        };
        match asked {
            Asked::Now(turn) => Ok(turn),
            Asked::Later(later) => {
                tokio::time::timeout(self.patience, later).await.map_err(|_| Cause::Late)?.map_err(|_| Cause::Closed)
            }
        }
    }

    /// Puts the connection into the next one's hands.
    fn pass(self: &Arc<Self>, mut seat: Box<Seat>) {
        loop {
            let mut state = self.state();
            let Some(next) = state.queue.pop_front() else {
                if !seat.is_forsaken() {
                    state.seat = Some(seat);
                    return;
                }
                drop(state);
                self.settle(&mut seat);
                continue;
            };
            drop(state);
            if next.group.is_some_and(|group| group != seat.group) {
                continue;
            }
            let Err(mut back) = next.turn.send(Turn { desk: self.clone(), seat: Some(seat) }) else { return };
            // He has gone.
            let Some(again) = back.seat.take() else { return };
            seat = again;
        }
    }

    /// Commits what is forsaken, once somebody has gone who would have done it.
    fn tidy(self: &Arc<Self>) {
        let mut state = self.state();
        if !state.seat.as_ref().is_some_and(|seat| seat.is_forsaken()) {
            return;
        }
        let Some(mut seat) = state.seat.take() else { return };
        drop(state);
        self.settle(&mut seat);
        self.pass(seat);
    }

    /// Commits for the whole group; answers who is to be told, and what.
    fn finish(&self, seat: &mut Seat) -> (Vec<oneshot::Sender<Ended>>, Ended) {
        let ended = seat.commit();
        if let (Ok(()), Some(log)) = (&ended, &self.log) {
            log.prove();
        }
        (seat.dismiss(), ended)
    }

    /// Has the log moved on after a commit, if it is long.
    fn look(&self, ended: &Ended) {
        if let (Ok(()), Some(log)) = (ended, &self.log) {
            log.look();
        }
    }

    /// Commits for the whole group, and tells whoever is still there.
    fn settle(&self, seat: &mut Seat) {
        let (members, ended) = self.finish(seat);
        self.look(&ended);
        tell(members, &ended);
    }

    /// Refuses whoever asks from now on, waits for those who have asked before, and takes the connection away.
    pub(super) async fn close(self: &Arc<Self>) -> Option<Connection> {
        let asked = {
            let mut state = self.state();
            if std::mem::replace(&mut state.closed, true) {
                return None;
            }
            self.ask(&mut state, None)
        };
        let mut turn = match asked {
            Asked::Now(turn) => turn,
            Asked::Later(later) => later.await.ok()?,
        };
        let mut seat = turn.seat.take()?;
        if !seat.conn.is_autocommit() {
            self.settle(&mut seat);
        }
        Some(seat.conn)
    }
}

impl Turn {
    pub(super) fn seat(&mut self) -> Result<&mut Seat, Cause> {
        self.seat.as_deref_mut().ok_or(Cause::Closed)
    }

    pub(super) fn conn(&self) -> Result<&Connection, Cause> {
        self.seat.as_deref().map(|seat| &seat.conn).ok_or(Cause::Closed)
    }

    /// Begins the engine's transaction; while another process writes, tries again until `patience` is over.
    pub(super) async fn begin(&mut self) -> Result<(), Cause> {
        let seat = self.seat()?;
        if seat.spoilt {
            seat.undo();
        }
        let deadline = Instant::now() + self.desk.patience;
        let mut pause = SOON;
        loop {
            let Err(error) = super::run(self.conn()?, "BEGIN IMMEDIATE") else { return Ok(()) };
            if !is_busy(&error) {
                return Err(error.into());
            }
            if Instant::now() + pause > deadline {
                tracing::debug!(%error, "another process has been writing for too long");
                return Err(Cause::Late);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LATER);
        }
    }

    /// Makes one's part of the group's transaction last, with the rest of it.
    pub(super) async fn share(mut self) -> Ended {
        let desk = self.desk.clone();
        let (told, outcome) = oneshot::channel();
        let Some(seat) = self.seat.as_deref_mut() else { return Err(gone()) };
        seat.members.push(told);
        let group = seat.group;
        let full = desk.log.is_none() || seat.members.len() >= MOST;
        let member = Member { desk, group, outcome, told: false };
        if full {
            self.commit().await;
            return member.look();
        }
        drop(self);
        // Whoever is ready to write does so before.
        tokio::task::yield_now().await;
        member.see_to_it().await
    }

    /// Commits for the whole group. Whatever becomes of the caller, it is done and told.
    async fn commit(self) {
        let slow = self.desk.log.as_ref().is_some_and(|log| log.commit_is_slow());
        match Handle::try_current() {
            Ok(runtime) if slow => {
                // The work goes on when nobody waits for it any more; whoever closes the store waits for the connection.
                let _ = runtime.spawn_blocking(|| self.commit_here()).await;
            }
            _ => self.commit_here(),
        }
    }

    fn commit_here(mut self) {
        let Some(mut seat) = self.seat.take() else { return };
        let (members, ended) = self.desk.finish(&mut seat);
        self.desk.pass(seat);
        self.desk.look(&ended);
        tell(members, &ended);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            self.desk.pass(seat);
        }
    }
}

/// One of a group, who waits for its commit. Dropped before, he leaves it to the others; the last one's is done at once.
struct Member {
    desk: Arc<Desk>,
    group: u64,
    outcome: oneshot::Receiver<Ended>,
    told: bool,
}

impl Member {
    /// Commits for the group, unless somebody else does before it is one's turn.
    async fn see_to_it(mut self) -> Ended {
        if let Ok(ended) = self.outcome.try_recv() {
            return self.told(Some(ended));
        }
        let asked = self.desk.ask(&mut self.desk.state(), Some(self.group));
        let turn = match asked {
            Asked::Now(turn) => Some(turn),
            Asked::Later(later) => tokio::select! {
                biased;
                ended = &mut self.outcome => return self.told(ended.ok()),
                turn = later => turn.ok(),
            },
        };
        match turn {
            Some(turn) if turn.seat.as_deref().is_some_and(|seat| seat.group == self.group) => {
                turn.commit().await;
                self.look()
            }
            // Somebody else has committed, and is about to tell.
            _ => {
                let ended = (&mut self.outcome).await.ok();
                self.told(ended)
            }
        }
    }

    /// What one has been told by now.
    fn look(mut self) -> Ended {
        let ended = self.outcome.try_recv().ok();
        self.told(ended)
    }

    fn told(mut self, ended: Option<Ended>) -> Ended {
        self.told = ended.is_some();
        ended.unwrap_or_else(|| Err(gone()))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if !self.told {
            self.outcome.close();
            self.desk.tidy();
        }
    }
}

/// The connection was lost with whoever had it, and with it what became of the commit.
fn gone() -> Failed {
    Failed { cause: Cause::Closed, nothing: false }
}
