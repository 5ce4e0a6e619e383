//! `greenroom recordings verify` and `export`: both read the objects of a recording.

use super::objects::Objects;
use super::{find, text};
use crate::cli::args::{ExportRecordingArgs, Output, ReadRecordingArgs};
use crate::cli::error::CommandError;
use crate::cli::print;
use greenroom_recording::export::{self, Exported};
use greenroom_recording::verify::{self, Severity};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::BufWriter;
use std::path::Path;

/// Bytes that are written at once.
const BUFFER: usize = 1 << 20;

pub(super) async fn verify(args: ReadRecordingArgs) -> Result<String, CommandError> {
    let mut objects = objects(&args).await?;
    let verified = blocking(move || verify::verify(&mut objects)).await?;
    let report = verified.map_err(|error| CommandError::RecordingObjects(error.to_string()))?;
    let shown = match args.common.output {
        Output::Json => format!("{:#}\n", json!(report)),
        Output::Human => text::report(&report),
    };
    let errors = report.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    if errors == 0 {
        return Ok(shown);
    }
    print(&shown);
    Err(CommandError::DamagedRecording(errors))
}

pub(super) async fn export(args: ExportRecordingArgs) -> Result<String, CommandError> {
    let ExportRecordingArgs { read, file } = args;
    let mut objects = objects(&read).await?;
    let created = OpenOptions::new().write(true).create_new(true).open(&file);
    let out = created.map_err(|error| CommandError::ExportFile(file.clone(), error))?;
    let exported = match blocking(move || write(&mut objects, out)).await? {
        Ok(exported) => exported,
        Err(error) => {
            // It is damaged, and in the way of another try.
            let _ = std::fs::remove_file(&file);
            return Err(CommandError::Export(error, file));
        }
    };
    Ok(shown(&exported, &file, read.common.output))
}

fn write(objects: &mut Objects, out: File) -> Result<Exported, export::ExportError> {
    let mut out = BufWriter::with_capacity(BUFFER, out);
    let exported = export::export(objects, &mut out)?;
    let out = out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    out.sync_all()?;
    Ok(exported)
}

fn shown(exported: &Exported, file: &Path, output: Output) -> String {
    let Exported { duration_ms, bytes, samples, parts, descriptions, is_index_first, delayed_ms } = exported;
    match output {
        Output::Json => {
            let value = json!({
                "file": file.display().to_string(),
                "durationMs": duration_ms,
                "bytes": bytes,
                "samples": samples,
                "parts": parts,
                "sampleDescriptions": descriptions,
                "indexFirst": is_index_first,
                "delayedMs": delayed_ms,
            });
            format!("{value:#}\n")
        }
        Output::Human => {
            let length = text::length(i64::try_from(*duration_ms).unwrap_or(i64::MAX));
            let mut line = format!("Exported {length} to {}: {}", file.display(), text::size(*bytes));
            if *parts > 1 {
                line.push_str(&format!(", {parts} parts without the time between them"));
            }
            if descriptions.values().any(|count| *count > 1) {
                line.push_str(", resolution or parameters change");
            }
            line + "\n"
        }
    }
}

/// The objects of a recording in a folder, or of one in the store.
async fn objects(args: &ReadRecordingArgs) -> Result<Objects, CommandError> {
    let folder = Path::new(&args.recording);
    if args.recording.contains(std::path::MAIN_SEPARATOR) || folder.is_dir() {
        return Ok(Objects::Folder(folder.to_owned()));
    }
    let (row, storage) = find(&args.recording, &args.common).await?;
    let runtime = tokio::runtime::Handle::current();
    Ok(Objects::Storage { storage, bucket: row.bucket, prefix: row.prefix, runtime })
}

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Result<T, CommandError> {
    let ran = tokio::task::spawn_blocking(run).await;
    ran.map_err(|error| CommandError::RecordingObjects(error.to_string()))
}
