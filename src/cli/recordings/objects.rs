//! Objects of a recording, from a folder or from the storage.

use crate::storage::Storage;
use greenroom_recording::verify::{Source, SourceError};
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Component, Path, PathBuf};
use tokio::runtime::Handle;

/// Maximum objects of a folder, and maximum depth of its folders.
const MAX_OBJECTS: usize = 500_000;
const MAX_DEPTH: usize = 8;

/// Where a recording is read from. Reading blocks: not on a thread of the runtime's workers.
pub(super) enum Objects {
    Folder(PathBuf),
    Storage { storage: Storage, bucket: String, prefix: String, runtime: Handle },
}

impl Source for Objects {
    fn list(&mut self) -> Result<Vec<String>, SourceError> {
        match self {
            Objects::Folder(root) => {
                let mut found = Vec::new();
                list(root, "", 0, &mut found).map_err(|error| SourceError(format!("{}: {error}", root.display())))?;
                Ok(found)
            }
            Objects::Storage { storage, bucket, prefix, runtime } => {
                let start = format!("{prefix}/");
                let listed = runtime.block_on(storage.list(bucket, &start));
                let listed = listed.map_err(|error| SourceError(error.to_string()))?;
                Ok(listed.into_iter().filter_map(|object| object.key.strip_prefix(&start).map(str::to_owned)).collect())
            }
        }
    }

    fn read(&mut self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, SourceError> {
        let contents = match self {
            Objects::Folder(root) => return read(root, path, limit),
            Objects::Storage { storage, bucket, prefix, runtime } => {
                runtime.block_on(storage.get(bucket, &format!("{prefix}/{path}")))
            }
        };
        match contents {
            Ok(contents) if contents.len() > limit => Err(too_large(limit)),
            Ok(contents) => Ok(Some(contents.into())),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(SourceError(error.to_string())),
        }
    }
}

fn too_large(limit: usize) -> SourceError {
    SourceError(format!("it has more than {limit} bytes"))
}

/// Lists the files below a folder; links are not followed.
fn list(folder: &Path, name: &str, depth: usize, found: &mut Vec<String>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (kind, own) = (entry.file_type()?, entry.file_name());
        let name = format!("{name}{}", own.to_string_lossy());
        if kind.is_dir() && depth < MAX_DEPTH {
            list(&entry.path(), &format!("{name}/"), depth + 1, found)?;
        } else if kind.is_file() {
            found.push(name);
        }
        if found.len() > MAX_OBJECTS {
            return Err(std::io::Error::other(format!("there are more than {MAX_OBJECTS} files")));
        }
    }
    Ok(())
}

fn read(root: &Path, path: &str, limit: usize) -> Result<Option<Vec<u8>>, SourceError> {
    let is_below = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if !is_below {
        return Err(SourceError("its path leaves the folder".to_owned()));
    }
    let opened = match fs::File::open(root.join(path)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(SourceError(error.to_string())),
    };
    let mut contents = Vec::new();
    let read = opened.take(limit as u64 + 1).read_to_end(&mut contents);
    read.map_err(|error| SourceError(error.to_string()))?;
    if contents.len() > limit { Err(too_large(limit)) } else { Ok(Some(contents)) }
}
