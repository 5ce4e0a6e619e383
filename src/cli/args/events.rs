//! Arguments of `greenroom events …`.

use super::Output;
use crate::config::StoreArgs;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// The commands of `events`.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Show each event target: its progress, and its last error
    Targets(TargetsArgs),
    /// List dead events, which a target did not accept within its retry period
    Dead(DeadArgs),
    /// Deliver dead events again, in order
    Redrive(DeadEventsArgs),
    /// Delete dead events
    Drop(DeadEventsArgs),
    /// Delete a target that was removed from the file, with its undelivered events
    Forget(ForgetArgs),
    /// Validate a target file, as at server startup
    Check(CheckArgs),
}

/// Arguments of `events targets`.
#[derive(Clone, Debug, Args)]
pub struct TargetsArgs {
    /// Target file, TOML; its secrets are not read
    #[arg(long, env = "GREENROOM_EVENTS_CONFIG", value_name = "FILE")]
    pub events_config: Option<PathBuf>,
    #[command(flatten)]
    pub common: EventsArgs,
}

/// Arguments of `events dead`.
#[derive(Clone, Debug, Args)]
pub struct DeadArgs {
    /// Name of the target (default: all targets)
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
    /// Log position after which to list, as printed at the end of a page
    #[arg(long, value_name = "POSITION", default_value_t = 0, hide_default_value = true)]
    pub after: i64,
    /// Maximum number of events per target
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    #[command(flatten)]
    pub common: EventsArgs,
}

/// Arguments of `events redrive` and `events drop`.
#[derive(Clone, Debug, Args)]
pub struct DeadEventsArgs {
    /// Name of the target
    #[arg(long, value_name = "NAME")]
    pub target: String,
    /// ID of a dead event; can be repeated
    #[arg(long, value_name = "ID", required_unless_present = "all")]
    pub id: Vec<String>,
    /// All dead events of the target
    #[arg(long, conflicts_with = "id")]
    pub all: bool,
    #[command(flatten)]
    pub common: EventsArgs,
}

/// Arguments of `events forget`.
#[derive(Clone, Debug, Args)]
pub struct ForgetArgs {
    /// Name of the target
    #[arg(long, value_name = "NAME")]
    pub target: String,
    #[command(flatten)]
    pub common: EventsArgs,
}

/// Arguments of `events check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Target file, TOML
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Output format
    #[arg(long, default_value = "human", value_name = "FORMAT")]
    pub output: Output,
}

/// Common arguments of the commands on the store.
#[derive(Clone, Debug, Args)]
pub struct EventsArgs {
    /// Output format
    #[arg(long, default_value = "human", value_name = "FORMAT")]
    pub output: Output,
    #[command(flatten)]
    pub store: StoreArgs,
}
