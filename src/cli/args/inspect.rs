//! Arguments of `greenroom inspect`.

use super::{ApiArgs, Output};
use clap::Parser;
use std::path::PathBuf;

/// Arguments of `inspect`.
#[derive(Clone, Debug, Parser)]
pub struct InspectArgs {
    /// ARN of the stage
    #[arg(value_name = "STAGE")]
    pub stage: String,
    /// ID of a participant (default: all)
    #[arg(value_name = "PARTICIPANT")]
    pub participant: Option<String>,
    /// Print once, instead of until ctrl-c
    #[arg(long)]
    pub once: bool,
    /// Interval of the refresh, in seconds
    #[arg(long, default_value_t = 2, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub interval: u32,
    /// Output format; json is one value per line
    #[arg(long, default_value = "human", value_name = "FORMAT")]
    pub output: Output,
    #[command(flatten)]
    pub api: ApiArgs,
    /// Additional CA certificates to trust: PEM
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}
