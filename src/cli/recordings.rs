//! `greenroom recordings …`: what was recorded, and whether it can be played.

mod objects;
mod read;
mod text;

use super::args::{ListRecordingsArgs, RecordingArgs, RecordingStoreArgs, RecordingsCommand};
use super::error::CommandError;
use super::store::open;
use crate::cli::args::Output;
use crate::model::page::Position;
use crate::storage::{Storage, StorageSettings};
use crate::store::{RecordingFilter, RecordingRow};
use greenroom_recording::layout;
use greenroom_recording::verify::{Outline, outline};
use serde_json::{Value, json};

/// Recordings that are read from the store at once.
const PAGE: i64 = 500;

pub(super) async fn run(command: RecordingsCommand) -> Result<String, CommandError> {
    match command {
        RecordingsCommand::List(args) => list(*args).await,
        RecordingsCommand::Show(args) => show(*args).await,
        RecordingsCommand::Verify(args) => read::verify(*args).await,
        RecordingsCommand::Export(args) => read::export(*args).await,
    }
}

async fn list(args: ListRecordingsArgs) -> Result<String, CommandError> {
    let scope = args.stage.as_ref().and_then(|stage| stage.scope.as_ref());
    let filter = RecordingFilter {
        account: scope.map(|scope| scope.account.as_str()),
        region: scope.map(|scope| scope.region.as_str()),
        stage: args.stage.as_ref().map(|stage| stage.id.as_str()),
        state: args.state,
    };
    let after = args.after.map(|(order, id)| Position { order, id });
    let mut place = after.unwrap_or_else(Position::last);
    let (limit, mut rows) = (args.limit as usize, Vec::new());
    let db = open(&args.store).await?;
    let mut conn = db.read().await?;
    // One more than the limit shows whether there is another page.
    while rows.len() <= limit {
        let page = conn.recordings(filter, &place, PAGE).await?;
        let Some(last) = page.last() else { break };
        place = Position { order: last.created_at, id: last.id.clone() };
        let is_listed = |row: &RecordingRow| args.participant.as_ref().is_none_or(|id| *id == row.participant_id);
        rows.extend(page.into_iter().filter(is_listed));
    }
    drop(conn);
    db.close().await;
    let next = (rows.len() > limit).then(|| {
        rows.truncate(limit);
        rows.last().map(|row| format!("{}/{}", row.created_at, row.id)).unwrap_or_default()
    });
    Ok(match args.output {
        Output::Json => {
            let rows: Vec<_> = rows.iter().map(text::json).collect();
            format!("{:#}\n", json!({"recordings": rows, "next": next}))
        }
        Output::Human if rows.is_empty() => "There are no recordings.\n".into(),
        Output::Human => {
            let mut lines: String = rows.iter().map(text::line).collect();
            if let Some(next) = next {
                lines.push_str(&format!("More: --after {next}\n"));
            }
            lines
        }
    })
}

/// Reads the row of a recording, and opens the storage.
async fn find(id: &str, args: &RecordingStoreArgs) -> Result<(RecordingRow, Storage), CommandError> {
    let settings = StorageSettings::read(&args.storage, &args.store.database_url)?;
    let db = open(&args.store).await?;
    let rows = db.read().await?.recordings_named(id, 2).await?;
    db.close().await;
    let row = match <[RecordingRow; 1]>::try_from(rows) {
        Ok([row]) => row,
        Err(rows) if rows.is_empty() => return Err(CommandError::NoSuchRecording(id.to_owned())),
        Err(_) => return Err(CommandError::AmbiguousRecording(id.to_owned())),
    };
    Ok((row, Storage::open(settings).await?))
}

async fn show(args: RecordingArgs) -> Result<String, CommandError> {
    let (row, storage) = find(&args.id, &args.common).await?;
    let stored = Stored::read(&storage, &row).await;
    let location = format!("{}/{}", storage.location(&row.bucket), row.prefix);
    Ok(match args.common.output {
        Output::Json => {
            let mut value = text::json(&row);
            value["location"] = location.into();
            value["objects"] = stored.as_ref().map_or(Value::Null, |stored| stored.json());
            value["objectsError"] = stored.as_ref().err().map_or(Value::Null, |error| error.to_string().into());
            format!("{value:#}\n")
        }
        Output::Human => text::details(&row, &location, &stored),
    })
}

/// What the storage has of a recording.
struct Stored {
    objects: usize,
    bytes: u64,
    /// Of the media playlist, if there is one.
    outline: Option<Outline>,
}

impl Stored {
    async fn read(storage: &Storage, row: &RecordingRow) -> Result<Stored, crate::storage::StorageError> {
        let listed = storage.list(&row.bucket, &format!("{}/", row.prefix)).await?;
        let playlist = match storage.get(&row.bucket, &format!("{}/{}", row.prefix, layout::PLAYLIST)).await {
            Ok(contents) => Some(contents),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        let outline = playlist.map(|contents| outline(&String::from_utf8_lossy(&contents)));
        Ok(Stored { objects: listed.len(), bytes: listed.iter().map(|object| object.bytes).sum(), outline })
    }

    fn json(&self) -> Value {
        json!({"count": self.objects, "bytes": self.bytes, "playlist": self.outline})
    }
}
