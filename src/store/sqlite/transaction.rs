//! A transaction of ours: a whole one of the engine, or a part of one that others have begun.

use super::desk::{Ended, Failed, Turn, tell};
use super::run;
use crate::store::cause::Cause;
use rusqlite::Connection;

/// Something to write in. Dropped without a commit, it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Transaction {
    turn: Option<Turn>,
    part: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// It has begun the engine's transaction, and nobody has anything in that yet but itself.
    First,
    /// Others have written before, and wait for the commit.
    Later,
    /// The engine has taken everything back.
    Lost,
}

impl Transaction {
    pub(super) async fn begin(mut turn: Turn) -> Result<Self, Cause> {
        let part = if turn.seat()?.is_clear() {
            turn.begin().await?;
            Part::First
        } else {
            run(turn.conn()?, "SAVEPOINT part")?;
            Part::Later
        };
        Ok(Transaction { turn: Some(turn), part })
    }

    pub(super) fn conn(&self) -> Result<&Connection, Cause> {
        match (&self.turn, self.part) {
            // Outside of a transaction, a statement would last at once.
            (_, Part::Lost) => Err(Cause::Lost),
            (Some(turn), _) => turn.conn(),
            (None, _) => Err(Cause::Closed),
        }
    }

    /// Looks, after a failure, whether the engine has ended its transaction, as it does when the disk is full: nobody who
    /// has a part in it is told that it lasts.
    pub(super) fn look(&mut self) {
        let Some(turn) = &mut self.turn else { return };
        let Ok(seat) = turn.seat() else { return };
        if self.part == Part::Lost || !seat.conn.is_autocommit() {
            return;
        }
        self.part = Part::Lost;
        tell(seat.dismiss(), &lost());
    }

    /// Makes it last.
    pub(super) async fn commit(mut self) -> Ended {
        if self.part == Part::Lost {
            return lost();
        }
        if self.part == Part::Later {
            let released = self.conn().and_then(|conn| Ok(run(conn, "RELEASE part")?));
            if let Err(cause) = released {
                self.look();
                return Err(Failed { cause, nothing: true });
            }
        }
        match self.turn.take() {
            Some(turn) => turn.share().await,
            None => lost(),
        }
    }

    /// Takes back what was written with this, and nothing else.
    fn undo(&mut self) {
        let Some(turn) = &mut self.turn else { return };
        let Ok(seat) = turn.seat() else { return };
        match self.part {
            Part::Lost => {}
            Part::First => seat.undo(),
            Part::Later => {
                let undone = run(&seat.conn, "ROLLBACK TO part").and_then(|()| run(&seat.conn, "RELEASE part"));
                if let Err(error) = undone {
                    tracing::warn!(%error, "a part of a transaction could not be taken back: all of it is");
                    seat.undo();
                    tell(seat.dismiss(), &lost());
                }
            }
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.undo();
    }
}

fn lost() -> Ended {
    Err(Failed { cause: Cause::Lost, nothing: true })
}
