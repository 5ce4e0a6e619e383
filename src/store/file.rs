//! The database file of an embedded store: created for its owner alone, known by its canonical path, and locked by inode
//! for one server at a time.

use super::OpenError;
use super::sqlite::descriptors;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Read and write for the owner. SQLite gives `-wal` and `-shm` the mode of the database file.
const OWNER_ONLY: u32 = 0o600;

/// Inodes that servers in this process have locked: the lock of the system is the process's, not the server's.
static LOCKED: Mutex<BTreeSet<Inode>> = Mutex::new(BTreeSet::new());

/// Device and inode number.
type Inode = (u64, u64);

/// The database file, opened beside SQLite.
pub(super) struct DatabaseFile {
    /// Without symbolic links: SQLite names `-wal` and `-shm` after the path that it is given.
    pub path: PathBuf,
    file: Arc<File>,
    /// Whether this process has just created it.
    pub created: bool,
}

impl DatabaseFile {
    /// Opens the file, and creates it if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::File { path: path.to_owned(), source };
        let mut options = File::options();
        options.append(true).mode(OWNER_ONLY);
        // Closing this descriptor drops no lock of SQLite's: the file is new.
        let created = match options.clone().create_new(true).open(path) {
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(failed(error)),
        };
        let file = descriptors::open(path, options.create(true)).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        Ok(DatabaseFile { path, file, created })
    }

    /// Refuses a file with a second hard link. SQLite names the write-ahead log after the path, so that two processes
    /// that use two names of one file do not see each other's commits and damage it.
    pub(super) fn check_links(&self) -> Result<(), OpenError> {
        let found = self.file.metadata().map_err(|source| self.failed(source))?;
        match found.nlink() {
            0 | 1 => Ok(()),
            links => Err(OpenError::HardLinks { path: self.path.clone(), links }),
        }
    }

    /// Takes the lock that a server holds while it uses the file.
    pub(super) fn lock(&self) -> Result<ServerLock, OpenError> {
        let found = self.file.metadata().map_err(|source| self.failed(source))?;
        let inode = (found.dev(), found.ino());
        let file = self.lock_file()?;
        if !locked().insert(inode) {
            return Err(OpenError::InUse(self.path.clone()));
        }
        let lock = ServerLock { file, inode };
        match lock.file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(self.path.clone())),
            Err(TryLockError::Error(source)) => return Err(self.failed(source)),
        }
        // Between opening and locking, a start that failed may have removed the file: SQLite would open another one.
        let named = std::fs::metadata(&self.path).map_err(|source| self.failed(source))?;
        if (named.dev(), named.ino()) != inode {
            return Err(OpenError::InUse(self.path.clone()));
        }
        Ok(lock)
    }

    /// What is locked: the database file itself, so that neither its name nor another file matters. That needs a kernel
    /// whose `flock` is independent of the `fcntl` locks that SQLite takes on the same file: Linux, on file systems of its
    /// own. Elsewhere it is a file beside the database.
    fn lock_file(&self) -> Result<Arc<File>, OpenError> {
        if flock_is_independent(&self.file) {
            return Ok(self.file.clone());
        }
        let beside = with_suffix(&self.path, ".lock");
        let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(OWNER_ONLY).open(&beside);
        opened.map(Arc::new).map_err(|source| OpenError::File { path: beside, source })
    }

    fn failed(&self, source: io::Error) -> OpenError {
        OpenError::File { path: self.path.clone(), source }
    }
}

fn locked() -> std::sync::MutexGuard<'static, BTreeSet<Inode>> {
    LOCKED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(target_os = "linux")]
fn flock_is_independent(file: &File) -> bool {
    /// NFS, CIFS and SMB2 map `flock` to byte-range locks of the server (linux/magic.h).
    const NETWORK: [u32; 3] = [0x6969, 0xff53_4d42, 0xfe53_4d42];
    // The width of the type differs between architectures; the numbers have 32 bits.
    rustix::fs::fstatfs(file).is_ok_and(|found| !NETWORK.contains(&(found.f_type as u32)))
}

#[cfg(not(target_os = "linux"))]
fn flock_is_independent(_: &File) -> bool {
    false
}

/// Held while a server uses a database file.
#[derive(Debug)]
pub(super) struct ServerLock {
    file: Arc<File>,
    inode: Inode,
}

impl Drop for ServerLock {
    fn drop(&mut self) {
        // The descriptor stays open, as closing it would drop SQLite's locks.
        if let Err(error) = self.file.unlock() {
            tracing::debug!(%error, "database file not unlocked");
        }
        locked().remove(&self.inode);
    }
}

/// The path with something appended to the file's name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Removes a database file and what SQLite keeps beside it.
pub(super) fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let path = with_suffix(path, suffix);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "file of a failed start not removed");
            }
            _ => {}
        }
    }
}

/// Bytes that an unprivileged process can still write to the file system of `path`.
pub fn free_disk_bytes(path: &Path) -> io::Result<u64> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let found = rustix::fs::statvfs(folder)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}
