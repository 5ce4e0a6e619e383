//! Settings of `greenroom join` and `greenroom load`.

use super::{Output, Secret, region};
use clap::Args;
use greenroom_client::options::{ConnectOptions, JoinOptions, LoadOptions, OutputFormat};
use std::path::PathBuf;

/// For `join`.
#[derive(Clone, Debug, Args)]
pub struct JoinArgs {
    /// Participant token; - reads it from standard input. Others on this machine see what stands on a command line: rather set GREENROOM_TOKEN, or use -
    #[arg(long, env = "GREENROOM_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Secret,
    /// What to publish: test-pattern, or a file of video (H.264 in Annex B form, VP8 in IVF) and one of audio (Opus in Ogg), encoded already; played over and over
    #[arg(long, value_name = "test-pattern|FILE", num_args = 1..=2)]
    pub publish: Vec<String>,
    /// Frames a second of an H.264 file, which does not say
    #[arg(long, default_value_t = 30, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=240))]
    pub fps: u32,
    /// Ids of participants to subscribe to, separated by commas; or all, now and later
    #[arg(long, value_name = "ID,…|all", value_delimiter = ',')]
    pub subscribe: Vec<String>,
    /// Seconds after which to leave [default: at ctrl-c]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub duration: Option<u32>,
    /// Seconds between two prints of the figures
    #[arg(long, default_value_t = 1, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub interval: u32,
    /// Form of the output; json is one value a line
    #[arg(long, default_value = "human", value_name = "FORM")]
    pub output: Output,
    /// URL of the events, in place of the one in the token
    #[arg(long, value_name = "URL")]
    pub events_url: Option<String>,
    /// URL of the media exchange, in place of the one in the token
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

/// For `load`.
#[derive(Clone, Debug, Args)]
pub struct LoadArgs {
    /// ARN of the stage to join
    #[arg(long, value_name = "ARN")]
    pub stage: String,
    /// Participants that publish the test pattern
    #[arg(long, default_value_t = 1, value_name = "P", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub publishers: u32,
    /// Participants that subscribe, spread evenly over the publishers
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub subscribers: u32,
    /// Let each subscriber subscribe to every publisher
    #[arg(long)]
    pub all: bool,
    /// Participants that join in a second
    #[arg(long, default_value_t = 10, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub ramp: u32,
    /// Seconds that the load is held once everybody has joined
    #[arg(long, default_value_t = 30, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub duration: u32,
    /// Leave the events WebSockets out: media alone
    #[arg(long)]
    pub no_events: bool,
    /// Process id of the server, if it is on this machine (Linux): its CPU and memory are reported too
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// URL of the API, which the participants' tokens are made by
    #[arg(long, env = "AWS_ENDPOINT_URL", default_value = "http://127.0.0.1:4600", value_name = "URL")]
    pub endpoint: String,
    /// Region of the stage [default: the one in its ARN]
    #[arg(long, env = "AWS_REGION", value_name = "REGION", value_parser = region)]
    pub region: Option<String>,
    /// Access key id that requests to the API are signed with
    #[arg(long, env = "AWS_ACCESS_KEY_ID", default_value = "test", value_name = "ID")]
    pub access_key_id: String,
    /// Its secret; rather set the variable than this flag
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", default_value = "test", value_name = "SECRET", hide_env_values = true)]
    pub secret_access_key: Secret,
    /// Its session token, if it has one; rather set the variable than this flag
    #[arg(long, env = "AWS_SESSION_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub session_token: Option<Secret>,
    /// Form of the report
    #[arg(long, default_value = "human", value_name = "FORM")]
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
            endpoint: args.endpoint,
            region: args.region,
            access_key_id: args.access_key_id,
            secret_access_key: args.secret_access_key.0,
            session_token: args.session_token.map(|token| token.0),
            output: args.output.into(),
            client: args.client.into(),
        }
    }
}

/// How clients connect.
#[derive(Clone, Debug, Args)]
pub struct ClientArgs {
    /// Certificates to trust besides the system's: PEM
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// What the client calls itself
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
