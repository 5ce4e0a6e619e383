//! Limits of participants' media.

use super::group;
use clap::Args;

/// Limits of requests and connections of media.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = group::LIMITS)]
pub struct MediaLimitArgs {
    /// Maximum offers per minute, per participant and per token; further ones get 429
    ///
    /// One minute's worth can be sent as a burst.
    #[arg(long, env = "GREENROOM_MAX_OFFERS_PER_MINUTE", default_value_t = 120, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_offers_per_minute: u32,
    /// Maximum PATCH and layer requests per minute, per participant and per token; further ones get 429
    ///
    /// They carry ICE candidates and ICE restarts.
    #[arg(long, env = "GREENROOM_MAX_PATCHES_PER_MINUTE", default_value_t = 600, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_patches_per_minute: u32,
    /// Maximum media connections of a participant; further ones get 429
    #[arg(long, env = "GREENROOM_MAX_MEDIA_PER_PARTICIPANT", default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_media_per_participant: u32,
    /// Maximum media connections of a stage on this node; further ones get 503
    #[arg(long, env = "GREENROOM_MAX_MEDIA_PER_STAGE", default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_media_per_stage: u32,
    /// Maximum media connections of this node; further ones get 503
    #[arg(long, env = "GREENROOM_MAX_MEDIA_PER_NODE", default_value_t = 20_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_media_per_node: u32,
    /// Maximum TCP connections for media of this node; further ones are closed immediately
    ///
    /// --max-client-share limits those of one client address.
    #[arg(long, env = "GREENROOM_MAX_MEDIA_TCP_CONNECTIONS", default_value_t = 2048, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_media_tcp_connections: u32,
}
