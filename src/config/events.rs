//! Settings of events.

use super::{Switch, group};
use clap::Args;
use std::path::PathBuf;

/// Settings of events.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = group::EVENTS)]
pub struct EventArgs {
    /// File of event targets, TOML; reloaded at SIGHUP
    #[arg(long, env = "GREENROOM_EVENTS_CONFIG", value_name = "FILE")]
    pub events_config: Option<PathBuf>,
    /// Extended events, which AWS does not have: on or off
    ///
    /// Joined, left, subscribed, unsubscribed, session started and ended.
    #[arg(
        long,
        env = "GREENROOM_EXTENDED_EVENTS",
        default_value = "off",
        default_missing_value = "on",
        num_args = 0..=1,
        value_name = "SWITCH"
    )]
    pub extended_events: Switch,
    /// Audit record of every API call that changes something: on or off
    #[arg(
        long,
        env = "GREENROOM_AUDIT",
        default_value = "off",
        default_missing_value = "on",
        num_args = 0..=1,
        value_name = "SWITCH"
    )]
    pub audit: Switch,
    /// Maximum concurrent event streams (/_greenroom/events); further ones get 503
    #[arg(long, env = "GREENROOM_MAX_EVENT_STREAMS", default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_event_streams: u32,
    /// Maximum concurrent event streams of one access key; further ones get 503
    #[arg(long, env = "GREENROOM_MAX_EVENT_STREAMS_PER_KEY", default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_event_streams_per_key: u32,
    /// Retention of events, in seconds
    #[arg(long, env = "GREENROOM_EVENT_RETENTION_SECONDS", default_value_t = 604_800, value_name = "S", value_parser = clap::value_parser!(u32).range(60..))]
    pub event_retention_seconds: u32,
}
