//! Commands and their arguments. The settings of a server, which most commands share, are in [`crate::config`].

mod backup;
mod client;
mod events;
mod inspect;
mod recordings;
mod test_api;

pub(super) use backup::{BackupArgs, BackupFile};
pub use client::{ApiArgs, ClientArgs, JoinArgs, LoadArgs};
pub(super) use events::{CheckArgs, DeadArgs, DeadEventsArgs, EventsArgs, EventsCommand, ForgetArgs, TargetsArgs};

pub use inspect::InspectArgs;
pub(super) use recordings::{
    ExportRecordingArgs, ListRecordingsArgs, ReadRecordingArgs, RecordingArgs, RecordingStoreArgs, RecordingsCommand,
};
pub use test_api::{JournalArgs, ScenarioTime, SimulateArgs, TestApiArgs};

use super::parse::Setting;
use crate::config::{ServeArgs, StoreArgs, account, address, user_name};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Self-hosted, AWS-compatible Amazon IVS Real-Time
#[derive(Debug, Parser)]
#[command(
    name = "greenroom",
    disable_version_flag = true,
    override_usage = "greenroom [COMMAND] [OPTIONS]",
    after_help = "Without a command, greenroom serves: its options are those of greenroom serve (see greenroom serve --help).",
    after_long_help = "\
Without a command, greenroom serves: its options are those of greenroom serve (see greenroom serve --help).

Settings are read from flags, then environment variables, then the file of --config, then defaults. Most deployments set
GREENROOM_LISTEN, GREENROOM_DATABASE_URL, GREENROOM_MASTER_KEY, GREENROOM_PUBLIC_URL and GREENROOM_MEDIA_PUBLIC_IP.
greenroom config check prints the effective settings, and greenroom doctor tries them."
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Print the version; with --verbose also commit, build and schema
    #[arg(short = 'V', long)]
    pub version: bool,
    /// With --version: also print commit, build and schema
    #[arg(short, long, requires = "version")]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve the API (the default)
    Serve(Box<ServeArgs>),
    /// Update the schema of the store, and exit
    Migrate(StoreArgs),
    /// Manage the keys that sign participant tokens, and the master key
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Manage the access keys that API requests are signed with
    #[command(subcommand)]
    Credentials(CredentialsCommand),
    /// Inspect event targets, and manage undelivered events
    #[command(subcommand)]
    Events(EventsCommand),
    /// List, verify and export recordings
    #[command(subcommand)]
    Recordings(RecordingsCommand),
    /// Export the store to one file; servers can keep running
    Export(BackupArgs),
    /// Import an exported file into an empty store of either engine
    Import(BackupArgs),
    /// Inspect the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Test settings, addresses, ports, TURN servers, the database and system limits; exit code 1 if a test fails
    Doctor(Box<DoctorArgs>),
    /// Join a stage as a participant, with real media
    Join(Box<JoinArgs>),
    /// Join a stage with many participants, and report the results
    Load(Box<LoadArgs>),
    /// Show the media connections of a stage: round trips, losses, bitrates, layers
    Inspect(Box<InspectArgs>),
    /// Run a scenario of simulated participants on a server with --test-api
    Simulate(Box<SimulateArgs>),
    /// Print the recorded API calls of a server with --test-api
    Journal(Box<JournalArgs>),
    /// Print the OpenAPI document
    Openapi,
    /// Probe the server at --listen; exit code 0 if it is healthy, otherwise 1
    Health(HealthArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Write a man page for every command
    #[command(hide = true)]
    Man(ManArgs),
    /// Print reference documentation
    #[command(subcommand, hide = true)]
    Docs(DocsCommand),
    /// Output of `--version`.
    #[command(skip)]
    Version(VersionArgs),
}

/// Arguments of `--version`.
#[derive(Debug)]
pub(super) struct VersionArgs {
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// List signing keys, newest first
    List(ListKeysArgs),
    /// Add a signing key that signs new tokens; older keys stay valid
    Rotate(StoreArgs),
    /// Retire a signing key permanently; its tokens are rejected from now on
    ///
    /// All nodes reject them immediately, without a restart. Connected participants stay connected. The current signing
    /// key cannot be retired: run greenroom keys rotate first.
    Retire(RetireKeyArgs),
    /// Encrypt all secrets in the store with another master key
    ///
    /// From --previous-master-key to --master-key. Without --master-key, the key file of a SQLite store is replaced by a
    /// new one. All secrets change in one transaction; the command is idempotent. Servers must be stopped, or have
    /// both keys (--online).
    Rewrap(RewrapArgs),
}

#[derive(Clone, Debug, Args)]
pub(super) struct ListKeysArgs {
    /// Output format
    #[arg(long, default_value = "human", value_name = "FORMAT")]
    pub output: Output,
    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct RetireKeyArgs {
    /// ID of the signing key, the kid of its tokens
    #[arg(value_name = "KEY_ID")]
    pub id: String,
    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct RewrapArgs {
    /// Rewrap while servers run: all of them have --master-key and --previous-master-key
    #[arg(long)]
    pub online: bool,
    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum CredentialsCommand {
    /// Create an access key; its secret is shown only once
    Create(CreateKeyArgs),
    /// List access keys, without their secrets
    List(CredentialsArgs),
    /// Show an access key and its policy, without its secret
    Show(AccessKeyArgs),
    /// Disable an access key: requests signed with it are rejected from now on
    Disable(AccessKeyArgs),
    /// Enable a disabled access key
    Enable(AccessKeyArgs),
    /// Delete an access key permanently
    Delete(AccessKeyArgs),
}

#[derive(Clone, Debug, Args)]
pub(super) struct CreateKeyArgs {
    /// Account of the key: 12 digits
    #[arg(long, value_parser = account)]
    pub account: String,
    /// User name, shown in AccessDenied errors as arn:aws:iam::ACCOUNT:user/NAME (default: the access key ID)
    #[arg(long, default_value = "", hide_default_value = true, value_parser = user_name)]
    pub name: String,
    /// File with an IAM policy document, version 2012-10-17 (default: all actions are allowed)
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Require a session token with the key, as temporary credentials do
    #[arg(long)]
    pub session_token: bool,
    /// Lifetime of the key, in seconds (default: unlimited)
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub expires_in: Option<u32>,
    #[command(flatten)]
    pub common: CredentialsArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct AccessKeyArgs {
    /// ID of the access key
    #[arg(value_name = "ACCESS_KEY_ID")]
    pub id: String,
    #[command(flatten)]
    pub common: CredentialsArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct CredentialsArgs {
    /// Output format
    #[arg(long, default_value = "human", value_name = "FORMAT")]
    pub output: Output,
    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Validate file, environment and flags, and print the effective settings with their sources; secrets are hidden
    Check(Box<CheckConfigArgs>),
}

#[derive(Debug, Args)]
pub(super) struct CheckConfigArgs {
    /// Output format
    #[arg(long, default_value = "human", value_name = "FORMAT")]
    pub output: Output,
    #[command(flatten)]
    pub serve: ServeArgs,
    /// All settings with their sources, added by the parser.
    #[arg(skip)]
    pub settings: Vec<Setting>,
}

#[derive(Clone, Debug, Args)]
pub(super) struct HealthArgs {
    /// Address of the server
    #[arg(long, env = "GREENROOM_LISTEN", default_value = "127.0.0.1:4600", value_name = "ADDRESS", value_parser = address)]
    pub listen: SocketAddr,
    /// Certificate of the server, if it serves HTTPS
    ///
    /// The file is not read: the probe does not verify the server's certificate.
    #[arg(long, env = "GREENROOM_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(super) struct DoctorArgs {
    /// Output format
    #[arg(long, default_value = "human", value_name = "FORMAT")]
    pub output: Output,
    #[command(flatten)]
    pub serve: ServeArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct CompletionsArgs {
    /// Shell of the script
    pub shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Clone, Debug, Args)]
pub(super) struct ManArgs {
    /// Output directory; created if it does not exist
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(super) enum DocsCommand {
    /// Print every command and flag, as Markdown
    Flags,
}

/// Output format of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Human-readable text
    Human,
    /// One JSON value
    Json,
}
