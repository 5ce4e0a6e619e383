//! The files of the spool. Every function blocks.
//!
//! The spool has a folder for each recording: `destination.json` says where its objects belong, and each object is a file whose
//! name has its number, its content type and its path. Numbers are the order of the objects. A file that begins with a dot is
//! being written. `failed` marks a recording that has failed: its files are kept until the space is needed.

use crate::model::arn::Scope;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const DESTINATION: &str = "destination.json";
const FAILED: &str = "failed";
const LOCK: &str = "lock";
/// What stays as it is in a name; the underscore separates its parts.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.');
/// Maximum bytes of a file name, with the beginning of a temporary one.
const MAX_NAME: usize = 240;
/// Maximum bytes of `destination.json`.
const MAX_DESTINATION: u64 = 16 << 10;

/// Where the objects of a recording belong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Account and region of the recording.
    pub account: String,
    pub region: String,
    pub bucket: String,
    /// The prefix of the objects' keys, without a slash at the end.
    pub prefix: String,
}

impl Destination {
    pub fn scope(&self) -> Scope {
        Scope { account: self.account.clone(), region: self.region.clone() }
    }
}

/// An object in the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::recording) struct SpooledObject {
    /// Its position in the order of the recording's objects.
    pub number: u64,
    pub content_type: String,
    /// Relative to the prefix.
    pub path: String,
    pub bytes: u64,
}

/// What a former process has left of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub id: String,
    pub destination: Destination,
    pub has_failed: bool,
    /// By number.
    pub objects: Vec<SpooledObject>,
}

/// Whether an id can be the name of a folder.
pub(super) fn is_id(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=100).contains(&id.len()) && id.bytes().all(is_allowed)
}

/// The file name of an object; `None` if it would be too long.
pub(in crate::recording) fn name(number: u64, content_type: &str, path: &str) -> Option<String> {
    let escape = |text| utf8_percent_encode(text, ESCAPED);
    let name = format!("{number:010}_{}_{}", escape(content_type), escape(path));
    (name.len() <= MAX_NAME).then_some(name)
}

fn parse(name: &str, bytes: u64) -> Option<SpooledObject> {
    let mut parts = name.splitn(3, '_');
    let number = parts.next()?.parse().ok()?;
    let mut text = || Some(percent_decode_str(parts.next()?).decode_utf8().ok()?.into_owned());
    let (content_type, path) = (text()?, text()?);
    Some(SpooledObject { number, content_type, path, bytes })
}

/// Creates the spool's folder, and locks it for this process: the lock lasts as long as the file is open.
pub(super) fn lock(folder: &Path) -> io::Result<File> {
    create_folder(folder)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(folder.join(LOCK))?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Creates a folder that only the server's user reads.
fn create_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Creates the folder of a recording.
pub(super) fn create(folder: &Path, destination: &Destination) -> io::Result<()> {
    create_folder(folder)?;
    write(folder, DESTINATION, &serde_json::to_vec(destination)?)
}

/// Writes a file: after a crash, it is whole or missing.
pub(super) fn write(folder: &Path, name: &str, contents: &[u8]) -> io::Result<()> {
    let hidden = folder.join(format!(".{name}"));
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o640).open(&hidden)?;
    let written = file.write_all(contents).and_then(|()| file.sync_data());
    let renamed = written.and_then(|()| std::fs::rename(&hidden, folder.join(name)));
    if renamed.is_err() {
        // The original error is what counts.
        let _ = std::fs::remove_file(&hidden);
    }
    renamed
}

/// Removes a file, if it is there.
pub(super) fn remove(folder: &Path, name: &str) -> io::Result<()> {
    missing_is_ok(std::fs::remove_file(folder.join(name)))
}

/// Marks a recording as failed, with the reason for the operator.
pub(super) fn mark_failed(folder: &Path, reason: &str) -> io::Result<()> {
    write(folder, FAILED, reason.as_bytes())
}

/// Removes the folder of a recording with all that is in it.
pub(super) fn remove_all(folder: &Path) -> io::Result<()> {
    missing_is_ok(std::fs::remove_dir_all(folder))
}

fn missing_is_ok(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// What former processes have left, the oldest first; files that were being written are removed.
pub(super) fn recover(folder: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(id) = entry.file_name().into_string() else { continue };
        if !entry.file_type()?.is_dir() || !is_id(&id) {
            continue;
        }
        let changed = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        match recover_recording(&entry.path(), id) {
            Ok(recording) => found.push((changed, recording)),
            Err(error) => {
                let folder = entry.path();
                tracing::warn!(folder = %folder.display(), reason = %error, "folder of the recording spool not readable");
            }
        }
    }
    found.sort_by_key(|(changed, _)| *changed);
    Ok(found.into_iter().map(|(_, recording)| recording).collect())
}

fn recover_recording(folder: &Path, id: String) -> io::Result<Found> {
    let destination = folder.join(DESTINATION);
    if std::fs::metadata(&destination)?.len() > MAX_DESTINATION {
        return Err(io::Error::other("destination.json is too large"));
    }
    let destination = serde_json::from_slice(&std::fs::read(&destination)?)?;
    let (mut objects, mut has_failed) = (Vec::new(), false);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        match &*name {
            DESTINATION => {}
            FAILED => has_failed = true,
            _ if name.starts_with('.') => remove(folder, &name)?,
            _ => match parse(&name, entry.metadata()?.len()) {
                Some(object) => objects.push(object),
                None => tracing::warn!(file = %entry.path().display(), "unknown file in the recording spool"),
            },
        }
    }
    objects.sort_unstable_by_key(|object| object.number);
    Ok(Found { id, destination, has_failed, objects })
}

/// Bytes of the file system of a folder that may not exist yet.
pub(super) fn file_system_bytes(folder: &Path) -> io::Result<u64> {
    let absolute = std::path::absolute(folder)?;
    let existing: Option<PathBuf> = absolute.ancestors().find(|folder| folder.exists()).map(Path::to_owned);
    let found = rustix::fs::statvfs(existing.as_deref().unwrap_or(Path::new("/")))?;
    Ok(found.f_blocks.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_number_type_and_path() {
        let name = name(12, "video/mp4", "media/hls/high/3_a.mp4").unwrap();
        assert_eq!(name, "0000000012_video%2Fmp4_media%2Fhls%2Fhigh%2F3%5Fa.mp4");
        let object = parse(&name, 7).unwrap();
        assert_eq!((object.number, &*object.content_type, object.bytes), (12, "video/mp4", 7));
        assert_eq!(object.path, "media/hls/high/3_a.mp4");
        assert_eq!(super::name(0, "a", &"/".repeat(100)), None, "too long for a file system");
        for bad in ["", "x_video_y", "1_video", "1", "1_%ff_y"] {
            assert_eq!(parse(bad, 0), None, "{bad}");
        }
    }

    #[test]
    fn an_id_is_a_name_of_a_folder() {
        assert!(is_id("b2TpW5xOq1Xx-_"));
        for bad in ["", ".", "..", "a/b", "a.b", "a b", "\0", &"a".repeat(101)] {
            assert!(!is_id(bad), "{bad:?}");
        }
    }
}
