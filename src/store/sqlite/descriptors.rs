//! Files of SQLite's that are opened beside SQLite. It locks parts of them, and a process loses its locks on a file when
//! it closes any descriptor of it ("How To Corrupt An SQLite Database File", 2.2.1,
//! <https://www.sqlite.org/howtocorrupt.html>): so each is opened once in a process, and stays open until it is deleted.

use std::fs::{File, OpenOptions};
use std::io::Result;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

static OPEN: Mutex<Vec<Arc<File>>> = Mutex::new(Vec::new());

fn all() -> MutexGuard<'static, Vec<Arc<File>>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens a file, unless it is open.
pub(in crate::store) fn open(path: &Path, how: &OpenOptions) -> Result<Arc<File>> {
    // Others wait meanwhile, so that none is opened twice.
    let mut all = all();
    let is_it = |file: &&Arc<File>| match (file.metadata(), std::fs::metadata(path)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    };
    if let Some(file) = all.iter().find(is_it) {
        return Ok(file.clone());
    }
    let file = Arc::new(how.open(path)?);
    all.push(file.clone());
    Ok(file)
}

/// Closes what is deleted and has no other owner: whoever had locks on it has gone.
pub(super) fn tidy() {
    let is_there = |file: &Arc<File>| file.metadata().map_or(true, |found| found.nlink() > 0);
    all().retain(|file| Arc::strong_count(file) > 1 || is_there(file));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Weak;

    #[test]
    fn a_file_is_opened_once_and_stays_open_until_it_is_deleted() {
        let folder = std::env::temp_dir().join(format!("greenroom-descriptors-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (path, other) = (folder.join("a"), folder.join("b"));
        let mut how = OpenOptions::new();
        how.append(true).create(true);
        let open = |path: &Path| open(path, &how).unwrap();
        let is_open = |file: &Weak<File>| file.strong_count() > 0;

        let first = Arc::downgrade(&open(&path));
        std::fs::hard_link(&path, &other).unwrap();
        tidy();
        assert!(is_open(&first), "somebody may have locks on it");
        for path in [&path, &other] {
            assert!(Weak::ptr_eq(&first, &Arc::downgrade(&open(path))));
        }
        std::fs::remove_file(&path).unwrap();
        let second = open(&path);
        assert!(!Weak::ptr_eq(&first, &Arc::downgrade(&second)), "it is another file");
        std::fs::remove_dir_all(folder).unwrap();
        tidy();
        assert!(!is_open(&first));
        assert_eq!(Arc::strong_count(&second), 2, "it has another owner");
    }
}
