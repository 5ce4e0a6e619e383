//! What concerns backups.

use super::{Output, Secret, StoreArgs};
use clap::Args;
use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

/// For `export` and `import`.
#[derive(Clone, Debug, Args)]
pub struct BackupArgs {
    /// The file; - is standard output, or standard input
    #[arg(value_name = "FILE|-")]
    pub file: Place,
    /// Key that secrets in the file are encrypted with: 32 bytes, base64; the same at export and import. Others on this machine see what stands on a command line: rather set the variable
    #[arg(long, env = "GREENROOM_EXPORT_KEY", value_name = "BASE64", hide_env_values = true)]
    pub export_key: Secret,
    /// Form of the totals
    #[arg(long, default_value = "human", value_name = "FORM")]
    pub output: Output,
    /// The store.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Standard output or standard input.
    Standard,
    /// In the file system.
    File(PathBuf),
}

impl FromStr for Place {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" { Place::Standard } else { Place::File(text.into()) })
    }
}
