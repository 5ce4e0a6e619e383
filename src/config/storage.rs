//! Settings of where recordings are stored, and of the spool.

use super::{Switch, group};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::str::FromStr;

/// Where recordings are stored.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = group::RECORDING)]
pub struct StorageArgs {
    /// Where buckets are stored: folder (recordings/BUCKET beside the database), folder:PATH (PATH/BUCKET) or s3
    ///
    /// Beside PostgreSQL and an in-memory database, folder is recordings in the working directory. s3 is Amazon S3, or the
    /// store at --s3-endpoint, with the credentials of the usual AWS configuration (variables, profile, instance role).
    #[arg(long, env = "GREENROOM_STORAGE", default_value = "folder", value_name = "PLACE")]
    pub storage: Place,
    /// File of buckets that are stored elsewhere than --storage says, TOML
    #[arg(long, env = "GREENROOM_STORAGE_CONFIG", value_name = "FILE")]
    pub storage_config: Option<PathBuf>,
    /// Creation of the folder of a bucket at its first recording: on or off
    ///
    /// With off, recordings to a bucket without a folder fail with NoSuchBucket. Buckets of S3 are never created.
    #[arg(long, env = "GREENROOM_STORAGE_CREATE_BUCKETS", default_value = "on", value_name = "SWITCH")]
    pub storage_create_buckets: Switch,
    /// URL of an S3-compatible store (default: Amazon S3)
    #[arg(long, env = "GREENROOM_S3_ENDPOINT", value_name = "URL")]
    pub s3_endpoint: Option<Endpoint>,
    /// Region of the buckets (default: that of the AWS configuration; us-east-1 with --s3-endpoint)
    #[arg(long, env = "GREENROOM_S3_REGION", value_name = "REGION", value_parser = s3_region)]
    pub s3_region: Option<String>,
    /// Bucket names in the path of URLs rather than in the host name: on or off (default: on with --s3-endpoint)
    #[arg(long, env = "GREENROOM_S3_PATH_STYLE", value_name = "SWITCH")]
    pub s3_path_style: Option<Switch>,
    /// Server-side encryption to request for every object: none (the bucket's default), AES256 or aws:kms
    #[arg(long, env = "GREENROOM_S3_ENCRYPTION", default_value = "none", value_name = "ALGORITHM")]
    pub s3_encryption: Encryption,
    /// ID or ARN of the KMS key of aws:kms (default: the key of the account for S3)
    #[arg(long, env = "GREENROOM_S3_KMS_KEY_ID", value_name = "KEY", value_parser = kms_key)]
    pub s3_kms_key_id: Option<String>,
    /// Access control list bucket-owner-full-control for every object, as AWS sets it: on or off
    ///
    /// Off is for stores that refuse access control lists.
    #[arg(long, env = "GREENROOM_S3_ACL", default_value = "on", value_name = "SWITCH")]
    pub s3_acl: Switch,
}

/// The spool: recordings on this node's disk that are not uploaded yet.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = group::RECORDING)]
pub struct SpoolArgs {
    /// Maximum size of the spool, such as 20GiB; when it is full, recordings fail (default: 10GiB or a tenth of the file system, whichever is smaller)
    ///
    /// Recordings are written to the spool first, and deleted from it when the storage has confirmed them. One account alone
    /// takes at most four fifths of it, so that there is room for the recordings of others.
    #[arg(long, env = "GREENROOM_RECORDING_SPOOL", value_name = "SIZE")]
    pub recording_spool: Option<ByteSize>,
    /// Folder of the spool, of this node alone (default: FILE.spool beside SQLite, otherwise greenroom-PORT.spool in the working directory)
    #[arg(long, env = "GREENROOM_RECORDING_SPOOL_DIR", value_name = "DIR")]
    pub recording_spool_dir: Option<PathBuf>,
    /// Maximum time without a successful upload while there is something to upload, in seconds; then the recording fails
    #[arg(long, env = "GREENROOM_RECORDING_RETRY_SECONDS", default_value_t = 86_400, value_name = "S", value_parser = clap::value_parser!(u32).range(60..=1_209_600))]
    pub recording_retry_seconds: u32,
}

/// Where buckets are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a folder: the default one, or another.
    Folder(Option<PathBuf>),
    S3,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("folder:")) {
            ("folder", _) => Ok(Place::Folder(None)),
            ("s3", _) => Ok(Place::S3),
            (_, Some(path)) if !path.is_empty() => Ok(Place::Folder(Some(path.into()))),
            _ => Err("use folder, folder:PATH or s3; set the address of a store with --s3-endpoint".into()),
        }
    }
}

/// The URL of an S3-compatible store: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(pub String);

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "use http://HOST:PORT or https://HOST:PORT".to_owned();
        let uri: axum::http::Uri = text.parse().map_err(|_| wrong())?;
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https")).ok_or_else(wrong)?;
        let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        if authority.contains('@') {
            return Err("use a URL without credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".into());
        }
        if authority.is_empty() || uri.query().is_some() || !matches!(uri.path(), "" | "/") {
            return Err(wrong());
        }
        Ok(Endpoint(format!("{scheme}://{authority}")))
    }
}

/// Server-side encryption of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Encryption {
    /// The bucket's default.
    None,
    /// Keys of S3.
    #[value(name = "AES256")]
    Aes256,
    /// A key of KMS.
    #[value(name = "aws:kms")]
    Kms,
}

/// A number of bytes, such as `500MiB`, `10GB` or `1048576`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const UNITS: [(&str, u64); 8] = [
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("TiB", 1 << 40),
            ("kB", 1_000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
            ("TB", 1_000_000_000_000),
        ];
        let unit = |(name, bytes)| text.strip_suffix(name).map(|number: &str| (number.trim_end(), bytes));
        let (number, unit) = UNITS.into_iter().find_map(unit).unwrap_or((text, 1));
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let bytes = number.parse::<u64>().ok().filter(|_| is_number).and_then(|number| number.checked_mul(unit));
        match bytes {
            Some(bytes) if bytes >= 1 << 20 => Ok(ByteSize(bytes)),
            Some(_) => Err("use 1MiB at least".into()),
            None => {
                Err("use a number of bytes, or one with kB, MB, GB, TB, KiB, MiB, GiB or TiB, such as 10GiB".into())
            }
        }
    }
}

/// Parses a region of S3. Unlike the regions of the API, it can have any name: stores of other makers invent them.
pub(crate) fn s3_region(text: &str) -> Result<String, String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let good = (1..=64).contains(&text.len()) && text.bytes().all(is_allowed);
    good.then(|| text.to_owned()).ok_or_else(|| "use a region such as eu-central-1".into())
}

/// Parses the id, alias or ARN of a key, which becomes a header.
pub(crate) fn kms_key(text: &str) -> Result<String, String> {
    let good = (1..=2048).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    good.then(|| text.to_owned()).ok_or_else(|| "use the ID, the alias or the ARN of a KMS key".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        for (text, bytes) in [
            ("10GiB", 10 << 30),
            ("10 GiB", 10 << 30),
            ("2GB", 2_000_000_000),
            ("1048576", 1 << 20),
            ("1TiB", 1 << 40),
            ("5000kB", 5_000_000),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for bad in ["", "GiB", "ten", "-1GiB", "1.5GiB", "1KiB", "+9999999", "99999999999TiB", "10G"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_place_is_a_folder_or_s3() {
        assert_eq!("folder".parse(), Ok(Place::Folder(None)));
        assert_eq!("folder:/srv/a b".parse(), Ok(Place::Folder(Some("/srv/a b".into()))));
        assert_eq!("s3".parse(), Ok(Place::S3));
        for bad in ["", "folder:", "s3://bucket", "/srv", "S3"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_endpoint_is_scheme_host_and_port() {
        assert_eq!("http://127.0.0.1:9000/".parse(), Ok(Endpoint("http://127.0.0.1:9000".into())));
        assert_eq!("https://minio.example.com".parse(), Ok(Endpoint("https://minio.example.com".into())));
        for bad in ["", "minio:9000", "ftp://a", "http://", "http://a/bucket", "http://me:secret@a", "http://a?b"] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn regions_and_keys_fit_into_a_header() {
        assert!(s3_region("eu-central-1").is_ok() && s3_region("garage").is_ok());
        assert!(s3_region("").is_err() && s3_region("a b").is_err() && s3_region("a\r\nb").is_err());
        assert!(kms_key("alias/recordings").is_ok() && kms_key("arn:aws:kms:us-east-1:1:key/2").is_ok());
        assert!(kms_key("").is_err() && kms_key("a\nb").is_err());
    }
}
