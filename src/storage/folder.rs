//! Buckets in a folder of this machine. Every function blocks.
//!
//! Below the folder of a bucket, no symbolic link is followed: each folder is opened relative to its parent.

use super::error::{self, NO_SUCH_BUCKET, StorageError};
use super::names;
use super::settings::FolderSettings;
use super::{Contents, MAX_OBJECT_BYTES, MAX_OBJECTS, StoredObject};
use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Readable for the server's user and group only.
const FILE_MODE: Mode = Mode::from_raw_mode(0o640);
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o750);
const FOLDER_FLAGS: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A folder with a folder for each bucket.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    create: bool,
}

impl Folder {
    pub(super) fn new(settings: FolderSettings) -> Self {
        Folder { path: settings.path, create: settings.create }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Stores an object: a reader sees the former contents or the new ones, and what is stored survives a crash of the
    /// machine. A file on the same file system is moved.
    pub(super) fn put(&self, bucket: &str, parts: &[&str], contents: &Contents) -> Result<(), StorageError> {
        let Some((name, folders)) = parts.split_last() else { return Err(error::INVALID_KEY) };
        let mut folder = self.bucket(bucket, self.create)?;
        let failed = |error: io::Error| error::of_io(&error);
        for part in folders {
            folder = open_folder(&folder, part, true).map_err(failed)?;
        }
        let moved = match contents {
            Contents::File(path) => match rustix::fs::renameat(CWD, path, &folder, *name) {
                Ok(()) => true,
                Err(rustix::io::Errno::XDEV) => false,
                // An earlier attempt, whose caller has given up, has moved it.
                Err(rustix::io::Errno::NOENT) if exists(&folder, name) && !path.exists() => true,
                Err(error) => return Err(error::of_io(&error.into())),
            },
            Contents::Bytes(_) => false,
        };
        if !moved {
            write(&folder, name, contents).map_err(failed)?;
        }
        rustix::fs::fsync(&folder).map_err(|error| error::of_io(&error.into()))
    }

    /// Reads an object.
    pub(super) fn get(&self, bucket: &str, parts: &[&str]) -> Result<Bytes, StorageError> {
        let Some((name, folders)) = parts.split_last() else { return Err(error::INVALID_KEY) };
        let mut folder = self.bucket(bucket, false)?;
        let failed = |error: io::Error| error::of_io(&error);
        for part in folders {
            folder = open_folder(&folder, part, false).map_err(failed)?;
        }
        // Without NONBLOCK, opening a named pipe would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&folder, *name, flags, Mode::empty());
        let file = File::from(opened.map_err(|error| error::of_io(&error.into()))?);
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(error::NO_SUCH_KEY);
        }
        if metadata.len() > MAX_OBJECT_BYTES {
            return Err(error::TOO_LARGE);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        file.take(MAX_OBJECT_BYTES).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes.into())
    }

    /// The objects whose key begins with `prefix`, by key.
    pub(super) fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<StoredObject>, StorageError> {
        let mut folder = self.bucket(bucket, false)?;
        let (folders, _) = prefix.rsplit_once('/').unwrap_or_default();
        if !folders.is_empty() {
            for part in names::parts(folders).ok_or(error::INVALID_KEY)? {
                folder = match open_folder(&folder, part, false) {
                    Ok(folder) => folder,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                    Err(error) => return Err(error::of_io(&error)),
                };
            }
        }
        let start = if folders.is_empty() { String::new() } else { format!("{folders}/") };
        let mut found = Vec::new();
        walk(&folder, &start, prefix, &mut found, 0)?;
        found.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    /// Whether objects can be stored in a bucket, by writing an empty file and deleting it: in its folder, or where that would
    /// be created.
    pub(super) fn check(&self, bucket: &str) -> Result<(), StorageError> {
        let folder = match self.bucket(bucket, false) {
            Err(missing) if missing == NO_SUCH_BUCKET && self.create => self.nearest()?,
            opened => opened?,
        };
        let name = temporary("check");
        let written = create(&folder, &name).map(drop);
        let removed = written.and_then(|()| Ok(rustix::fs::unlinkat(&folder, &*name, AtFlags::empty())?));
        removed.map_err(|error| error::of_io(&error))
    }

    /// Opens this folder, or the nearest one above that exists.
    fn nearest(&self) -> Result<OwnedFd, StorageError> {
        let absolute = std::path::absolute(&self.path).map_err(|error| error::of_io(&error))?;
        let existing = absolute.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(existing, flags, Mode::empty()).map_err(|error| error::of_io(&error.into()))
    }

    /// Opens the folder of a bucket.
    fn bucket(&self, bucket: &str, create: bool) -> Result<OwnedFd, StorageError> {
        if create {
            let created = DirBuilder::new().recursive(true).mode(FOLDER_MODE.as_raw_mode()).create(&self.path);
            created.map_err(|error| error::of_io(&error))?;
        }
        let missing = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => NO_SUCH_BUCKET,
            _ => error::of_io(&error),
        };
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&self.path, flags, Mode::empty()).map_err(|error| missing(error.into()))?;
        open_folder(&root, bucket, create).map_err(missing)
    }
}

/// Opens a folder in a folder, and creates it if it is missing.
fn open_folder(parent: &OwnedFd, name: &str, create: bool) -> io::Result<OwnedFd> {
    match rustix::fs::openat(parent, name, FOLDER_FLAGS, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) if create => match rustix::fs::mkdirat(parent, name, FOLDER_MODE) {
            Ok(()) => rustix::fs::fsync(parent)?,
            // Another recording has created it.
            Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        },
        other => return Ok(other?),
    }
    Ok(rustix::fs::openat(parent, name, FOLDER_FLAGS, Mode::empty())?)
}

fn exists(folder: &OwnedFd, name: &str) -> bool {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// The name of a temporary file: it begins with a dot, which no key does, and no other write has it.
fn temporary(name: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!(".{name}.{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn create(folder: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(folder, name, flags, FILE_MODE)?.into())
}

/// Writes a file under a temporary name, and renames it.
fn write(folder: &OwnedFd, name: &str, contents: &Contents) -> io::Result<()> {
    let hidden = temporary(name);
    let mut file = create(folder, &hidden)?;
    let written = match contents {
        Contents::Bytes(bytes) => file.write_all(bytes),
        Contents::File(path) => File::open(path).and_then(|mut from| io::copy(&mut from, &mut file)).map(drop),
    };
    let renamed =
        written.and_then(|()| file.sync_all()).and_then(|()| Ok(rustix::fs::renameat(folder, &*hidden, folder, name)?));
    if renamed.is_err() {
        // The original error is what counts.
        let _ = rustix::fs::unlinkat(folder, &*hidden, AtFlags::empty());
    }
    renamed
}

/// Maximum depth of folders in a bucket.
const MAX_DEPTH: usize = 16;

fn walk(
    folder: &OwnedFd,
    start: &str,
    prefix: &str,
    found: &mut Vec<StoredObject>,
    depth: usize,
) -> Result<(), StorageError> {
    let failed = |error: rustix::io::Errno| error::of_io(&error.into());
    for entry in Dir::read_from(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if name.starts_with('.') || names::parts(name).is_none() {
            continue;
        }
        let key = format!("{start}{name}");
        // Gone since, or a symbolic link.
        let Ok(stat) = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if depth < MAX_DEPTH => {
                let inner = format!("{key}/");
                if inner.starts_with(prefix) || prefix.starts_with(&inner) {
                    let folder = open_folder(folder, name, false).map_err(|error| error::of_io(&error))?;
                    walk(&folder, &inner, prefix, found, depth + 1)?;
                }
            }
            FileType::RegularFile if key.starts_with(prefix) => {
                if found.len() == MAX_OBJECTS {
                    return Err(error::TOO_MANY);
                }
                found.push(StoredObject { key, bytes: u64::try_from(stat.st_size).unwrap_or(0) });
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
