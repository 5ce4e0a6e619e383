//! Settings of a server: each field is a flag, an environment variable, and its documentation.

mod events;
mod ice;
mod ingest;
mod media_limits;
mod public_host;
mod quotas;
mod recording;
mod regions;
mod storage;
mod store;
pub(crate) mod table;
mod telemetry;
mod testing;

pub use events::EventArgs;
pub use ice::{IceArgs, IceServer, TurnCredentials};
pub use ingest::{IngestArgs, IngestUrl};
pub use media_limits::MediaLimitArgs;
pub use public_host::PublicHost;
pub use quotas::{AccountQuotas, Quotas};
pub use recording::{RecordingArgs, RecordingAudio, RecordingVp8};
pub use regions::Regions;
pub use storage::{ByteSize, Encryption, Endpoint, Place, SpoolArgs, StorageArgs};
pub(crate) use storage::{kms_key, s3_region};
pub use store::{DatabaseArgs, DatabaseCheck, Listen, Pooler, StoreArgs, Synchronous, Url};
pub use telemetry::{MetricsMode, Served, TelemetryArgs};
pub use testing::{TestApi, TestingArgs};

use clap::{Args, Parser, ValueEnum};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Groups of settings: headings of the help, and in lower case the optional tables of a configuration file.
pub(crate) mod group {
    pub const NETWORK: &str = "Network";
    pub const STORE: &str = "Store";
    pub const MEDIA: &str = "Media";
    pub const RECORDING: &str = "Recording";
    pub const SESSIONS: &str = "Sessions";
    pub const SECURITY: &str = "Security";
    pub const EVENTS: &str = "Events";
    pub const LIMITS: &str = "Limits";
    pub const TELEMETRY: &str = "Telemetry";
    pub const TESTING: &str = "Testing";
}

/// The address of a listener that can be off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionalListener {
    /// At an address.
    At(SocketAddr),
    /// Nowhere.
    Off,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// Settings of a server.
#[derive(Clone, Debug, Parser)]
#[command(next_help_heading = group::NETWORK)]
pub struct ServeArgs {
    /// Address of the API: IP:PORT, or a port alone for 127.0.0.1
    ///
    /// Port 0 takes a free one.
    #[arg(long, env = "GREENROOM_LISTEN", default_value = "127.0.0.1:4600", value_name = "ADDRESS", value_parser = address)]
    pub listen: SocketAddr,
    /// Base URL of the API for clients, in tokens and stage endpoints (default: http:// or https://, and --listen)
    #[arg(long, env = "GREENROOM_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<PublicUrl>,
    /// Grace period for in-flight requests at shutdown, in seconds
    #[arg(long, env = "GREENROOM_SHUTDOWN_SECONDS", default_value_t = 10, value_name = "S")]
    pub shutdown_seconds: u32,
    /// The store.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Checks of the store.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Participants' connections.
    #[command(flatten)]
    pub participants: ParticipantArgs,
    /// Encoders.
    #[command(flatten)]
    pub ingest: IngestArgs,
    /// How participants are recorded.
    #[command(flatten)]
    pub recording: RecordingArgs,
    /// Where recordings are stored.
    #[command(flatten)]
    pub storage: StorageArgs,
    /// The spool of recordings.
    #[command(flatten)]
    pub spool: SpoolArgs,
    /// Time from StartComposition to ACTIVE, in seconds
    #[arg(long, env = "GREENROOM_COMPOSITION_START_SECONDS", default_value_t = 2, value_name = "S", help_heading = group::SESSIONS)]
    pub composition_start_seconds: u32,
    /// Maximum time of a composition without a publisher, in seconds; then it stops
    #[arg(long, env = "GREENROOM_COMPOSITION_IDLE_SECONDS", default_value_t = 60, value_name = "S", help_heading = group::SESSIONS)]
    pub composition_idle_seconds: u32,
    /// Maximum duration of a composition, in seconds
    #[arg(long, env = "GREENROOM_COMPOSITION_MAX_SECONDS", default_value_t = 86_400, value_name = "S", help_heading = group::SESSIONS)]
    pub composition_max_seconds: u32,
    /// Time of a composition from STOPPING to STOPPED, in seconds
    #[arg(long, env = "GREENROOM_COMPOSITION_STOP_SECONDS", default_value_t = 1, value_name = "S", help_heading = group::SESSIONS)]
    pub composition_stop_seconds: u32,
    /// Retention of stopped compositions, in seconds
    #[arg(long, env = "GREENROOM_COMPOSITION_RETENTION_SECONDS", default_value_t = 300, value_name = "S", help_heading = group::SESSIONS)]
    pub composition_retention_seconds: u32,
    /// Regions that requests can be signed for, comma-separated (default: the regions of IVS Real-Time)
    #[arg(
        long,
        env = "GREENROOM_REGIONS",
        default_value = regions::AWS,
        value_name = "REGION,…",
        hide_default_value = true,
        help_heading = group::SECURITY
    )]
    pub regions: Regions,
    /// Region in the example command printed at start; one of --regions
    #[arg(long, env = "GREENROOM_REGION", default_value = "us-east-1", value_parser = region, help_heading = group::SECURITY)]
    pub region: String,
    /// Account of the development access key and of --access-key-id: 12 digits
    #[arg(long, env = "GREENROOM_ACCOUNT", default_value = "000000000000", value_parser = account, help_heading = group::SECURITY)]
    pub account: String,
    /// Development access key test with the secret test: on or off
    ///
    /// On is for loopback addresses only. Any 12-digit account number with the secret test is accepted, too, and names its
    /// account.
    #[arg(long, env = "GREENROOM_DEV_CREDENTIALS", default_value = "on", value_name = "SWITCH", help_heading = group::SECURITY)]
    pub dev_credentials: Switch,
    /// ID of an access key to create at start, for --account: 16 to 128 letters, digits and underscores
    ///
    /// An access key of this ID that exists already is kept, and must have the same secret.
    #[arg(long, env = "GREENROOM_ACCESS_KEY_ID", value_name = "ID", requires = "secret_access_key", help_heading = group::SECURITY)]
    pub access_key_id: Option<String>,
    /// Secret of --access-key-id: 32 to 128 printable ASCII characters without spaces
    ///
    /// Prefer the variable: other users of the machine can read command lines.
    #[arg(
        long,
        env = "GREENROOM_SECRET_ACCESS_KEY",
        value_name = "SECRET",
        hide_env_values = true,
        requires = "access_key_id",
        help_heading = group::SECURITY
    )]
    pub secret_access_key: Option<Secret>,
    /// Allowed clock skew of request signatures, in seconds
    #[arg(long, env = "GREENROOM_CLOCK_SKEW_SECONDS", default_value_t = 300, value_name = "S", help_heading = group::SECURITY)]
    pub clock_skew_seconds: u32,
    /// Rate limits of the API: off, aws, or OPERATION=NUMBER requests per second, comma-separated
    ///
    /// Per account and region, on each node. aws is AWS's rates; single operations can follow it, as in aws,CreateStage=50.
    #[arg(long, env = "GREENROOM_RATE_LIMITS", default_value = "off", value_name = "RATE,…", help_heading = group::LIMITS)]
    pub rate_limits: RateLimits,
    /// Quotas of an account in a region, NAME=NUMBER or NAME=unlimited, comma-separated (default: AWS's quotas)
    ///
    /// Names: stages, public-keys, encoder-configurations, storage-configurations, ingest-configurations, compositions,
    /// compositions-per-stage, participant-replicas, publishers, subscribers.
    #[arg(long, env = "GREENROOM_QUOTAS", default_value = "", value_name = "NAME=N,…", hide_default_value = true, help_heading = group::LIMITS)]
    pub quotas: Quotas,
    /// Quotas of an account over all regions, NAME=NUMBER, comma-separated (default: unlimited)
    ///
    /// Names: stages, public-keys, encoder-configurations, storage-configurations, ingest-configurations, compositions.
    #[arg(
        long,
        env = "GREENROOM_ACCOUNT_QUOTAS",
        default_value = "",
        value_name = "NAME=N,…",
        hide_default_value = true,
        help_heading = group::LIMITS
    )]
    pub account_quotas: AccountQuotas,
    /// How connections and requests are accepted.
    #[command(flatten)]
    pub listener: ListenerArgs,
    /// Events.
    #[command(flatten)]
    pub events: EventArgs,
    /// Metrics.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    /// The test API.
    #[command(flatten)]
    pub testing: TestingArgs,
}

/// Settings of participants' connections and sessions.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = group::MEDIA)]
pub struct ParticipantArgs {
    /// UDP address for media, one port for all participants (default: the address of --listen, next port)
    #[arg(long, env = "GREENROOM_MEDIA_ADDR", value_name = "ADDRESS", value_parser = address)]
    pub media_addr: Option<SocketAddr>,
    /// TCP address for media of clients whose network blocks UDP, or off (default: the same as --media-addr)
    ///
    /// If it is that of --listen, one port serves both. A default address that is in use is logged, and TCP is off.
    #[arg(long, env = "GREENROOM_MEDIA_TCP_ADDR", value_name = "ADDRESS", value_parser = optional_address)]
    pub media_tcp_addr: Option<OptionalListener>,
    /// Public IP addresses or DNS names to advertise for media, comma-separated (default: those of --media-addr)
    ///
    /// Required behind NAT. Names are resolved once, at start, to all their addresses of the families of --media-addr. If
    /// --media-addr is 0.0.0.0 or ::, the default is the addresses of all network interfaces.
    #[arg(long, env = "GREENROOM_MEDIA_PUBLIC_IP", value_name = "HOST,…", value_delimiter = ',')]
    pub media_public_ip: Vec<PublicHost>,
    /// ICE servers.
    #[command(flatten)]
    pub ice: IceArgs,
    /// Enforcement of IVS publishing limits: on or off
    ///
    /// An H.264 section in every offer, no VP8, 720p, 8.5 Mbps, no B-frames.
    #[arg(long, env = "GREENROOM_STRICT_IVS", default_value = "off", value_name = "SWITCH")]
    pub strict_ivs: Switch,
    /// Timeout of a silent media connection, in seconds
    #[arg(long, env = "GREENROOM_ICE_TIMEOUT_SECONDS", default_value_t = 15, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub ice_timeout_seconds: u32,
    /// Maximum duration of a publication or a subscription, in seconds
    #[arg(long, env = "GREENROOM_STREAM_MAX_SECONDS", default_value_t = 86_400, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub stream_max_seconds: u32,
    /// URL of this node for clients, where several nodes share a store (default: --public-url)
    #[arg(long, env = "GREENROOM_NODE_URL", value_name = "URL", help_heading = group::NETWORK)]
    pub node_url: Option<PublicUrl>,
    /// Lease of a node, in seconds; a node that does not renew it is considered dead
    #[arg(long, env = "GREENROOM_NODE_LEASE_SECONDS", default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u32).range(2..), help_heading = group::NETWORK)]
    pub node_lease_seconds: u32,
    /// Timeout of a silent events WebSocket, in seconds
    #[arg(long, env = "GREENROOM_EVENTS_TIMEOUT_SECONDS", default_value_t = 30, value_name = "S", value_parser = clap::value_parser!(u32).range(1..), help_heading = group::NETWORK)]
    pub events_timeout_seconds: u32,
    /// Time from the last participant leaving to the end of the session, in seconds
    #[arg(long, env = "GREENROOM_SESSION_END_SECONDS", default_value_t = 60, value_name = "S", help_heading = group::SESSIONS)]
    pub session_end_seconds: u32,
    /// Maximum time of a session without a publisher, in seconds; then it ends; 0 is unlimited
    #[arg(long, env = "GREENROOM_SESSION_SILENT_SECONDS", default_value_t = 0, value_name = "S", help_heading = group::SESSIONS)]
    pub session_silent_seconds: u32,
    /// Allowed clock skew of token issuers, in seconds
    #[arg(long, env = "GREENROOM_TOKEN_LEEWAY_SECONDS", default_value_t = 5, value_name = "S", help_heading = group::SECURITY)]
    pub token_leeway_seconds: u32,
    /// Maximum size of an SDP offer, in bytes; larger ones get 413
    #[arg(long, env = "GREENROOM_MAX_OFFER_BYTES", default_value_t = 262_144, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(4096..=1_048_576), help_heading = group::LIMITS)]
    pub max_offer_bytes: u32,
    /// Maximum number of media sections in an SDP offer; offers with more get 413
    #[arg(long, env = "GREENROOM_MAX_OFFER_SECTIONS", default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1024), help_heading = group::LIMITS)]
    pub max_offer_sections: u32,
    /// Limits of media.
    #[command(flatten)]
    pub limits: MediaLimitArgs,
}

/// How connections and requests are accepted: TLS, proxies, limits.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = group::LIMITS)]
pub struct ListenerArgs {
    /// Certificate chain to serve HTTPS with, and RTMPS by default: PEM; reloaded with its key at SIGHUP
    #[arg(long, env = "GREENROOM_TLS_CERT", value_name = "FILE", requires = "tls_key", help_heading = group::NETWORK)]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate: PEM
    #[arg(long, env = "GREENROOM_TLS_KEY", value_name = "FILE", requires = "tls_cert", help_heading = group::NETWORK)]
    pub tls_key: Option<PathBuf>,
    /// Networks of trusted proxies, comma-separated; X-Forwarded-For is read from them only
    #[arg(
        long,
        env = "GREENROOM_TRUSTED_PROXIES",
        default_value = "",
        value_name = "CIDR,…",
        hide_default_value = true,
        help_heading = group::NETWORK
    )]
    pub trusted_proxies: Networks,
    /// Maximum concurrent connections; further ones are closed immediately
    #[arg(long, env = "GREENROOM_MAX_CONNECTIONS", default_value_t = 4096, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: u32,
    /// Maximum in-flight requests; further ones get 503
    #[arg(long, env = "GREENROOM_MAX_IN_FLIGHT", default_value_t = 512, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_in_flight: u32,
    /// Maximum size of a request head, in bytes; larger ones get 431
    #[arg(long, env = "GREENROOM_MAX_HEADER_BYTES", default_value_t = 16_384, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(8192..=1_048_576))]
    pub max_header_bytes: u32,
    /// Timeout of a request head and of a TLS handshake, in seconds; then the connection is closed
    #[arg(long, env = "GREENROOM_HEADER_TIMEOUT_SECONDS", default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub header_timeout_seconds: u32,
    /// Timeout of a request body, in seconds; then the request gets 408
    #[arg(long, env = "GREENROOM_BODY_TIMEOUT_SECONDS", default_value_t = 30, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub body_timeout_seconds: u32,
    /// Minimum rate of a request body, in bytes per second, after 5 seconds; slower ones get 408
    #[arg(long, env = "GREENROOM_MIN_BODY_RATE", default_value_t = 512, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..))]
    pub min_body_rate: u32,
    /// Maximum memory for request bodies, and for unread responses, in bytes each; further requests get 503
    #[arg(long, env = "GREENROOM_MAX_BUFFERED_BYTES", default_value_t = 67_108_864, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(16_777_216..))]
    pub max_buffered_bytes: u32,
    /// Maximum share of one client address in connections, in-flight requests and buffered bytes, in percent
    ///
    /// Each kind of connections has its own limit: HTTP, media over TCP, encoders.
    #[arg(long, env = "GREENROOM_MAX_CLIENT_SHARE", default_value_t = 50, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub max_client_share: u32,
    /// Timeout of a client that does not read its response, in seconds; then the connection is closed
    #[arg(long, env = "GREENROOM_WRITE_TIMEOUT_SECONDS", default_value_t = 30, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub write_timeout_seconds: u32,
    /// Timeout of a connection without a request, in seconds; then it is closed
    #[arg(long, env = "GREENROOM_IDLE_TIMEOUT_SECONDS", default_value_t = 75, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub idle_timeout_seconds: u32,
}

/// IP networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(pub Vec<IpNet>);

impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let network = |part: &str| {
            let network = part.parse().or_else(|_| part.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| format!("'{part}' is not a network, such as 10.0.0.0/8, nor an address"))
        };
        parts.map(network).collect::<Result<_, _>>().map(Networks)
    }
}

impl Networks {
    /// Whether there is no network.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret(text)
    }
}

/// Base URL of the server for clients: scheme, host, port and path prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    /// Whether the scheme is `https`.
    pub secure: bool,
    /// Host, and port if it is not the default of the scheme.
    pub authority: String,
    /// `""`, or a path with a leading slash and without a trailing one.
    pub path: String,
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "use http://HOST:PORT or https://HOST:PORT, with an optional path".to_owned();
        let uri: axum::http::Uri = text.parse().map_err(|_| wrong())?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().map(|a| a.as_str().to_owned()).unwrap_or_default();
        // Every URL made from it must fit the 2,048 characters of a stage endpoint.
        if authority.is_empty() || authority.contains('@') || uri.query().is_some() || text.len() > 1024 {
            return Err(wrong());
        }
        Ok(PublicUrl { secure, authority, path: uri.path().trim_end_matches('/').to_owned() })
    }
}

impl PublicUrl {
    /// The URL of `path`, with the first scheme for plain text and the second for TLS.
    pub fn url(&self, (plain, secure): (&str, &str), path: &str) -> String {
        let scheme = if self.secure { secure } else { plain };
        format!("{scheme}://{}{}{path}", self.authority, self.path)
    }

    /// The host without its port.
    pub fn host(&self) -> &str {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => &self.authority,
        }
    }
}

/// Rate limits of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Whether operations without a rate of their own have AWS's.
    pub aws: bool,
    /// Requests per second of single operations, by name.
    pub single: Vec<(String, u32)>,
}

impl FromStr for RateLimits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut rates = RateLimits::default();
        for (n, part) in text.split(',').map(str::trim).enumerate() {
            match (n, part.split_once('=')) {
                (0, None) if part == "aws" => rates.aws = true,
                (0, None) if part == "off" => {}
                (_, Some((operation, number))) => {
                    let rate = number.parse().ok().filter(|rate| *rate > 0);
                    let rate = rate.ok_or_else(|| format!("'{number}' is not a number of requests per second"))?;
                    rates.single.push((operation.to_owned(), rate));
                }
                _ => return Err(format!("'{part}' is none of off, aws and OPERATION=NUMBER")),
            }
        }
        Ok(rates)
    }
}

/// Parses the address of a listener that can be off.
fn optional_address(text: &str) -> Result<OptionalListener, String> {
    match text {
        "off" => Ok(OptionalListener::Off),
        text => address(text).map(OptionalListener::At).map_err(|error| format!("{error}, or off")),
    }
}

/// Parses an address to listen on: `IP:PORT`, or `localhost:PORT` or a port alone for 127.0.0.1.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let local = |port: &str| port.parse().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).ok();
    let known = text.parse().ok().or_else(|| local(text)).or_else(|| local(text.strip_prefix("localhost:")?));
    known.ok_or_else(|| {
        let port = text.rsplit_once(':').map_or("4600", |(_, port)| port);
        let port = port.parse::<u16>().unwrap_or(4600);
        format!("use IP:PORT, such as 127.0.0.1:{port}, or 0.0.0.0:{port} for every address of this machine")
    })
}

/// Parses a name that is valid in the ARN of an IAM user.
pub(crate) fn user_name(text: &str) -> Result<String, String> {
    let valid = text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c));
    valid.then(|| text.to_owned()).ok_or_else(|| "use at most 64 letters, digits and +=,.@_-".into())
}

/// Parses a region: lower-case letters, digits and hyphens, short enough for every ARN to fit its 128 characters.
pub fn region(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let valid = (1..=32).contains(&text.len()) && text.chars().all(fits);
    valid.then(|| text.to_owned()).ok_or_else(|| "use lower-case letters, digits and hyphens, such as us-east-1".into())
}

/// Parses an account: 12 digits.
pub fn account(text: &str) -> Result<String, String> {
    let valid = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| text.to_owned()).ok_or_else(|| "an account is 12 digits".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed() {
        for (text, address) in [
            ("127.0.0.1:4600", "127.0.0.1:4600"),
            ("[::1]:4600", "[::1]:4600"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            ("4600", "127.0.0.1:4600"),
            ("localhost:4600", "127.0.0.1:4600"),
        ] {
            assert_eq!(super::address(text), Ok(address.parse().unwrap()), "{text}");
        }
        for bad in ["", "nowhere", "127.0.0.1", "127.0.0.1:99999", "99999", "localhost", "example.org:4600", ":4600"] {
            let error = super::address(bad).unwrap_err();
            assert!(error.contains("IP:PORT"), "{bad}: {error}");
        }
        assert!(super::address("example.org:81").unwrap_err().contains("0.0.0.0:81"));
    }

    #[test]
    fn public_urls_have_every_scheme() {
        let url: PublicUrl = "https://ivs.example.com:8443/rt/".parse().unwrap();
        assert_eq!(url.url(("ws", "wss"), "/events"), "wss://ivs.example.com:8443/rt/events");
        assert_eq!(url.host(), "ivs.example.com");
        let url: PublicUrl = "http://[::1]:4600".parse().unwrap();
        assert_eq!((url.host(), url.url(("http", "https"), "/whip")), ("[::1]", "http://[::1]:4600/whip".into()));
        for bad in ["", "ivs.example.com", "ftp://x", "http://", "http://u:p@x", "http://x/?q"] {
            assert!(bad.parse::<PublicUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn rate_limits_are_parsed() {
        assert_eq!("off".parse(), Ok(RateLimits::default()));
        let rates: RateLimits = "aws,CreateStage=50".parse().unwrap();
        assert_eq!(rates, RateLimits { aws: true, single: vec![("CreateStage".into(), 50)] });
        assert_eq!("GetStage=7".parse::<RateLimits>().unwrap().single, [("GetStage".to_owned(), 7)]);
        for bad in ["", "gcp", "CreateStage=0", "CreateStage=x", "CreateStage=5,aws"] {
            assert!(bad.parse::<RateLimits>().is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_are_ranges_or_single_addresses() {
        let networks: Networks = "10.0.0.0/8, 192.0.2.1,2001:db8::/32".parse().unwrap();
        for (address, inside) in
            [("10.9.8.7", true), ("192.0.2.1", true), ("192.0.2.2", false), ("2001:db8::1", true), ("::1", false)]
        {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(networks.0.iter().any(|network| network.contains(&address)), inside, "{address}");
        }
        assert_eq!("".parse(), Ok(Networks::default()));
        for bad in ["10.0.0.0/33", "proxy.example.com", "10.0.0"] {
            assert!(bad.parse::<Networks>().is_err(), "{bad}");
        }
    }
}
