//! Errors of a start.

use crate::app::credentials::CredentialsError;
use crate::app::keys::KeysError;
use crate::config::Regions;
use crate::events::targets::TargetsError;
use crate::http::tls::TlsError;
use crate::model::fault::Fault;
use crate::secret::SecretError;
use crate::store::{MigrateError, OpenError};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a server could not start; each message is one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("cannot migrate the store: {0}")]
    Migrate(#[from] MigrateError),
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A master key that cannot be used: the name of its source, and why.
    #[error("{0}: {1}")]
    Secret(String, SecretError),
    #[error(
        "a PostgreSQL store needs a master key, the same for every node: set GREENROOM_MASTER_KEY to 32 bytes in base64 (make one with: openssl rand -base64 32)"
    )]
    NoMasterKey,
    #[error("cannot use the key file {0}: {1}")]
    KeyFile(PathBuf, std::io::Error),
    /// The key file is missing although the store has signing keys.
    #[error(
        "the key file {0} is missing, and the store holds secrets that were encrypted with it: put it back, or set GREENROOM_MASTER_KEY to what was in it"
    )]
    LostKeyFile(PathBuf),
    /// Development credentials on an address that other machines can reach.
    #[error(
        "the development access keys (test/test) are only for loopback addresses, which {0} is not: set --dev-credentials=off and make keys with `greenroom credentials create`, or listen on 127.0.0.1"
    )]
    Exposed(SocketAddr),
    /// The test API without authentication, where other machines can reach it.
    #[error(
        "--test-api=on is for a loopback address without a proxy in front (--listen, --public-url, --trusted-proxies), as its requests are not authenticated: set --test-api=public, and sign the requests, or listen on 127.0.0.1 only"
    )]
    ExposedTestApi,
    /// The test API behind a proxy, with access keys that every client knows.
    #[error(
        "--test-api=public behind a proxy (--trusted-proxies) needs --dev-credentials=off: every client knows the development access keys (test/test), which may use the test API"
    )]
    ExposedByDevelopmentKeys,
    /// A configured access key of invalid form.
    #[error("{0}")]
    BadAccessKey(&'static str),
    /// A configured access key that cannot be created.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error("--region: {0} is not one of the served regions ({1}); name one of them, or add it to --regions")]
    Region(String, Regions),
    /// A rate limit for an unknown operation.
    #[error("--rate-limits: there is no operation named '{0}'")]
    UnknownOperation(String),
    /// The disk of the store is full, read-only or failing.
    #[error(
        "cannot write to the store: {0}; free some space on its disk, or name a file elsewhere with --database-url"
    )]
    Unwritable(String),
    #[error(transparent)]
    StorageSettings(#[from] crate::storage::SettingsError),
    #[error(transparent)]
    Storage(#[from] crate::storage::OpenError),
    #[error(transparent)]
    Spool(#[from] crate::recording::spool::SpoolError),
    #[error("cannot register this server in the store: {0}")]
    Node(Fault),
    #[error("cannot listen on {0}: {cause}; choose another address with --listen", cause = bind_failure(.1))]
    Listen(SocketAddr, std::io::Error),
    #[error("cannot listen on {0} for /metrics: {cause}; choose another address with --metrics-listen", cause = bind_failure(.1))]
    MetricsListen(SocketAddr, std::io::Error),
    #[error("cannot use UDP {0} for media: {cause}; choose another address with --media-addr", cause = bind_failure(.1))]
    Media(SocketAddr, std::io::Error),
    #[error("cannot listen on TCP {0} for media: {cause}; choose another address with --media-tcp-addr, or set it to off", cause = bind_failure(.1))]
    MediaTcp(SocketAddr, std::io::Error),
    #[error("cannot listen on {0} for RTMP: {cause}; choose another address with --rtmp-listen, or set it to off", cause = bind_failure(.1))]
    Rtmp(SocketAddr, std::io::Error),
    #[error("cannot listen on {0} for RTMPS: {cause}; choose another address with --rtmps-listen, or set it to off", cause = bind_failure(.1))]
    Rtmps(SocketAddr, std::io::Error),
    /// RTMPS without a certificate, where other machines can reach it.
    #[error(
        "--rtmps-listen={0} needs a certificate, as it is not a loopback address: set --rtmps-tls-cert and --rtmps-tls-key, or --tls-cert and --tls-key"
    )]
    NoRtmpsCertificate(SocketAddr),
    /// A name of `--media-public-ip`.
    #[error(
        "--media-public-ip: {0} cannot be resolved: {1}; check the name and this machine's DNS, or set an IP address"
    )]
    MediaName(String, String),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Targets(#[from] TargetsError),
    /// The registration of the event targets in the store.
    #[error("cannot register the event targets in the store: {0}")]
    Deliveries(Fault),
}

/// The cause of a failed bind, in words for the operator.
pub(super) fn bind_failure(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "another program uses this port".into(),
        std::io::ErrorKind::AddrNotAvailable => "this machine does not have this address".into(),
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need root or CAP_NET_BIND_SERVICE".into(),
        _ => error.to_string(),
    }
}
