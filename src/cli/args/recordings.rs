//! Arguments of `greenroom recordings …`.

use super::Output;
use crate::config::{StorageArgs, StoreArgs};
use crate::model::arn::Scope;
use crate::model::arn::{Parts, ResourceKind};
use crate::model::participant::ParticipantRecordingState;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// The commands of `recordings`.
#[derive(Debug, Subcommand)]
pub enum RecordingsCommand {
    /// List recordings, newest first
    List(Box<ListRecordingsArgs>),
    /// Show a recording: its state, length, gaps and size, and where it is stored
    Show(Box<RecordingArgs>),
    /// Read a recording back and report what is wrong; exit code 1 if there are errors
    ///
    /// Checks the playlists, every segment, the JSON files and the thumbnails.
    Verify(Box<ReadRecordingArgs>),
    /// Export a recording as one MP4, without transcoding
    Export(Box<ExportRecordingArgs>),
}

/// Arguments of `recordings list`.
#[derive(Clone, Debug, Args)]
pub struct ListRecordingsArgs {
    /// ARN or ID of a stage (default: all stages)
    #[arg(long, value_name = "STAGE", value_parser = stage)]
    pub stage: Option<StageName>,
    /// ID of a participant (default: all participants)
    #[arg(long, value_name = "ID")]
    pub participant: Option<String>,
    /// State: STARTING, ACTIVE, STOPPING, STOPPED or FAILED (default: all states)
    #[arg(long, value_name = "STATE", value_parser = state)]
    pub state: Option<ParticipantRecordingState>,
    /// Place after which to list, as printed at the end of a page
    #[arg(long, value_name = "PLACE", value_parser = place)]
    pub after: Option<(i64, String)>,
    /// Maximum number of recordings
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// Output format
    #[arg(long, default_value = "human", value_name = "FORMAT")]
    pub output: Output,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Arguments of `recordings show`.
#[derive(Clone, Debug, Args)]
pub struct RecordingArgs {
    /// ID of the recording, as greenroom recordings list prints it
    #[arg(value_name = "RECORDING_ID")]
    pub id: String,
    #[command(flatten)]
    pub common: RecordingStoreArgs,
}

/// Arguments of `recordings verify`.
#[derive(Clone, Debug, Args)]
pub struct ReadRecordingArgs {
    /// ID of the recording, or its folder
    ///
    /// A folder is that of the recording's prefix, with events and media in it; the store is not read.
    #[arg(value_name = "RECORDING_ID|FOLDER")]
    pub recording: String,
    #[command(flatten)]
    pub common: RecordingStoreArgs,
}

/// Arguments of `recordings export`.
#[derive(Clone, Debug, Args)]
pub struct ExportRecordingArgs {
    #[command(flatten)]
    pub read: ReadRecordingArgs,
    /// File to write; it must not exist
    #[arg(short = 'o', long = "file", value_name = "FILE")]
    pub file: PathBuf,
}

/// Where recordings are listed and stored.
#[derive(Clone, Debug, Args)]
pub struct RecordingStoreArgs {
    /// Output format
    #[arg(long, default_value = "human", value_name = "FORMAT")]
    pub output: Output,
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub storage: StorageArgs,
}

/// A stage, by ID or ARN.
#[derive(Clone, Debug)]
pub struct StageName {
    /// Of an ARN.
    pub scope: Option<Scope>,
    pub id: String,
}

fn stage(text: &str) -> Result<StageName, String> {
    if !text.contains(':') {
        return Ok(StageName { scope: None, id: text.to_owned() });
    }
    let parts = Parts::of(text).filter(|parts| parts.kind == ResourceKind::Stage.as_str());
    let parts = parts.ok_or("use the ARN of a stage, arn:aws:ivs:REGION:ACCOUNT:stage/ID, or its ID")?;
    let scope = Scope { account: parts.account.to_owned(), region: parts.region.to_owned() };
    Ok(StageName { scope: Some(scope), id: parts.id.to_owned() })
}

fn state(text: &str) -> Result<ParticipantRecordingState, String> {
    let state = ParticipantRecordingState::parse(&text.to_ascii_uppercase());
    let state = state.filter(|state| *state != ParticipantRecordingState::Disabled);
    state.ok_or_else(|| "use STARTING, ACTIVE, STOPPING, STOPPED or FAILED".to_owned())
}

/// Parses a place of the list: time and ID, as a page prints it.
fn place(text: &str) -> Result<(i64, String), String> {
    let parts = text.split_once('/').and_then(|(time, id)| Some((time.parse().ok()?, id.to_owned())));
    parts.ok_or_else(|| "use the place that the end of a page names".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_an_id_or_an_arn() {
        let named = stage("arn:aws:ivs:us-east-1:123456789012:stage/abcd").unwrap();
        assert_eq!((named.scope.unwrap().account.as_str(), named.id.as_str()), ("123456789012", "abcd"));
        assert_eq!(stage("abcd").unwrap().id, "abcd");
        assert!(stage("arn:aws:ivs:us-east-1:123456789012:composition/abcd").is_err());
    }

    #[test]
    fn states_and_places_are_checked() {
        assert_eq!(state("active"), Ok(ParticipantRecordingState::Active));
        assert!(state("DISABLED").is_err() && state("x").is_err());
        assert_eq!(place("17/abc"), Ok((17, "abc".to_owned())));
        assert!(place("17").is_err() && place("x/abc").is_err());
    }
}
