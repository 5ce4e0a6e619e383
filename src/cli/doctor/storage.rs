//! Checks of the storage of recordings: that buckets can be used.

use super::finding::Finding;
use crate::config::{ServeArgs, Url};
use crate::server;
use crate::storage::{BucketCheck, Storage, StorageError, StorageSettings};
use crate::store::Db;
use std::collections::BTreeSet;
use std::time::Duration;

const CHECK: &str = "storage";
/// Time limit of reading the buckets of the store, and of checking all buckets.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of buckets that are checked.
const MAX_BUCKETS: usize = 20;
/// Stands for the buckets that are not known yet.
const UNKNOWN_BUCKET: &str = "greenroom-doctor";

/// Checks the buckets of the settings and of the store. Nothing is stored, and no bucket is created.
pub async fn storage(args: &ServeArgs) -> Vec<Finding> {
    let settings = match StorageSettings::read(&args.storage, &args.store.database_url) {
        Ok(settings) => settings,
        Err(error) => return vec![Finding::failed(CHECK, error.to_string())],
    };
    let storage = match Box::pin(Storage::open(settings)).await {
        Ok(storage) => storage,
        Err(error) => return vec![Finding::failed(CHECK, error.to_string())],
    };
    let mut buckets: BTreeSet<String> = storage.named_buckets().map(str::to_owned).collect();
    let mut found = Vec::new();
    match tokio::time::timeout(TIMEOUT, stored_buckets(args)).await {
        Ok(Ok(stored)) => buckets.extend(stored),
        Ok(Err(reason)) => found.push(unread(&reason)),
        Err(_) => found.push(unread(&format!("no response within {} s", TIMEOUT.as_secs()))),
    }
    if buckets.is_empty() {
        found.push(check(&storage, UNKNOWN_BUCKET).await);
        return found;
    }
    let left = buckets.len().saturating_sub(MAX_BUCKETS);
    found
        .extend(futures_util::future::join_all(buckets.iter().take(MAX_BUCKETS).map(|one| check(&storage, one))).await);
    if left > 0 {
        found.push(Finding::skipped(CHECK, format!("{left} more buckets are not checked")));
    }
    found
}

fn unread(reason: &str) -> Finding {
    Finding::skipped(CHECK, format!("buckets of storage configurations are not checked: {reason}"))
}

/// The buckets of the storage configurations in the store, if there is one.
async fn stored_buckets(args: &ServeArgs) -> Result<Vec<String>, String> {
    match &args.store.database_url {
        Url::Memory => return Ok(Vec::new()),
        Url::File(path) if !path.exists() => return Ok(Vec::new()),
        Url::File(_) | Url::Postgres(_) => {}
    }
    let db = Db::open_beside(&server::options(&args.store)).await.map_err(|error| error.to_string())?;
    let buckets = async {
        let mut conn = db.read().await?;
        match conn.schema().await? {
            Some(_) => conn.storage_buckets(1 + MAX_BUCKETS as i64).await,
            None => Ok(Vec::new()),
        }
    };
    let buckets = buckets.await.map_err(|error| error.detail());
    db.close().await;
    buckets
}

async fn check(storage: &Storage, bucket: &str) -> Finding {
    let checked = tokio::time::timeout(TIMEOUT, Box::pin(storage.check(bucket))).await;
    let is_known = bucket != UNKNOWN_BUCKET;
    let place = if is_known { storage.location(bucket) } else { storage.default_location() };
    match checked {
        Err(_) => Finding::failed(CHECK, format!("{place} does not respond within {} s", TIMEOUT.as_secs())),
        Ok(Ok(BucketCheck::Known)) => Finding::ok(CHECK, format!("{place} is there")),
        Ok(Ok(BucketCheck::Writable)) => Finding::ok(CHECK, format!("{place} is writable")),
        Ok(Ok(BucketCheck::NotAllowed)) => {
            let text = format!(
                "{place} answers, and refuses to tell about {}: check that the credentials are right, and may call s3:ListBucket",
                if is_known { "the bucket" } else { "buckets" }
            );
            Finding::warning(CHECK, text)
        }
        Ok(Err(error)) if !is_known && error.code == "NoSuchBucket" && !storage.is_local(bucket) => {
            Finding::ok(CHECK, format!("{place} answers; no bucket is named yet"))
        }
        Ok(Err(error)) => Finding::failed(CHECK, failure(&place, &error)),
    }
}

/// A failure with its remedy.
fn failure(place: &str, error: &StorageError) -> String {
    let detail = if error.detail.is_empty() { String::new() } else { format!(" ({})", error.detail) };
    let remedy = match &*error.code {
        "NoSuchBucket" => ": create the bucket",
        "CredentialsError" => ": set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or an instance role",
        "ConnectionError" | "RequestTimeout" => ": check --s3-endpoint and the network",
        "AccessDenied" => ": let the server's user write to it",
        "PermanentRedirect" | "AuthorizationHeaderMalformed" => ": set --s3-region",
        _ => "",
    };
    format!("{place}: {error}{detail}{remedy}")
}
