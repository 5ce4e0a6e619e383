//! What a connection sees that reads.
//!
//! To begin to read takes locks on the file, and to end takes them back, which is as much work as the rest of a small
//! read. A connection that finds the same state of the file again and again therefore stays in it, and goes on there for
//! as long as nothing is written. Whether something was is looked up before each statement ([`super::index`]), so that
//! each finds what was committed before it, by whichever process.

use super::index::Mark;
use super::run;
use rusqlite::{Connection, Result};

/// As many statements in a row find the same state before a connection stays in it: among writes, and for those who read
/// now and then, it is not worth it.
const ENOUGH: u32 = 16;

/// A connection that reads.
#[derive(Debug)]
pub(super) struct View {
    pub(super) conn: Connection,
    /// The state of the file before the last statement.
    last: Option<Mark>,
    /// How many statements in a row have found it.
    alike: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Each statement sees the file as it is.
    Passing,
    /// The connection stays in the state that is the last mark's. Staying was allowed at that time.
    Staying(Season),
    /// Whoever has the connection wants to see one state of the file, and ends that.
    Held,
    /// It was to be left, which has failed.
    Stuck,
}

/// A time in which connections may stay where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Season(pub u64);

impl View {
    pub(super) fn new(conn: Connection) -> Self {
        View { conn, last: None, alike: 0, state: State::Passing }
    }

    /// Makes sure that the next statement sees the file as it is at `mark` or later, and nothing older.
    pub(super) fn look(&mut self, mark: Option<Mark>, season: Option<Season>) -> Result<()> {
        if self.state == State::Held {
            return Ok(());
        }
        let same = mark.is_some() && mark == self.last;
        if same && season.is_some() && self.staying() == season {
            return Ok(());
        }
        self.alike = if same { self.alike.saturating_add(1) } else { 0 };
        self.leave_state()?;
        self.last = mark;
        if let (Some(season), true) = (season, self.alike >= ENOUGH) {
            // The state is the file's at the next statement. If something is written until then, that is not what `mark`
            // says, and the one after it looks anew.
            run(&self.conn, "BEGIN")?;
            self.state = State::Staying(season);
        }
        Ok(())
    }

    /// Sees one state of the file from now on.
    pub(super) fn hold(&mut self) {
        self.state = State::Held;
    }

    /// Since when the connection stays where it is; `None` if it does not.
    pub(super) fn staying(&self) -> Option<Season> {
        match self.state {
            State::Staying(since) => Some(since),
            State::Passing | State::Held | State::Stuck => None,
        }
    }

    /// Whether the connection keeps anything of the file from changing.
    pub(super) fn is_passing(&self) -> bool {
        self.state == State::Passing
    }

    /// Leaves the state that the connection is in. After a failure, it is of no use any longer.
    pub(super) fn leave(&mut self) -> Result<()> {
        self.alike = 0;
        self.leave_state()
    }

    fn leave_state(&mut self) -> Result<()> {
        if self.state == State::Passing {
            return Ok(());
        }
        (self.state, self.last, self.alike) = (State::Stuck, None, 0);
        // SQLite has left it by itself after some errors.
        if !self.conn.is_autocommit() {
            run(&self.conn, "ROLLBACK")?;
        }
        self.state = State::Passing;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::index::Mark;
    use super::*;
    use rusqlite::hooks::{AuthAction, AuthContext, Authorization, TransactionOperation};

    fn read(view: &mut View, mark: Option<&Mark>, season: Option<Season>) -> bool {
        view.look(mark.cloned(), season).unwrap();
        view.conn.query_row("SELECT COUNT(*) FROM sqlite_master", [], |_| Ok(())).unwrap();
        view.staying().is_some()
    }

    #[test]
    fn it_stays_where_it_finds_the_same_again_and_again_and_nowhere_else() {
        let mut view = View::new(Connection::open_in_memory().unwrap());
        let (one, other) = (Mark::of(1), Mark::of(2));
        let (spring, summer) = (Some(Season(2)), Some(Season(4)));
        let times = usize::try_from(ENOUGH).unwrap();
        let stay = |view: &mut View, mark: &Mark| {
            assert!(!read(view, None, spring));
            for _ in 0..times {
                assert!(!read(view, Some(mark), spring));
            }
            assert!(read(view, Some(mark), spring) && !view.conn.is_autocommit());
        };
        stay(&mut view, &one);
        assert!(!read(&mut view, Some(&other), spring), "something was written");
        stay(&mut view, &one);
        assert!(!read(&mut view, None, spring), "that cannot be said");
        stay(&mut view, &other);
        assert!(!read(&mut view, Some(&other), None), "none may stay");
        stay(&mut view, &other);
        assert!(!read(&mut view, Some(&other), summer), "none might meanwhile");
        stay(&mut view, &one);
        view.leave().unwrap();
        assert!(view.is_passing() && view.conn.is_autocommit());
        // It may have been left by SQLite.
        stay(&mut view, &one);
        view.conn.execute_batch("ROLLBACK").unwrap();
        assert!(!read(&mut view, Some(&other), spring));
        for _ in 0..99 {
            assert!(!read(&mut view, None, spring) && !read(&mut view, Some(&one), None));
        }
    }

    #[test]
    fn a_state_that_cannot_be_left_is_not_read_again() {
        let mut view = View::new(Connection::open_in_memory().unwrap());
        let (mark, spring) = (Mark::of(1), Some(Season(2)));
        while !read(&mut view, Some(&mark), spring) {}
        let refuse = |asked: AuthContext<'_>| match asked.action {
            AuthAction::Transaction { operation: TransactionOperation::Rollback } => Authorization::Deny,
            _ => Authorization::Allow,
        };
        view.conn.authorizer(Some(refuse)).unwrap();
        assert!(view.leave().is_err() && !view.is_passing() && view.staying().is_none());
        assert!(view.look(Some(mark.clone()), spring).is_err(), "the mark is none of this state's");
        view.conn.authorizer(None::<fn(AuthContext<'_>) -> Authorization>).unwrap();
        assert!(!read(&mut view, Some(&mark), spring) && view.conn.is_autocommit());
    }

    #[test]
    fn whoever_holds_a_state_keeps_it() {
        let mut view = View::new(Connection::open_in_memory().unwrap());
        view.conn.execute_batch("BEGIN").unwrap();
        view.hold();
        for mark in [1, 2, 3] {
            assert!(!read(&mut view, Some(&Mark::of(mark)), Some(Season(0))) && !view.conn.is_autocommit());
        }
        view.leave().unwrap();
        assert!(view.conn.is_autocommit());
    }
}
