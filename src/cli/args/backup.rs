//! Arguments of `greenroom export` and `greenroom import`.

use super::Output;
use crate::config::{Secret, StoreArgs};
use clap::Args;
use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

/// Arguments of `export` and `import`.
#[derive(Clone, Debug, Args)]
pub struct BackupArgs {
    /// Backup file; - is standard output, or standard input
    #[arg(value_name = "FILE|-")]
    pub file: BackupFile,
    /// Key that encrypts secrets in the file: 32 bytes, base64; the same for export and import
    ///
    /// Prefer the variable: other users of the machine can read command lines.
    #[arg(long, env = "GREENROOM_EXPORT_KEY", value_name = "BASE64", hide_env_values = true)]
    pub export_key: Secret,
    /// Output format of the totals
    #[arg(long, default_value = "human", value_name = "FORMAT")]
    pub output: Output,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Where a backup is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupFile {
    /// Standard output or standard input.
    Standard,
    /// In the file system.
    File(PathBuf),
}

impl FromStr for BackupFile {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" { BackupFile::Standard } else { BackupFile::File(text.into()) })
    }
}
