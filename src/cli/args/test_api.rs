//! Arguments of the commands that use the test API.

use super::Output;
use crate::config::{Secret, account, region};
use clap::{Args, Parser, ValueEnum};
use std::path::PathBuf;

/// The server whose test API is used.
#[derive(Clone, Debug, Args)]
pub struct TestApiArgs {
    /// URL of the server, which has --test-api
    #[arg(long, env = "AWS_ENDPOINT_URL", default_value = "http://127.0.0.1:4600", value_name = "URL")]
    pub endpoint: String,
    /// Region that requests are signed for
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1", value_name = "REGION", value_parser = region)]
    pub region: String,
    /// Access key ID, for a server with --test-api=public
    #[arg(long, env = "AWS_ACCESS_KEY_ID", value_name = "ID", requires = "secret_access_key")]
    pub access_key_id: Option<String>,
    /// Secret access key; prefer the variable
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", value_name = "SECRET", hide_env_values = true)]
    pub secret_access_key: Option<Secret>,
    /// Session token of the access key; prefer the variable
    #[arg(long, env = "AWS_SESSION_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub session_token: Option<Secret>,
}

/// Arguments of `simulate`.
#[derive(Clone, Debug, Parser)]
pub struct SimulateArgs {
    /// Scenario file; - reads it from standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// ARN or name of the stage, if the scenario does not name it
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<String>,
    /// Time that the scenario runs in
    #[arg(long, default_value = "virtual", value_name = "TIME")]
    pub time: ScenarioTime,
    /// Output format
    #[arg(long, default_value = "human", value_name = "FORMAT")]
    pub output: Output,
    #[command(flatten)]
    pub server: TestApiArgs,
}

/// Time that a scenario runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScenarioTime {
    /// The server's clock is moved from step to step
    Virtual,
    /// Steps wait for their time
    Real,
}

/// Arguments of `journal`.
#[derive(Clone, Debug, Parser)]
pub struct JournalArgs {
    /// Name of an operation, such as CreateStage (default: all)
    #[arg(long, value_name = "NAME")]
    pub operation: Option<String>,
    /// Outcome: success, error, or the code of an error (default: all)
    #[arg(long, value_name = "OUTCOME")]
    pub outcome: Option<String>,
    /// Time of the first call, ISO 8601 with a zone
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Go on with new calls, until ctrl-c
    #[arg(short, long)]
    pub follow: bool,
    /// Account (default: that of the access key, or of the server)
    #[arg(long, value_name = "ACCOUNT", value_parser = account)]
    pub account: Option<String>,
    /// All accounts and regions
    #[arg(long, conflicts_with = "account")]
    pub all: bool,
    /// Output format; json is one value per line
    #[arg(long, default_value = "human", value_name = "FORMAT")]
    pub output: Output,
    #[command(flatten)]
    pub server: TestApiArgs,
}
