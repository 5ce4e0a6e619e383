//! Options of `join` and `load`.

use std::path::PathBuf;
use std::time::SystemTime;

/// The clock for request signatures.
pub type Now = fn() -> SystemTime;

/// Options of [`crate::join::run`].
#[derive(Clone)]
pub struct JoinOptions {
    /// Participant token; `-` reads it from standard input.
    pub token: String,
    /// `test-pattern`, or a video file and an audio file.
    pub publish: Vec<String>,
    /// Frames per second of an H.264 file.
    pub fps: u32,
    /// Ids of participants to subscribe to, or `all`.
    pub subscribe: Vec<String>,
    /// Seconds after which to leave.
    pub duration: Option<u32>,
    /// Seconds between two reports.
    pub interval: u32,
    /// Format of the output.
    pub output: OutputFormat,
    /// URL of the events, in place of the one in the token.
    pub events_url: Option<String>,
    /// URL of the media exchange, in place of the one in the token.
    pub whip_url: Option<String>,
    /// How connections are made.
    pub client: ConnectOptions,
}

/// Options of [`crate::load::run`].
#[derive(Clone)]
pub struct LoadOptions {
    /// ARN of the stage to join.
    pub stage: String,
    /// Participants that publish the test pattern.
    pub publishers: u32,
    /// Participants that subscribe, spread evenly over the publishers.
    pub subscribers: u32,
    /// Whether each subscriber subscribes to every publisher.
    pub all: bool,
    /// Participants that join per second.
    pub ramp: u32,
    /// Seconds that the load is held once every participant has joined.
    pub duration: u32,
    /// Whether the events WebSockets are left out.
    pub no_events: bool,
    /// Process id of a server on this machine, whose CPU and memory are reported.
    pub server_pid: Option<u32>,
    /// URL of the API.
    pub endpoint: String,
    /// Region of the stage; `None` is the one in its ARN.
    pub region: Option<String>,
    /// Access key id that requests to the API are signed with.
    pub access_key_id: String,
    /// Secret of the access key.
    pub secret_access_key: String,
    /// Session token of the access key.
    pub session_token: Option<String>,
    /// Format of the report.
    pub output: OutputFormat,
    /// How connections are made.
    pub client: ConnectOptions,
}

/// How connections are made.
#[derive(Clone)]
pub struct ConnectOptions {
    /// PEM file of certificates to trust besides the system's.
    pub ca: Option<PathBuf>,
    /// Value of the `User-Agent` header.
    pub user_agent: String,
}

/// Format of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// Text.
    Human,
    /// JSON lines.
    Json,
}
