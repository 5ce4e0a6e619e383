//! Storage of recordings: which bucket is stored where, and how objects are written and read.

mod error;
#[cfg(test)]
pub(crate) mod fake_s3;
mod folder;
mod names;
mod s3;
mod settings;
#[cfg(test)]
mod tests;

pub use error::StorageError;
pub(crate) use error::{ACCESS_DENIED, TIMEOUT};
pub use settings::{SettingsError, StorageSettings};

use bytes::Bytes;
use folder::Folder;
use s3::{S3, Timeouts};
use settings::PlaceSettings;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Maximum bytes of an object. A segment of ten seconds has about 10 MB at the highest bitrate that AWS accepts.
pub const MAX_OBJECT_BYTES: u64 = 256 << 20;
/// Maximum number of objects in a list: a day's segments of two seconds, and a thumbnail a second, are 130,000.
pub const MAX_OBJECTS: usize = 500_000;
/// Maximum number of threads that wait for a folder or for files at once. A disk that hangs must not take those that the
/// rest of the server needs.
const MAX_BLOCKING: usize = 8;
/// Maximum time of an access to a folder.
const BLOCKING_TIMEOUT: Duration = Duration::from_secs(60);

/// The storage of recordings. Clones share it.
#[derive(Clone, Debug)]
pub struct Storage(Arc<Places>);

#[derive(Debug)]
struct Places {
    default: Place,
    buckets: HashMap<String, Place>,
    blocking: Arc<Semaphore>,
}

/// A place for buckets.
#[derive(Clone, Debug)]
enum Place {
    Folder(Arc<Folder>),
    S3(Arc<S3>),
}

/// Why the storage cannot be opened: one line for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("--storage=s3 needs a region: set --s3-region or AWS_REGION, or a region in the AWS configuration")]
    NoRegion,
}

/// What is known of a bucket that can be used as far as it can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketCheck {
    /// Objects can be written.
    Writable,
    /// S3 knows the bucket. The first object that is put into it decides.
    Known,
    /// S3 refuses to tell: the right to write does not include the right to ask.
    NotAllowed,
}

/// What an object consists of.
#[derive(Clone, Debug)]
pub enum Contents {
    Bytes(Bytes),
    /// A file, which a folder on the same file system takes over: it can be gone afterwards.
    File(PathBuf),
}

/// The headers with which an object is served. Folders do not keep them.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    pub content_type: &'a str,
    pub cache_control: &'static str,
}

/// An object in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    pub key: String,
    pub bytes: u64,
}

impl Storage {
    /// Opens the storage. Nothing is written, and no bucket is looked for.
    pub async fn open(settings: StorageSettings) -> Result<Storage, OpenError> {
        Self::open_with(settings, Timeouts::default()).await
    }

    async fn open_with(settings: StorageSettings, timeouts: Timeouts) -> Result<Storage, OpenError> {
        let StorageSettings { default, buckets } = settings;
        let mut opener = Opener { timeouts, config: None };
        let default = opener.open(default).await?;
        let mut places = HashMap::with_capacity(buckets.len());
        for (bucket, place) in buckets {
            places.insert(bucket, opener.open(place).await?);
        }
        let blocking = Arc::new(Semaphore::new(MAX_BLOCKING));
        Ok(Storage(Arc::new(Places { default, buckets: places, blocking })))
    }

    /// Stores an object, in place of one with the same key.
    pub async fn put(
        &self,
        bucket: &str,
        key: &str,
        headers: Headers<'_>,
        contents: Contents,
    ) -> Result<(), StorageError> {
        validate(bucket, key)?;
        match self.place(bucket) {
            Place::Folder(folder) => {
                let (folder, bucket, key) = (folder.clone(), bucket.to_owned(), key.to_owned());
                self.blocking(move || folder.put(&bucket, &key.split('/').collect::<Vec<_>>(), &contents)).await
            }
            Place::S3(s3) => {
                let body = match contents {
                    Contents::Bytes(bytes) => bytes,
                    Contents::File(path) => self.blocking(move || read_file(&path)).await?,
                };
                s3.put(bucket, key, headers, body).await
            }
        }
    }

    /// Reads an object of at most [`MAX_OBJECT_BYTES`].
    pub async fn get(&self, bucket: &str, key: &str) -> Result<Bytes, StorageError> {
        validate(bucket, key)?;
        match self.place(bucket) {
            Place::Folder(folder) => {
                let (folder, bucket, key) = (folder.clone(), bucket.to_owned(), key.to_owned());
                self.blocking(move || folder.get(&bucket, &key.split('/').collect::<Vec<_>>())).await
            }
            Place::S3(s3) => s3.get(bucket, key).await,
        }
    }

    /// The objects whose key begins with `prefix`, by key; an error if there are more than [`MAX_OBJECTS`].
    pub async fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<StoredObject>, StorageError> {
        if !names::is_valid(bucket) {
            return Err(error::INVALID_BUCKET);
        }
        match self.place(bucket) {
            Place::Folder(folder) => {
                let (folder, bucket, prefix) = (folder.clone(), bucket.to_owned(), prefix.to_owned());
                self.blocking(move || folder.list(&bucket, &prefix)).await
            }
            Place::S3(s3) => s3.list(bucket, prefix).await,
        }
    }

    /// Whether a bucket can be used, as far as it can be known. Leaves nothing behind.
    pub async fn check(&self, bucket: &str) -> Result<BucketCheck, StorageError> {
        if !names::is_valid(bucket) {
            return Err(error::INVALID_BUCKET);
        }
        match self.place(bucket) {
            Place::Folder(folder) => {
                let (folder, bucket) = (folder.clone(), bucket.to_owned());
                self.blocking(move || folder.check(&bucket)).await.map(|()| BucketCheck::Writable)
            }
            Place::S3(s3) => s3.check(bucket).await,
        }
    }

    /// How long an object of `bytes` may take to be stored.
    pub fn timeout(&self, bucket: &str, bytes: u64) -> Duration {
        match self.place(bucket) {
            Place::Folder(_) => BLOCKING_TIMEOUT,
            Place::S3(s3) => s3.timeout(bytes),
        }
    }

    /// Where a bucket is stored, for people: a folder, or the URL of S3.
    pub fn location(&self, bucket: &str) -> String {
        match self.place(bucket) {
            Place::Folder(folder) => folder.path().join(bucket).display().to_string(),
            Place::S3(s3) => match s3.endpoint() {
                Some(endpoint) => format!("s3://{} at {endpoint}", s3.bucket(bucket)),
                None => format!("s3://{}", s3.bucket(bucket)),
            },
        }
    }

    /// Where the buckets that are not named in the settings are stored, for people.
    pub fn default_location(&self) -> String {
        match &self.0.default {
            Place::Folder(folder) => folder.path().display().to_string(),
            Place::S3(s3) => s3.endpoint().unwrap_or("Amazon S3").to_owned(),
        }
    }

    /// The buckets that are named in the settings.
    pub fn named_buckets(&self) -> impl Iterator<Item = &str> {
        self.0.buckets.keys().map(String::as_str)
    }

    /// Whether a bucket is in a folder of this machine.
    pub fn is_local(&self, bucket: &str) -> bool {
        matches!(self.place(bucket), Place::Folder(_))
    }

    fn place(&self, bucket: &str) -> &Place {
        self.0.buckets.get(bucket).unwrap_or(&self.0.default)
    }

    /// Runs a function that blocks, on a thread for such. A disk that hangs does not hang the caller.
    async fn blocking<T, F>(&self, run: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, StorageError> + Send + 'static,
    {
        let blocking = self.0.blocking.clone();
        let ran = async {
            let permit = blocking.acquire_owned().await;
            let thread = tokio::task::spawn_blocking(move || {
                // Held until the thread is free, even if the caller has given up.
                let _permit = permit;
                run()
            });
            thread.await.unwrap_or_else(|bug| Err(error::INTERNAL.with_detail(&bug.to_string())))
        };
        tokio::time::timeout(BLOCKING_TIMEOUT, ran).await.unwrap_or(Err(error::TIMEOUT))
    }
}

/// Opens places; the AWS configuration is loaded once, if it is needed.
struct Opener {
    timeouts: Timeouts,
    config: Option<aws_config::SdkConfig>,
}

impl Opener {
    async fn open(&mut self, place: PlaceSettings) -> Result<Place, OpenError> {
        let settings = match place {
            PlaceSettings::Folder(folder) => return Ok(Place::Folder(Arc::new(Folder::new(folder)))),
            PlaceSettings::S3(settings) => settings,
        };
        let config = match self.config.take() {
            Some(config) => config,
            None => Box::pin(s3::load_config(self.timeouts)).await,
        };
        let s3 = Box::pin(S3::new(self.config.insert(config), settings, self.timeouts)).await?;
        Ok(Place::S3(Arc::new(s3)))
    }
}

/// Refuses names of buckets and keys that are not ours: they become paths.
fn validate(bucket: &str, key: &str) -> Result<(), StorageError> {
    if !names::is_valid(bucket) {
        return Err(error::INVALID_BUCKET);
    }
    names::parts(key).map(drop).ok_or(error::INVALID_KEY)
}

fn read_file(path: &Path) -> Result<Bytes, StorageError> {
    let size = std::fs::metadata(path).map_err(|error| error::of_io(&error))?.len();
    if size > MAX_OBJECT_BYTES {
        return Err(error::TOO_LARGE);
    }
    std::fs::read(path).map(Bytes::from).map_err(|error| error::of_io(&error))
}
