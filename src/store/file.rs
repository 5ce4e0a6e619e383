//! The database file of an embedded store: created for its owner alone, known by its canonical path, and locked by inode
//! for one server at a time.
//!
//! A process loses its POSIX locks on a file when it closes any descriptor of it, those of SQLite included ("How To
//! Corrupt An SQLite Database File", 2.2.1, <https://www.sqlite.org/howtocorrupt.html>). So the file is opened here only
//! when it is new and to lock it, which is before SQLite opens it, and closed after SQLite has closed it.

use super::OpenError;
use rustix::fs::Access;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Read and write for the owner. SQLite gives `-wal` and `-shm` the mode of the database file.
const OWNER_ONLY: u32 = 0o600;

/// Inodes that servers in this process have locked: a second one must not open the file to find that out.
static LOCKED: Mutex<BTreeSet<Inode>> = Mutex::new(BTreeSet::new());

/// Device and inode number.
type Inode = (u64, u64);

/// The database file.
pub(super) struct DatabaseFile {
    /// Without symbolic links: SQLite names `-wal` and `-shm` after the path that it is given.
    pub path: PathBuf,
    /// Whether this process has just created it.
    pub created: bool,
}

impl DatabaseFile {
    /// Finds the file, and creates it if it does not exist.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::File { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        options.append(true).mode(OWNER_ONLY);
        let created = match options.clone().create_new(true).open(path) {
            Ok(_) => true,
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            // A symbolic link to a file that does not exist.
            Err(_) if !path.exists() => {
                options.create(true).open(path).map_err(failed)?;
                false
            }
            Err(_) => false,
        };
        let path = path.canonicalize().map_err(failed)?;
        if path.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        rustix::fs::access(&path, Access::READ_OK | Access::WRITE_OK).map_err(|error| failed(error.into()))?;
        Ok(DatabaseFile { path, created })
    }

    /// Refuses a file with a second hard link. SQLite names the write-ahead log after the path, so that two processes
    /// that use two names of one file do not see each other's commits and damage it.
    pub(super) fn check_links(&self) -> Result<(), OpenError> {
        match self.metadata()?.nlink() {
            0 | 1 => Ok(()),
            links => Err(OpenError::HardLinks { path: self.path.clone(), links }),
        }
    }

    /// Takes the lock that a server holds while it uses the file.
    pub(super) fn lock(&self) -> Result<ServerLock, OpenError> {
        let inode = self.inode()?;
        let in_use = || OpenError::InUse(self.path.clone());
        let claim = Claim::new(inode).ok_or_else(in_use)?;
        let file = self.open_lock_file()?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use()),
            Err(TryLockError::Error(source)) => return Err(self.failed(source)),
        }
        // Before it was locked, a start that failed may have removed the file: SQLite would open another one.
        if self.inode()? != inode {
            return Err(in_use());
        }
        Ok(ServerLock { _file: file, _claim: claim })
    }

    /// Opens what is locked: the database file itself, so that neither its name nor another file matters. That needs a
    /// kernel whose `flock` is independent of the `fcntl` locks that SQLite takes on the same file: Linux, on local file
    /// systems. Elsewhere it is a file beside the database.
    fn open_lock_file(&self) -> Result<File, OpenError> {
        let itself = flock_is_independent(&self.path);
        let path = if itself { self.path.clone() } else { with_suffix(&self.path, ".lock") };
        let opened = OpenOptions::new().append(true).create(!itself).mode(OWNER_ONLY).open(&path);
        opened.map_err(|source| OpenError::File { path, source })
    }

    fn metadata(&self) -> Result<std::fs::Metadata, OpenError> {
        std::fs::metadata(&self.path).map_err(|source| self.failed(source))
    }

    fn inode(&self) -> Result<Inode, OpenError> {
        self.metadata().map(|found| (found.dev(), found.ino()))
    }

    fn failed(&self, source: io::Error) -> OpenError {
        OpenError::File { path: self.path.clone(), source }
    }
}

#[cfg(target_os = "linux")]
fn flock_is_independent(path: &Path) -> bool {
    /// NFS, CIFS and SMB2 map `flock` to byte-range locks of the server (linux/magic.h).
    const NETWORK: [u32; 3] = [0x6969, 0xff53_4d42, 0xfe53_4d42];
    // The width of the type differs between architectures; the numbers have 32 bits.
    rustix::fs::statfs(path).is_ok_and(|found| !NETWORK.contains(&(found.f_type as u32)))
}

#[cfg(not(target_os = "linux"))]
fn flock_is_independent(_: &Path) -> bool {
    false
}

/// Held while a server uses a database file. Dropped after SQLite has closed it.
#[derive(Debug)]
pub(super) struct ServerLock {
    _file: File,
    _claim: Claim,
}

/// The inode's entry in [`LOCKED`].
#[derive(Debug)]
struct Claim(Inode);

impl Claim {
    fn new(inode: Inode) -> Option<Claim> {
        let is_first = LOCKED.lock().unwrap_or_else(PoisonError::into_inner).insert(inode);
        // Not `then_some`: a claim that is dropped releases the inode.
        is_first.then(|| Claim(inode))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        LOCKED.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// The path with `suffix` appended to the file's name.
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
