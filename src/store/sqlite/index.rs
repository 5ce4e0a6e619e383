//! The index of the log, which SQLite shares with whoever has the file open. What stands at its beginning changes with
//! every commit, whoever makes it, and when the log starts anew: <https://www.sqlite.org/walformat.html>, "The WAL-Index
//! File Format". Whoever has read it knows, for the price of one call of the system, whether anything was written since.

use super::descriptors;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// How long one copy is of what stands at the beginning. A second copy follows it, which a commit writes first.
const COPY: usize = 48;
/// What a copy begins with: the version of the format.
const VERSION: u32 = 3_007_000;

/// The file as it was after some commit: equal to another only if nothing was written between the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Mark([u8; COPY]);

/// The index of a file's log.
#[derive(Debug)]
pub(super) struct Index {
    path: Option<PathBuf>,
    /// Set when it has been seen that reading it tells of commits.
    file: OnceLock<Arc<File>>,
}

impl Index {
    /// The index of `path`, which is open.
    pub(super) fn new(path: &Path) -> Self {
        let path = path.canonicalize().ok().map(|path| {
            let mut path = path.into_os_string();
            path.push("-shm");
            path.into()
        });
        Index { path, file: OnceLock::new() }
    }

    /// How the file is now, and every commit in it that anybody has been told of; `None` if that cannot be said.
    pub(super) fn mark(&self) -> Option<Mark> {
        read(self.file.get()?)
    }

    /// Looks whether the index tells of a commit of ours that has left `pages` in the log. Until it does, it is not relied
    /// upon: there are file systems where what SQLite shares is not what others read.
    pub(super) fn prove(&self, pages: i32) {
        if self.file.get().is_some() {
            return;
        }
        let Some(path) = &self.path else { return };
        let Ok(file) = descriptors::open(path, File::options().read(true)) else { return };
        if read(&file).is_some_and(|mark| mark.number(0) == VERSION && i64::from(mark.number(16)) == i64::from(pages)) {
            let _ = self.file.set(file);
        }
    }
}

impl Mark {
    #[cfg(test)]
    pub(super) fn of(byte: u8) -> Self {
        Mark([byte; COPY])
    }

    fn number(&self, place: usize) -> u32 {
        self.0.get(place..place + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
    }
}

fn read(file: &File) -> Option<Mark> {
    let mut both = [0; 2 * COPY];
    if file.read_at(&mut both, 0).ok()? < both.len() {
        return None;
    }
    let (first, second) = both.split_at(COPY);
    // They differ while somebody writes them. The byte is 1 once there is anything.
    if first != second || first[12] == 0 {
        return None;
    }
    first.try_into().ok().map(Mark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;
    use std::time::Duration;

    /// Commits, and answers how many pages there are in the log.
    fn write(conn: &Connection) -> i32 {
        conn.execute_batch("INSERT INTO numbers VALUES (1)").unwrap();
        conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1)).unwrap()
    }

    #[test]
    fn the_mark_changes_with_what_is_written_and_is_not_relied_upon_before_that_is_seen() {
        let folder = std::env::temp_dir().join(format!("greenroom-index-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.db");
        let open = || Connection::open(&path).unwrap();
        let conn = open();
        let index = Index::new(&path);
        index.prove(0);
        assert_eq!(index.mark(), None, "there is none yet");
        conn.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE numbers (number)").unwrap();
        let pages = write(&conn);
        index.prove(pages + 1);
        assert_eq!(index.mark(), None);
        index.prove(pages);

        let first = index.mark().expect("it tells of the commit");
        conn.execute_batch("BEGIN; SELECT * FROM numbers; COMMIT; BEGIN IMMEDIATE; ROLLBACK").unwrap();
        open().execute_batch("SELECT * FROM numbers; PRAGMA wal_checkpoint").unwrap();
        assert_eq!(index.mark().unwrap(), first, "nothing was written");
        let mut marks = vec![first];
        for round in 0..9 {
            let beside = open();
            beside.busy_timeout(Duration::ZERO).unwrap();
            write(if round % 2 == 0 { &conn } else { &beside });
            if round % 3 == 0 {
                beside.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
            }
            let mark = index.mark().unwrap();
            assert!(!marks.contains(&mark), "{round}");
            marks.push(mark);
        }
        // Another store of the same file has the same descriptor.
        let again = Index::new(&path);
        again.prove(write(&conn));
        assert!(Arc::ptr_eq(index.file.get().unwrap(), again.file.get().unwrap()));
        assert_eq!(index.mark(), again.mark());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
