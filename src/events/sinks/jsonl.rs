//! JSON Lines, in a file or on standard output.

use super::{DeliveryError, Outcome, Outgoing, body};
use crate::events::targets::Target;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Maximum lines per write.
pub(super) const BATCH: usize = 500;

/// Writes one line per event.
#[derive(Clone, Debug)]
pub(in crate::events) struct JsonlSink {
    /// `None` for standard output.
    path: Option<PathBuf>,
    source: Option<String>,
    file: Arc<Mutex<Option<File>>>,
}

impl JsonlSink {
    pub(super) fn new(path: Option<PathBuf>, target: &Target) -> Self {
        JsonlSink { path, source: target.source.clone(), file: Arc::default() }
    }

    /// Appends all events or none, and syncs the file.
    pub(super) async fn write(&self, events: &[Arc<Outgoing>]) -> Outcome {
        let mut text = String::new();
        for event in events {
            text.push_str(&body(event, self.source.as_deref()));
            text.push('\n');
        }
        let writer = self.clone();
        let written = tokio::task::spawn_blocking(move || writer.write_all(&text)).await;
        match written.unwrap_or_else(|bug| Err(io::Error::other(bug))) {
            Ok(()) => Outcome::Delivered,
            Err(error) => Outcome::Failed(DeliveryError::new(error.to_string())),
        }
    }

    fn write_all(&self, text: &str) -> io::Result<()> {
        let Some(path) = &self.path else {
            let mut out = io::stdout().lock();
            return out.write_all(text.as_bytes()).and_then(|()| out.flush());
        };
        let mut slot = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = match slot.take() {
            Some(file) => file,
            None => open(path)?,
        };
        let (length, regular) = (file.metadata()?.len(), file.metadata()?.is_file());
        // Pipes and devices cannot be synced.
        let synchronize = |file: &File| if regular { file.sync_data() } else { Ok(()) };
        if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| synchronize(&file)) {
            // Removes partially written lines, as they are retried.
            let _ = file.set_len(length);
            return Err(error);
        }
        *slot = Some(file);
        Ok(())
    }
}

/// Opens a file for appending. An incomplete last line after a crash is removed, as its event is sent again.
fn open(path: &Path) -> io::Result<File> {
    /// Above the maximum length of a line.
    const MAX_LINE: u64 = 4 * 1024 * 1024;
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(file);
    }
    let length = file.metadata()?.len();
    let start = length.saturating_sub(MAX_LINE);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    io::Read::by_ref(&mut file).take(MAX_LINE).read_to_end(&mut tail)?;
    let whole = match tail.iter().rposition(|byte| *byte == b'\n') {
        Some(last) => start + last as u64 + 1,
        None if start == 0 => 0,
        None => return Err(io::Error::other("the file does not end with a line: name another one")),
    };
    if whole < length {
        tracing::warn!(file = %path.display(), bytes = length - whole, "incomplete last line removed");
        file.set_len(whole)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incomplete_last_line_is_removed() {
        let path = std::env::temp_dir().join(format!("greenroom-lines-{}", std::process::id()));
        for (before, after) in [("", ""), ("{}\n", "{}\n"), ("{}\n{\"a\"", "{}\n"), ("{\"a\"", "")] {
            std::fs::write(&path, before).unwrap();
            open(&path).unwrap().write_all(b"[]\n").unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{after}[]\n"), "{before}");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
