//! Where each bucket is stored: flags, and the operator's file of buckets.

use super::names;
use crate::config::table::{self, Table};
use crate::config::{Encryption, Endpoint, Place, Secret, StorageArgs, Switch, Url, kms_key, s3_region};
use clap::ValueEnum as _;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Where buckets are stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StorageSettings {
    /// The place of buckets that are not named in `buckets`.
    pub(super) default: PlaceSettings,
    pub(super) buckets: HashMap<String, PlaceSettings>,
}

/// A place for buckets.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum PlaceSettings {
    Folder(FolderSettings),
    S3(S3Settings),
}

/// A folder with a folder for each bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FolderSettings {
    pub path: PathBuf,
    /// Whether the folder of a bucket is created.
    pub create: bool,
}

/// Amazon S3, or a compatible store.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct S3Settings {
    /// `None` for Amazon S3.
    pub endpoint: Option<Endpoint>,
    /// `None` for that of the AWS configuration.
    pub region: Option<String>,
    pub path_style: bool,
    pub encryption: Encryption,
    pub kms_key_id: Option<String>,
    /// Whether objects have the access control list `bucket-owner-full-control`.
    pub acl: bool,
    /// Access key id and secret; `None` for those of the AWS configuration.
    pub credentials: Option<(String, Secret)>,
    /// The bucket's name in the store, if it differs.
    pub bucket: Option<String>,
}

/// An error in the settings: one line for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("{}: {problem}", file.display())]
    File { file: PathBuf, problem: String },
    #[error("--s3-kms-key-id needs --s3-encryption=aws:kms")]
    UnusedKey,
    #[error(
        "--s3-endpoint is set, but --storage is not s3, and no bucket of --storage-config is in S3: set --storage=s3"
    )]
    UnusedEndpoint,
}

/// Maximum buckets in a file.
const MAX_BUCKETS: usize = 1000;
/// The default folder.
const FOLDER: &str = "recordings";

impl StorageSettings {
    /// Reads the settings, with the file of buckets. `database` is what the default folder is beside.
    pub fn read(args: &StorageArgs, database: &Url) -> Result<StorageSettings, SettingsError> {
        if args.s3_kms_key_id.is_some() && args.s3_encryption != Encryption::Kms {
            return Err(SettingsError::UnusedKey);
        }
        let defaults = Defaults { folder: folder(args, database), s3: s3(args), place: &args.storage };
        let buckets = match &args.storage_config {
            None => HashMap::new(),
            Some(file) => read(file, &defaults)?,
        };
        let default = defaults.of(args.storage == Place::S3);
        let has_s3 = buckets.values().chain([&default]).any(|place| matches!(place, PlaceSettings::S3(_)));
        if args.s3_endpoint.is_some() && !has_s3 {
            return Err(SettingsError::UnusedEndpoint);
        }
        Ok(StorageSettings { default, buckets })
    }
}

/// What the flags say of both kinds of places.
struct Defaults<'a> {
    folder: FolderSettings,
    s3: S3Settings,
    place: &'a Place,
}

impl Defaults<'_> {
    fn of(&self, is_s3: bool) -> PlaceSettings {
        if is_s3 { PlaceSettings::S3(self.s3.clone()) } else { PlaceSettings::Folder(self.folder.clone()) }
    }
}

fn folder(args: &StorageArgs, database: &Url) -> FolderSettings {
    let path = match (&args.storage, database) {
        (Place::Folder(Some(path)), _) => path.clone(),
        (_, Url::File(file)) => file.with_file_name(FOLDER),
        (_, Url::Memory | Url::Postgres(_)) => FOLDER.into(),
    };
    FolderSettings { path, create: args.storage_create_buckets == Switch::On }
}

fn s3(args: &StorageArgs) -> S3Settings {
    let path_style = args.s3_path_style.map_or(args.s3_endpoint.is_some(), |style| style == Switch::On);
    S3Settings {
        endpoint: args.s3_endpoint.clone(),
        region: args.s3_region.clone(),
        path_style,
        encryption: args.s3_encryption,
        kms_key_id: args.s3_kms_key_id.clone(),
        acl: args.s3_acl == Switch::On,
        credentials: None,
        bucket: None,
    }
}

fn read(file: &Path, defaults: &Defaults<'_>) -> Result<HashMap<String, PlaceSettings>, SettingsError> {
    let error_at = |problem: String| SettingsError::File { file: file.to_owned(), problem };
    let text = std::fs::read_to_string(file).map_err(|error| error_at(format!("cannot be read: {error}")))?;
    parse(&text, defaults).map_err(error_at)
}

fn parse(text: &str, defaults: &Defaults<'_>) -> Result<HashMap<String, PlaceSettings>, String> {
    let mut buckets = HashMap::new();
    for (n, table) in table::tables(text, "bucket", MAX_BUCKETS)?.into_iter().enumerate() {
        let (name, place) = bucket(n + 1, table, defaults)?;
        if buckets.contains_key(&name) {
            return Err(format!("bucket '{name}': name: another bucket has it"));
        }
        buckets.insert(name, place);
    }
    Ok(buckets)
}

fn bucket(n: usize, table: toml::Table, defaults: &Defaults<'_>) -> Result<(String, PlaceSettings), String> {
    let mut table = Table::new("bucket", n, table, true);
    let name = table.required("name", "the name of a bucket")?;
    if !names::is_valid(&name) {
        return Err(table.error_at("name", BUCKET_NAME));
    }
    table.named(&name);
    let (kind, place) = match (table.text("type")?.as_deref(), defaults.place) {
        (Some("s3"), _) | (None, Place::S3) => ("s3", PlaceSettings::S3(s3_bucket(&mut table, &defaults.s3)?)),
        (Some("folder"), _) | (None, Place::Folder(_)) => {
            let path = table.text("path")?.map_or_else(|| defaults.folder.path.clone(), PathBuf::from);
            let create = table.switch("create")?.unwrap_or(defaults.folder.create);
            ("folder", PlaceSettings::Folder(FolderSettings { path, create }))
        }
        (Some(_), _) => return Err(table.error_at("type", "use folder or s3")),
    };
    table.end(kind)?;
    Ok((name, place))
}

const BUCKET_NAME: &str = "use 3 to 63 lower-case letters, digits, hyphens and single dots";

fn s3_bucket(table: &mut Table, defaults: &S3Settings) -> Result<S3Settings, String> {
    let mut settings = defaults.clone();
    if let Some(endpoint) = table.text("endpoint")? {
        let endpoint: Endpoint = endpoint.parse().map_err(|error: String| table.error_at("endpoint", &error))?;
        settings.path_style = true;
        settings.endpoint = Some(endpoint);
    }
    if let Some(region) = table.text("region")? {
        settings.region = Some(s3_region(&region).map_err(|error| table.error_at("region", &error))?);
    }
    settings.path_style = table.switch("path_style")?.unwrap_or(settings.path_style);
    settings.acl = table.switch("acl")?.unwrap_or(settings.acl);
    if let Some(name) = table.text("encryption")? {
        let known = Encryption::from_str(&name, false).ok();
        settings.encryption = known.ok_or_else(|| table.error_at("encryption", "use none, AES256 or aws:kms"))?;
        settings.kms_key_id = settings.kms_key_id.filter(|_| settings.encryption == Encryption::Kms);
    }
    if let Some(key) = table.text("kms_key_id")? {
        if settings.encryption != Encryption::Kms {
            return Err(table.error_at("kms_key_id", "needs encryption = \"aws:kms\""));
        }
        settings.kms_key_id = Some(kms_key(&key).map_err(|error| table.error_at("kms_key_id", &error))?);
    }
    if let Some(bucket) = table.text("bucket")? {
        if !names::is_valid(&bucket) {
            return Err(table.error_at("bucket", BUCKET_NAME));
        }
        settings.bucket = Some(bucket);
    }
    let (id, secret) = (table.text("access_key_id")?, table.secrets("secret_access_key")?.pop());
    settings.credentials = match (id, secret) {
        (Some(id), Some(secret)) => Some((id, secret)),
        (None, None) => None,
        _ => return Err(table.error_at("access_key_id", "set it together with secret_access_key, or neither")),
    };
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn args(flags: &[&str]) -> StorageArgs {
        #[derive(clap::Parser)]
        struct Flags {
            #[command(flatten)]
            storage: StorageArgs,
        }
        Flags::try_parse_from(["greenroom"].iter().chain(flags)).unwrap().storage
    }

    fn settings(flags: &[&str], database: &str) -> Result<StorageSettings, SettingsError> {
        StorageSettings::read(&args(flags), &database.parse().unwrap())
    }

    fn parsed(flags: &[&str], text: &str) -> Result<HashMap<String, PlaceSettings>, String> {
        let args = args(flags);
        let database = Url::Memory;
        parse(text, &Defaults { folder: folder(&args, &database), s3: s3(&args), place: &args.storage })
    }

    fn path(place: &PlaceSettings) -> &Path {
        let PlaceSettings::Folder(folder) = place else { panic!("{place:?}") };
        &folder.path
    }

    #[test]
    fn the_default_folder_is_beside_the_database() {
        for (flags, database, expected) in [
            (&[][..], "sqlite:///var/lib/greenroom/a.db", "/var/lib/greenroom/recordings"),
            (&[], "sqlite://greenroom.db", "recordings"),
            (&[], "sqlite::memory:", "recordings"),
            (&[], "postgres://db/greenroom", "recordings"),
            (&["--storage=folder:/srv"], "sqlite://greenroom.db", "/srv"),
        ] {
            assert_eq!(path(&settings(flags, database).unwrap().default), Path::new(expected), "{database}");
        }
    }

    #[test]
    fn an_endpoint_implies_path_style_and_is_for_s3_only() {
        let flags = ["--storage=s3", "--s3-endpoint=http://127.0.0.1:9000"];
        let PlaceSettings::S3(s3) = settings(&flags, "sqlite::memory:").unwrap().default else { panic!() };
        assert!(s3.path_style && s3.acl);
        let flags = [flags[0], flags[1], "--s3-path-style=off", "--s3-acl=off"];
        let PlaceSettings::S3(s3) = settings(&flags, "sqlite::memory:").unwrap().default else { panic!() };
        assert!(!s3.path_style && !s3.acl);
        assert_eq!(settings(&flags[1..2], "sqlite::memory:"), Err(SettingsError::UnusedEndpoint));
        assert_eq!(settings(&["--s3-kms-key-id=k"], "sqlite::memory:"), Err(SettingsError::UnusedKey));
    }

    #[test]
    fn a_bucket_of_the_file_overrides_the_flags() {
        let text = r#"
            [[bucket]]
            name = "local-tests"
            type = "folder"
            path = "/mnt/tests"
            create = false
            [[bucket]]
            name = "archive"
            encryption = "aws:kms"
            kms_key_id = "alias/archive"
            bucket = "company-archive"
            region = "eu-west-1"
            acl = false
            access_key_id = "AK"
            secret_access_key = "secret"
        "#;
        let buckets = parsed(&["--storage=s3", "--s3-encryption=AES256"], text).unwrap();
        assert_eq!(path(&buckets["local-tests"]), Path::new("/mnt/tests"));
        let PlaceSettings::S3(archive) = &buckets["archive"] else { panic!() };
        assert_eq!((archive.encryption, archive.acl), (Encryption::Kms, false));
        assert_eq!(archive.bucket.as_deref(), Some("company-archive"));
        assert_eq!(archive.credentials, Some(("AK".into(), Secret("secret".into()))));
        assert!(!format!("{archive:?}").contains("secret\""), "secrets are not shown");
    }

    #[test]
    fn errors_name_bucket_and_key() {
        for (text, error) in [
            ("[bucket]\nname = \"a\"", "bucket: write each bucket under [[bucket]]"),
            ("x = 1", "x: there is no such key; a file of buckets has"),
            ("[[bucket]]", "bucket 1: name: is missing"),
            ("[[bucket]]\nname = \"../etc\"", "bucket 1: name: use 3 to 63"),
            ("[[bucket]]\nname = \"abc\"\ntype = \"ftp\"", "bucket 'abc': type: use folder or s3"),
            ("[[bucket]]\nname = \"abc\"\nendpoint = \"http://a\"", "bucket 'abc': endpoint: there is no such key"),
            ("[[bucket]]\nname = \"abc\"\n[[bucket]]\nname = \"abc\"", "bucket 'abc': name: another bucket has it"),
            ("[[bucket]]\nname = \"abc\"\ntype = \"s3\"\nkms_key_id = \"k\"", "bucket 'abc': kms_key_id: needs"),
            ("[[bucket]]\nname = \"abc\"\ntype = \"s3\"\nencryption = \"aes\"", "bucket 'abc': encryption: use none"),
            ("[[bucket]]\nname = \"abc\"\ntype = \"s3\"\naccess_key_id = \"k\"", "bucket 'abc': access_key_id: set it"),
            ("a = ", "line 1: "),
        ] {
            let found = parsed(&[], text).unwrap_err();
            assert!(found.starts_with(error), "{text}: {found}");
        }
    }
}
