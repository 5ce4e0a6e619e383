//! Arguments of `greenroom inspect`.

use super::Output;
use crate::config::{Secret, region};
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
    /// URL of the API, of any node
    #[arg(long, env = "AWS_ENDPOINT_URL", default_value = "http://127.0.0.1:4600", value_name = "URL")]
    pub endpoint: String,
    /// Region of the stage (default: that of the ARN)
    #[arg(long, env = "AWS_REGION", value_name = "REGION", value_parser = region)]
    pub region: Option<String>,
    /// Access key ID for the API
    #[arg(long, env = "AWS_ACCESS_KEY_ID", default_value = "test", value_name = "ID")]
    pub access_key_id: String,
    /// Secret access key for the API; prefer the variable
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", default_value = "test", value_name = "SECRET", hide_env_values = true)]
    pub secret_access_key: Secret,
    /// Session token of the access key; prefer the variable
    #[arg(long, env = "AWS_SESSION_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub session_token: Option<Secret>,
    /// Additional CA certificates to trust: PEM
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}
