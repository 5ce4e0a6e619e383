//! What the operator may set: each field is a flag, an environment variable and its own manual.

mod backup;
mod client;
mod events;
mod ice;
mod media_limits;
pub mod parse;
mod quotas;
mod regions;
mod store;
mod telemetry;

pub use backup::{BackupArgs, Place};
pub use client::{ClientArgs, JoinArgs, LoadArgs};
pub use events::{CheckArgs, ChosenArgs, DeadArgs, EventArgs, EventsArgs, EventsCommand, ForgetArgs, TargetsArgs};
pub use ice::{IceArgs, IceServer, TurnCredentials};
pub use media_limits::MediaLimitArgs;
pub use quotas::{AccountQuotas, Quotas};
pub use regions::Regions;
pub use store::{DatabaseArgs, DatabaseCheck, Listen, Pooler, StoreArgs, Synchronous, Url};
pub use telemetry::{Figures, Served, TelemetryArgs};

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Self-hosted, AWS-compatible Amazon IVS Real-Time.
#[derive(Debug, Parser)]
#[command(name = "greenroom", version, about, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; `serve` unless said otherwise.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// For `serve`.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the API (the default)
    Serve(Box<ServeArgs>),
    /// Bring the schema of the store up to date, and exit
    Migrate(StoreArgs),
    /// Manage the keys that sign participant tokens
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Manage the access keys that requests are signed with
    #[command(subcommand)]
    Credentials(CredentialsCommand),
    /// See where events go, and manage what was not taken
    #[command(subcommand)]
    Events(EventsCommand),
    /// Write everything in the store to one file, beside a running server or not
    Export(BackupArgs),
    /// Read such a file into an empty store, of either engine
    Import(BackupArgs),
    /// Check settings, addresses, ports, TURN servers, the database and the machine's limits; exit 1 if a check failed
    Doctor(Box<DoctorArgs>),
    /// Print the OpenAPI document
    Openapi,
    /// Ask the server at --listen whether it lives; exit 0 if it does, 1 if not
    Health(HealthArgs),
    /// Join a stage as a participant, with real media
    Join(Box<JoinArgs>),
    /// Let many participants join a stage, and report how it went
    Load(Box<LoadArgs>),
}

/// What can be done with signing keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Add a key that signs from now on; older ones stay good for verification
    Rotate(StoreArgs),
}

/// What can be done with access keys.
#[derive(Debug, Subcommand)]
pub enum CredentialsCommand {
    /// Make an access key; its secret is shown this once
    Create(CreateKeyArgs),
    /// List access keys, without their secrets
    List(KeysArgs),
    /// Show an access key and its policy, without its secret
    Show(KeyArgs),
    /// Refuse an access key from now on
    Disable(KeyArgs),
    /// Accept an access key again
    Enable(KeyArgs),
    /// Delete an access key for good
    Delete(KeyArgs),
}

/// For `credentials create`.
#[derive(Clone, Debug, Args)]
pub struct CreateKeyArgs {
    /// Account whose requests the key signs: 12 digits
    #[arg(long, value_parser = account)]
    pub account: String,
    /// Whom the key is for; stands in refusals as arn:aws:iam::ACCOUNT:user/NAME
    #[arg(long, default_value = "", hide_default_value = true, value_parser = user_name)]
    pub name: String,
    /// File with an IAM policy document (version 2012-10-17); without one, the key may do everything
    #[arg(long, value_name = "FILE")]
    pub policy: Option<std::path::PathBuf>,
    /// Demand a session token with the key, as temporary credentials have one
    #[arg(long)]
    pub session_token: bool,
    /// Seconds after which the key is good no longer
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub expires_in: Option<u32>,
    /// What they share.
    #[command(flatten)]
    pub common: KeysArgs,
}

/// For the other commands about one access key.
#[derive(Clone, Debug, Args)]
pub struct KeyArgs {
    /// The access key id
    #[arg(value_name = "ACCESS_KEY_ID")]
    pub id: String,
    /// What they share.
    #[command(flatten)]
    pub common: KeysArgs,
}

/// What the commands about access keys share.
#[derive(Clone, Debug, Args)]
pub struct KeysArgs {
    /// Form of the output
    #[arg(long, default_value = "human", value_name = "FORM")]
    pub output: Output,
    /// The store.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Form of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Lines for people.
    Human,
    /// One JSON value.
    Json,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// For `health`.
#[derive(Clone, Debug, Args)]
pub struct HealthArgs {
    /// Address of the server
    #[arg(long, env = "GREENROOM_LISTEN", default_value = "127.0.0.1:4600", value_name = "ADDRESS", value_parser = parse::address)]
    pub listen: SocketAddr,
    /// Certificate of the server, if it speaks TLS. The file is not read: what answers is not asked to prove who it is
    #[arg(long, env = "GREENROOM_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
}

/// For `doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Form of the report
    #[arg(long, default_value = "human", value_name = "FORM")]
    pub output: Output,
    /// The settings that a server is to run with.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// For `serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Address to listen on: IP:PORT, or a port alone for 127.0.0.1; port 0 takes a free one
    #[arg(long, env = "GREENROOM_LISTEN", default_value = "127.0.0.1:4600", value_name = "ADDRESS", value_parser = parse::address)]
    pub listen: SocketAddr,
    /// The store.
    #[command(flatten)]
    pub store: StoreArgs,
    /// How the database is checked.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// How connections and requests are taken.
    #[command(flatten)]
    pub listener: ListenerArgs,
    /// What clients reach this server at, in tokens and stage endpoints [default: http://, or https:// with --tls-cert, and the address of --listen]
    #[arg(long, env = "GREENROOM_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<PublicUrl>,
    /// Regions that requests may be signed for, separated by commas; others are refused [default: those of IVS Real-Time]
    #[arg(
        long,
        env = "GREENROOM_REGIONS",
        default_value = regions::AWS,
        value_name = "REGION,…",
        hide_default_value = true
    )]
    pub regions: Regions,
    /// Region in the command that is printed at the start, one of --regions
    #[arg(long, env = "GREENROOM_REGION", default_value = "us-east-1", value_parser = region)]
    pub region: String,
    /// Account of the development access key `test`, and of --access-key-id: 12 digits
    #[arg(long, env = "GREENROOM_ACCOUNT", default_value = "000000000000", value_parser = account)]
    pub account: String,
    /// Whether the access key `test` with the secret `test`, and any 12-digit account number with that secret, are accepted: on or off. Only while listening on a loopback address
    #[arg(long, env = "GREENROOM_DEV_CREDENTIALS", default_value = "on", value_name = "SWITCH")]
    pub dev_credentials: Switch,
    /// Id of an access key that is made at the start, for --account, unless it is there: 16 to 128 letters, digits and underscores
    #[arg(long, env = "GREENROOM_ACCESS_KEY_ID", value_name = "ID", requires = "secret_access_key")]
    pub access_key_id: Option<String>,
    /// Secret of that access key: 32 to 128 printable ASCII characters without spaces. Prefer the variable: other users can see a program's flags
    #[arg(
        long,
        env = "GREENROOM_SECRET_ACCESS_KEY",
        value_name = "SECRET",
        hide_env_values = true,
        requires = "access_key_id"
    )]
    pub secret_access_key: Option<Secret>,
    /// Seconds that the clock of whoever signs a request may be off, either way
    #[arg(long, env = "GREENROOM_CLOCK_SKEW_SECONDS", default_value_t = 300, value_name = "S")]
    pub clock_skew_seconds: u32,
    /// Requests a second of an account in a region: off, aws (AWS's rates), or OPERATION=NUMBER, separated by commas, alone or after aws
    #[arg(long, env = "GREENROOM_RATE_LIMITS", default_value = "off", value_name = "RATES")]
    pub rate_limits: RateLimits,
    /// Quotas of an account in a region, NAME=NUMBER or NAME=unlimited, separated by commas; those not named keep AWS's values
    #[arg(long, env = "GREENROOM_QUOTAS", default_value = "", value_name = "NAME=N,…", hide_default_value = true)]
    pub quotas: Quotas,
    /// Quotas of an account over all regions together, NAME=NUMBER, separated by commas; those not named are unlimited
    #[arg(
        long,
        env = "GREENROOM_ACCOUNT_QUOTAS",
        default_value = "",
        value_name = "NAME=N,…",
        hide_default_value = true
    )]
    pub account_quotas: AccountQuotas,
    /// Seconds from the start of a composition until it is ACTIVE
    #[arg(long, env = "GREENROOM_COMPOSITION_START_SECONDS", default_value_t = 2, value_name = "S")]
    pub composition_start_seconds: u32,
    /// Seconds without a publisher after which a composition stops
    #[arg(long, env = "GREENROOM_COMPOSITION_IDLE_SECONDS", default_value_t = 60, value_name = "S")]
    pub composition_idle_seconds: u32,
    /// Seconds after which a composition stops in any case
    #[arg(long, env = "GREENROOM_COMPOSITION_MAX_SECONDS", default_value_t = 86_400, value_name = "S")]
    pub composition_max_seconds: u32,
    /// Seconds that a composition is STOPPING before it is STOPPED
    #[arg(long, env = "GREENROOM_COMPOSITION_STOP_SECONDS", default_value_t = 1, value_name = "S")]
    pub composition_stop_seconds: u32,
    /// Seconds that a stopped composition can still be seen
    #[arg(long, env = "GREENROOM_COMPOSITION_RETENTION_SECONDS", default_value_t = 300, value_name = "S")]
    pub composition_retention_seconds: u32,
    /// Seconds that requests in flight are given to finish when the server stops
    #[arg(long, env = "GREENROOM_SHUTDOWN_SECONDS", default_value_t = 10, value_name = "S")]
    pub shutdown_seconds: u32,
    /// Participants' connections.
    #[command(flatten)]
    pub participants: ParticipantArgs,
    /// Events.
    #[command(flatten)]
    pub events: EventArgs,
    /// What the server tells of itself.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

/// How participants connect, and when their sessions end.
#[derive(Clone, Debug, Args)]
pub struct ParticipantArgs {
    /// UDP address that media are sent to and from; one port for everybody [default: the address of --listen and the port after its own]
    #[arg(long, env = "GREENROOM_MEDIA_ADDR", value_name = "ADDRESS", value_parser = parse::address)]
    pub media_addr: Option<SocketAddr>,
    /// IP addresses that clients reach --media-addr at, separated by commas, where they are not its own: behind NAT, or when it is every address
    #[arg(long, env = "GREENROOM_MEDIA_PUBLIC_IP", value_name = "IP,…", value_delimiter = ',')]
    pub media_public_ip: Vec<IpAddr>,
    /// ICE servers.
    #[command(flatten)]
    pub ice: IceArgs,
    /// Hold publishers to the limits of IVS: an H.264 section in every offer, no VP8, 720p, 8.5 Mbps, no B-frames
    #[arg(long, env = "GREENROOM_STRICT_IVS", default_value = "off", value_name = "SWITCH")]
    pub strict_ivs: Switch,
    /// Maximum size of an SDP offer, in bytes; larger ones get 413
    #[arg(long, env = "GREENROOM_MAX_OFFER_BYTES", default_value_t = 262_144, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(4096..=1_048_576))]
    pub max_offer_bytes: u32,
    /// Maximum media sections of an SDP offer; offers with more get 413
    #[arg(long, env = "GREENROOM_MAX_OFFER_SECTIONS", default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1024))]
    pub max_offer_sections: u32,
    /// Seconds without a sign of life after which a media connection has ended
    #[arg(long, env = "GREENROOM_ICE_TIMEOUT_SECONDS", default_value_t = 15, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub ice_timeout_seconds: u32,
    /// Seconds without a message after which an events WebSocket is closed
    #[arg(long, env = "GREENROOM_EVENTS_TIMEOUT_SECONDS", default_value_t = 30, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub events_timeout_seconds: u32,
    /// Seconds that somebody may publish or subscribe without a break
    #[arg(long, env = "GREENROOM_STREAM_MAX_SECONDS", default_value_t = 86_400, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub stream_max_seconds: u32,
    /// Seconds from the leaving of a session's last participant to its end
    #[arg(long, env = "GREENROOM_SESSION_END_SECONDS", default_value_t = 60, value_name = "S")]
    pub session_end_seconds: u32,
    /// Seconds without a publisher after which a session ends although participants are in it; 0 is never
    #[arg(long, env = "GREENROOM_SESSION_SILENT_SECONDS", default_value_t = 0, value_name = "S")]
    pub session_silent_seconds: u32,
    /// Seconds that the clock of whoever makes tokens may be off, either way
    #[arg(long, env = "GREENROOM_TOKEN_LEEWAY_SECONDS", default_value_t = 5, value_name = "S")]
    pub token_leeway_seconds: u32,
    /// URL that clients reach this node at, of several that share a store [default: that of --public-url]
    #[arg(long, env = "GREENROOM_NODE_URL", value_name = "URL")]
    pub node_url: Option<PublicUrl>,
    /// Seconds after which a node that gives no sign of life is taken for dead
    #[arg(long, env = "GREENROOM_NODE_LEASE_SECONDS", default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u32).range(2..))]
    pub node_lease_seconds: u32,
    /// Limits of media.
    #[command(flatten)]
    pub limits: MediaLimitArgs,
}

/// How connections and requests are taken: TLS, proxies, limits.
#[derive(Clone, Debug, Args)]
pub struct ListenerArgs {
    /// Certificate chain to serve HTTPS with: PEM. Read again, with the key, at SIGHUP
    #[arg(long, env = "GREENROOM_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate: PEM
    #[arg(long, env = "GREENROOM_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Networks of the proxies before this server, separated by commas; X-Forwarded-For counts from these alone
    #[arg(
        long,
        env = "GREENROOM_TRUSTED_PROXIES",
        default_value = "",
        value_name = "CIDR,…",
        hide_default_value = true
    )]
    pub trusted_proxies: Networks,
    /// Most connections at once; one more is closed as soon as it is there
    #[arg(long, env = "GREENROOM_MAX_CONNECTIONS", default_value_t = 4096, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: u32,
    /// Most requests at work at once; one more is answered 503 at once
    #[arg(long, env = "GREENROOM_MAX_IN_FLIGHT", default_value_t = 512, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_in_flight: u32,
    /// Most bytes of the head of a request; one with more is answered 431
    #[arg(long, env = "GREENROOM_MAX_HEADER_BYTES", default_value_t = 16_384, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(8192..=1_048_576))]
    pub max_header_bytes: u32,
    /// Seconds in which the head of a request must arrive, and a TLS handshake be done, or the connection is closed
    #[arg(long, env = "GREENROOM_HEADER_TIMEOUT_SECONDS", default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub header_timeout_seconds: u32,
    /// Seconds in which the body of a request must arrive, or it is answered 408
    #[arg(long, env = "GREENROOM_BODY_TIMEOUT_SECONDS", default_value_t = 30, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub body_timeout_seconds: u32,
    /// Minimum bytes per second of a body, after a grace of 5 seconds, or it is answered 408
    #[arg(long, env = "GREENROOM_MIN_BODY_RATE", default_value_t = 512, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..))]
    pub min_body_rate: u32,
    /// Maximum bytes of request bodies in memory, and as many of unread answers; requests beyond get 503
    #[arg(long, env = "GREENROOM_MAX_BUFFERED_BYTES", default_value_t = 67_108_864, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(16_777_216..))]
    pub max_buffered_bytes: u32,
    /// Maximum percentage of connections, requests in flight and buffered bytes that one client address may hold
    #[arg(long, env = "GREENROOM_MAX_CLIENT_SHARE", default_value_t = 50, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub max_client_share: u32,
    /// Seconds that an answer may wait for its client to read on, or the connection is closed
    #[arg(long, env = "GREENROOM_WRITE_TIMEOUT_SECONDS", default_value_t = 30, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub write_timeout_seconds: u32,
    /// Seconds after which a connection without a request is closed
    #[arg(long, env = "GREENROOM_IDLE_TIMEOUT_SECONDS", default_value_t = 75, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub idle_timeout_seconds: u32,
}

/// Networks of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

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
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an address is in one of them.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Text that is never shown.
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

/// Where clients reach the server: scheme, host, port and a path before every other one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    /// Whether the scheme is `https`.
    pub secure: bool,
    /// Host, and port if it is not the scheme's own.
    pub authority: String,
    /// `""`, or a path that begins with a slash and does not end with one.
    pub path: String,
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "use http://HOST:PORT or https://HOST:PORT, with a path if need be".to_owned();
        let uri: axum::http::Uri = text.parse().map_err(|_| wrong())?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().map(|a| a.as_str().to_owned()).unwrap_or_default();
        // Every URL made of it must fit the 2,048 characters of a stage endpoint.
        if authority.is_empty() || authority.contains('@') || uri.query().is_some() || text.len() > 1024 {
            return Err(wrong());
        }
        Ok(PublicUrl { secure, authority, path: uri.path().trim_end_matches('/').to_owned() })
    }
}

impl PublicUrl {
    /// The URL of `path` under one of the two schemes: plain and secure.
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

/// Rates: AWS's or none, and single ones of the operator's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Whether AWS's rates hold where no other is set.
    pub aws: bool,
    /// Requests a second, by the name of the operation.
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
                    let rate = rate.ok_or_else(|| format!("'{number}' is not a number of requests a second"))?;
                    rates.single.push((operation.to_owned(), rate));
                }
                _ => return Err(format!("'{part}' is none of off, aws and OPERATION=NUMBER")),
            }
        }
        Ok(rates)
    }
}

/// A name that may stand in the ARN of an IAM user.
fn user_name(text: &str) -> Result<String, String> {
    let valid = text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c));
    valid.then(|| text.to_owned()).ok_or_else(|| "use at most 64 letters, digits and +=,.@_-".into())
}

/// Lower-case letters, digits and hyphens, short enough for every ARN to stay within its 128 characters.
pub fn region(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let valid = (1..=32).contains(&text.len()) && text.chars().all(fits);
    valid.then(|| text.to_owned()).ok_or_else(|| "use lower-case letters, digits and hyphens, such as us-east-1".into())
}

/// Twelve digits.
pub fn account(text: &str) -> Result<String, String> {
    let valid = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| text.to_owned()).ok_or_else(|| "an account is 12 digits".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_urls_give_every_scheme() {
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
    fn rates_are_awss_or_ones_own() {
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
            assert_eq!(networks.contain(address.parse().unwrap()), inside, "{address}");
        }
        assert_eq!("".parse(), Ok(Networks::default()));
        for bad in ["10.0.0.0/33", "proxy.example.com", "10.0.0"] {
            assert!(bad.parse::<Networks>().is_err(), "{bad}");
        }
    }
}
