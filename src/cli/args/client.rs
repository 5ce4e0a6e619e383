//! Arguments of `greenroom join` and `greenroom load`.

use super::Output;
use crate::config::{Secret, region};
use clap::{Args, Parser};
use greenroom_client::options::{ConnectOptions, JoinOptions, LoadOptions, OutputFormat};
use std::path::PathBuf;

/// Arguments of `join`.
#[derive(Clone, Debug, Parser)]
pub struct JoinArgs {
    /// Participant token; - reads it from standard input
    ///
    /// Prefer the variable or -: other users of the machine can read command lines.
    #[arg(long, env = "GREENROOM_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Secret,
    /// Media to publish: test-pattern, or a video file and an audio file
    ///
    /// Video is H.264 in Annex B format or VP8 in IVF, audio is Opus in Ogg. Files are not transcoded, and loop.
    #[arg(long, value_name = "test-pattern|FILE", num_args = 1..=2)]
    pub publish: Vec<String>,
    /// Frame rate of an H.264 file, in frames per second
    #[arg(long, default_value_t = 30, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=240))]
    pub fps: u32,
    /// IDs of participants to subscribe to, comma-separated; all includes those that publish later
    #[arg(long, value_name = "ID,…|all", value_delimiter = ',')]
    pub subscribe: Vec<String>,
    /// Time until the participant leaves, in seconds (default: until ctrl-c)
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub duration: Option<u32>,
    /// Interval of the printed statistics, in seconds
    #[arg(long, default_value_t = 1, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub interval: u32,
    /// Output format; json is one value per line
    #[arg(long, default_value = "human", value_name = "FORMAT")]
    pub output: Output,
    /// URL of the events WebSocket (default: events_url of the token)
    #[arg(long, value_name = "URL")]
    pub events_url: Option<String>,
    /// WHIP URL (default: whip_url of the token)
    #[arg(long, value_name = "URL")]
    pub whip_url: Option<String>,
    /// How it connects.
    #[command(flatten)]
    pub client: ClientArgs,
}

impl From<JoinArgs> for JoinOptions {
    fn from(args: JoinArgs) -> JoinOptions {
        JoinOptions {
            token: args.token.0,
            publish: args.publish,
            fps: args.fps,
            subscribe: args.subscribe,
            duration: args.duration,
            interval: args.interval,
            output: args.output.into(),
            events_url: args.events_url,
            whip_url: args.whip_url,
            client: args.client.into(),
        }
    }
}

/// Arguments of `load`.
#[derive(Clone, Debug, Parser)]
pub struct LoadArgs {
    /// ARN of the stage
    #[arg(long, value_name = "ARN")]
    pub stage: String,
    /// Number of publishers of the test pattern
    #[arg(long, default_value_t = 1, value_name = "P", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub publishers: u32,
    /// Number of subscribers, spread evenly over the publishers
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub subscribers: u32,
    /// Subscribe each subscriber to every publisher
    #[arg(long)]
    pub all: bool,
    /// Ramp, in participants per second
    #[arg(long, default_value_t = 10, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub ramp: u32,
    /// Duration after the last participant has joined, in seconds
    #[arg(long, default_value_t = 30, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub duration: u32,
    /// Media only, without events WebSockets
    #[arg(long)]
    pub no_events: bool,
    /// Process ID of a server on this machine (Linux), to report its CPU and memory
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// The API that creates the participant tokens.
    #[command(flatten)]
    pub api: ApiArgs,
    /// Output format of the report
    #[arg(long, default_value = "human", value_name = "FORMAT")]
    pub output: Output,
    /// How it connects.
    #[command(flatten)]
    pub client: ClientArgs,
}

impl From<LoadArgs> for LoadOptions {
    fn from(args: LoadArgs) -> LoadOptions {
        LoadOptions {
            stage: args.stage,
            publishers: args.publishers,
            subscribers: args.subscribers,
            all: args.all,
            ramp: args.ramp,
            duration: args.duration,
            no_events: args.no_events,
            server_pid: args.server_pid,
            endpoint: args.api.endpoint,
            region: args.api.region,
            access_key_id: args.api.access_key_id,
            secret_access_key: args.api.secret_access_key.0,
            session_token: args.api.session_token.map(|token| token.0),
            output: args.output.into(),
            client: args.client.into(),
        }
    }
}

/// The API of a stage, and the key that requests are signed with.
#[derive(Clone, Debug, Args)]
pub struct ApiArgs {
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
}

/// How a client connects.
#[derive(Clone, Debug, Args)]
pub struct ClientArgs {
    /// Additional CA certificates to trust: PEM
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// User-Agent of the client
    #[arg(long, default_value = concat!("greenroom/", env!("CARGO_PKG_VERSION")), value_name = "TEXT")]
    pub user_agent: String,
}

impl From<ClientArgs> for ConnectOptions {
    fn from(args: ClientArgs) -> ConnectOptions {
        ConnectOptions { ca: args.ca, user_agent: args.user_agent }
    }
}

impl From<Output> for OutputFormat {
    fn from(output: Output) -> OutputFormat {
        match output {
            Output::Human => OutputFormat::Human,
            Output::Json => OutputFormat::Json,
        }
    }
}
