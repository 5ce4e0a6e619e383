//! Errors of commands; each message is one line.

use crate::app::credentials::CredentialsError;
use crate::backup::BackupError;
use crate::domain::policy::PolicyError;
use crate::events::targets::TargetsError;
use crate::server::ServerError;
use crate::storage::{self, SettingsError};
use crate::store::{OpenError, StoreError};
use greenroom_client::ClientError;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("--database-url: sqlite::memory: is gone when this command ends; name the store that the server uses")]
    MemoryStore,
    #[error("cannot read {0}: {1}")]
    PolicyFile(PathBuf, std::io::Error),
    #[error("{0}: {1}")]
    Policy(PathBuf, PolicyError),
    #[error("there is no access key {0}")]
    NoSuchAccessKey(String),
    #[error("there is no signing key {0}; greenroom keys list lists them")]
    NoSuchSigningKey(String),
    #[error("the key {0} signs new tokens; add another first: greenroom keys rotate")]
    KeySigns(String),
    #[error(
        "set GREENROOM_PREVIOUS_MASTER_KEY to the key that secrets are encrypted with at present, and GREENROOM_MASTER_KEY to the new one"
    )]
    NoPreviousMasterKey,
    #[error("the server {0} uses the store: {1}")]
    ServersRun(String, &'static str),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Targets(#[from] TargetsError),
    #[error("there is no target '{0}'; greenroom events targets lists them")]
    NoSuchTarget(String),
    #[error("the target '{target}' has no dead event {id}; greenroom events dead lists them")]
    NotDead { id: String, target: String },
    #[error(
        "a server delivers to the target '{0}': remove it from the file first, and let the servers reload it (SIGHUP)"
    )]
    TargetInUse(String),
    #[error("cannot read {0}: {1}")]
    BackupFile(PathBuf, std::io::Error),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("stopped before it was done; nothing was written")]
    Stopped,
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot read {0}: {1}")]
    ScenarioFile(PathBuf, std::io::Error),
    /// Why the media connections of a stage cannot be shown.
    #[error("{0}")]
    Inspect(String),
    /// A response of the test API, or why there is none.
    #[error("{0}")]
    TestApi(String),
    #[error(transparent)]
    StorageSettings(#[from] SettingsError),
    #[error(transparent)]
    Storage(#[from] storage::OpenError),
    #[error("there is no recording {0}; greenroom recordings list lists them")]
    NoSuchRecording(String),
    #[error("several accounts or regions have a recording {0}")]
    AmbiguousRecording(String),
    #[error("the objects of the recording cannot be read: {0}")]
    RecordingObjects(String),
    /// What verification found, after the report.
    #[error("the recording has {0} errors")]
    DamagedRecording(usize),
    #[error("cannot write {0}: {1}")]
    ExportFile(PathBuf, std::io::Error),
    #[error("{0}; {1} was removed")]
    Export(greenroom_recording::export::ExportError, PathBuf),
    #[error("{0}: {1}")]
    Health(SocketAddr, String),
    #[error("cannot write man pages to {0}: {1}")]
    ManPages(PathBuf, std::io::Error),
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        CredentialsError::from(error).into()
    }
}

impl CommandError {
    /// Whether the cause is an invalid flag, variable or file, rather than the environment.
    pub fn is_usage(&self) -> bool {
        match self {
            CommandError::Server(error) => is_usage(error),
            CommandError::Client(error) => error.is_usage(),
            CommandError::PolicyFile(..)
            | CommandError::Policy(..)
            | CommandError::MemoryStore
            | CommandError::NoPreviousMasterKey
            | CommandError::BackupFile(..)
            | CommandError::ScenarioFile(..)
            | CommandError::Targets(_)
            | CommandError::StorageSettings(_)
            | CommandError::Storage(_)
            | CommandError::ExportFile(..)
            | CommandError::Backup(BackupError::NotAKey) => true,
            _ => false,
        }
    }
}

fn is_usage(error: &ServerError) -> bool {
    matches!(
        error,
        ServerError::NoMasterKey
            | ServerError::Secret(..)
            | ServerError::Exposed(_)
            | ServerError::Region(..)
            | ServerError::BadAccessKey(_)
            | ServerError::Credentials(CredentialsError::Taken(_))
            | ServerError::UnknownOperation(_)
            | ServerError::Tls(_)
            | ServerError::Targets(_)
            | ServerError::StorageSettings(_)
            | ServerError::Storage(_)
            | ServerError::Open(OpenError::File { .. } | OpenError::Address(_) | OpenError::Missing(_))
    )
}
