//! What concerns events.

use super::{Output, StoreArgs, Switch};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// What is told to others, and where.
#[derive(Clone, Debug, Args)]
pub struct EventArgs {
    /// File that says where events go: TOML; read again at SIGHUP
    #[arg(long, env = "GREENROOM_EVENTS_CONFIG", value_name = "FILE")]
    pub events_config: Option<PathBuf>,
    /// Whether events are made that AWS does not have: joined, left, subscribed, unsubscribed, session started and ended
    #[arg(
        long,
        env = "GREENROOM_EXTENDED_EVENTS",
        default_value = "off",
        default_missing_value = "on",
        num_args = 0..=1,
        value_name = "SWITCH"
    )]
    pub extended_events: Switch,
    /// Whether a record is made of every call that changes something
    #[arg(
        long,
        env = "GREENROOM_AUDIT",
        default_value = "off",
        default_missing_value = "on",
        num_args = 0..=1,
        value_name = "SWITCH"
    )]
    pub audit: Switch,
    /// Most streams of events (/_greenroom/events) at once
    #[arg(long, env = "GREENROOM_MAX_EVENT_STREAMS", default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_event_streams: u32,
    /// Maximum event streams of one access key; further ones get 503
    #[arg(long, env = "GREENROOM_MAX_EVENT_STREAMS_PER_KEY", default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_event_streams_per_key: u32,
    /// Seconds that events are kept
    #[arg(long, env = "GREENROOM_EVENT_RETENTION_SECONDS", default_value_t = 604_800, value_name = "S", value_parser = clap::value_parser!(u32).range(60..))]
    pub event_retention_seconds: u32,
}

/// What can be done about the targets of events.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Show where events go: how far each target is, and what went wrong
    Targets(TargetsArgs),
    /// List events that were given up, as a target did not take them in time
    Dead(DeadArgs),
    /// Send events again that were given up, in their order
    Redrive(ChosenArgs),
    /// Forget events that were given up
    Drop(ChosenArgs),
    /// Forget a target that no file has any more, with everything that it did not take
    Forget(ForgetArgs),
    /// Check a file of targets, as a server does at its start
    Check(CheckArgs),
}

/// For `events targets`.
#[derive(Clone, Debug, Args)]
pub struct TargetsArgs {
    /// The file of targets: what each of them is. Its secrets are not read
    #[arg(long, env = "GREENROOM_EVENTS_CONFIG", value_name = "FILE")]
    pub events_config: Option<PathBuf>,
    /// What they share.
    #[command(flatten)]
    pub common: EventsArgs,
}

/// For `events dead`.
#[derive(Clone, Debug, Args)]
pub struct DeadArgs {
    /// Name of the target [default: all of them]
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
    /// Only events that stand in the log after this position, where a list before ended
    #[arg(long, value_name = "POSITION", default_value_t = 0, hide_default_value = true)]
    pub after: i64,
    /// Most events of each target
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// What they share.
    #[command(flatten)]
    pub common: EventsArgs,
}

/// For `events redrive` and `events drop`.
#[derive(Clone, Debug, Args)]
pub struct ChosenArgs {
    /// Name of the target
    #[arg(long, value_name = "NAME")]
    pub target: String,
    /// Id of an event; may be given several times
    #[arg(long, value_name = "ID", required_unless_present = "all")]
    pub id: Vec<String>,
    /// Every event that was given up
    #[arg(long, conflicts_with = "id")]
    pub all: bool,
    /// What they share.
    #[command(flatten)]
    pub common: EventsArgs,
}

/// For `events forget`.
#[derive(Clone, Debug, Args)]
pub struct ForgetArgs {
    /// Name of the target
    #[arg(long, value_name = "NAME")]
    pub target: String,
    /// What they share.
    #[command(flatten)]
    pub common: EventsArgs,
}

/// For `events check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// The file of targets
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Form of the output
    #[arg(long, default_value = "human", value_name = "FORM")]
    pub output: Output,
}

/// What the commands about targets share.
#[derive(Clone, Debug, Args)]
pub struct EventsArgs {
    /// Form of the output
    #[arg(long, default_value = "human", value_name = "FORM")]
    pub output: Output,
    /// The store.
    #[command(flatten)]
    pub store: StoreArgs,
}
