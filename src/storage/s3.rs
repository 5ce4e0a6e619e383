//! Amazon S3 and compatible stores, with the AWS SDK.
//!
//! An object is stored by a single PUT, as none is larger than some megabytes. Retries are the caller's.

use super::error::{self, StorageError};
use super::settings::S3Settings;
use super::{BucketCheck, MAX_OBJECT_BYTES, MAX_OBJECTS, OpenError, StoredObject};
use crate::config::{Encryption, Endpoint, Secret};
use crate::http::client::error_chain;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::ProvideRegion as _;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::{Builder, Credentials, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ObjectCannedAcl, ServerSideEncryption};
use bytes::{Bytes, BytesMut};
use std::time::Duration;

/// The region of stores that have none of their own.
const DEFAULT_REGION: &str = "us-east-1";

/// How long requests may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    pub connect: Duration,
    /// Of a request without a body.
    pub request: Duration,
    /// Minimum rate of a body, in bytes per second: it lengthens the timeout by its size.
    pub rate: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { connect: Duration::from_secs(5), request: Duration::from_secs(15), rate: 128 << 10 }
    }
}

impl Timeouts {
    fn of(self, bytes: u64) -> Duration {
        self.request + Duration::from_secs(bytes / self.rate.max(1))
    }
}

/// The client of one place.
#[derive(Debug)]
pub(super) struct S3 {
    client: Client,
    settings: S3Settings,
    timeouts: Timeouts,
}

/// Loads the AWS configuration: credentials are looked up at the first request.
pub(super) async fn load_config(timeouts: Timeouts) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        // A region is looked up only where it is needed, as this can ask the network.
        .region(Region::new(DEFAULT_REGION))
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(timeouts.connect).build())
        .load()
        .await
}

/// The region of a place.
async fn region(settings: &S3Settings) -> Result<Region, OpenError> {
    if let Some(region) = &settings.region {
        return Ok(Region::new(region.clone()));
    }
    if settings.endpoint.is_some() {
        let named = EnvironmentVariableRegionProvider::new().region().await;
        return Ok(named.unwrap_or_else(|| Region::new(DEFAULT_REGION)));
    }
    aws_config::default_provider::region::DefaultRegionChain::builder()
        .build()
        .region()
        .await
        .ok_or(OpenError::NoRegion)
}

impl S3 {
    /// The client of a place; does not connect yet.
    pub(super) async fn new(config: &SdkConfig, settings: S3Settings, timeouts: Timeouts) -> Result<S3, OpenError> {
        // Stores of other makers do not know the checksums of the SDK. The signature covers a SHA-256 of the body.
        let mut builder = Builder::from(config)
            .region(region(&settings).await?)
            .force_path_style(settings.path_style)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(Endpoint(url)) = &settings.endpoint {
            builder = builder.endpoint_url(url);
        }
        if let Some((id, Secret(secret))) = &settings.credentials {
            builder = builder.credentials_provider(Credentials::new(id, secret, None, None, "greenroom"));
        }
        Ok(S3 { client: Client::from_conf(builder.build()), settings, timeouts })
    }

    pub(super) fn endpoint(&self) -> Option<&str> {
        self.settings.endpoint.as_ref().map(|Endpoint(url)| url.as_str())
    }

    /// How long a request with a body may take.
    pub(super) fn timeout(&self, bytes: u64) -> Duration {
        self.timeouts.of(bytes)
    }

    /// The name of a bucket in the store.
    pub(super) fn bucket<'a>(&'a self, bucket: &'a str) -> &'a str {
        self.settings.bucket.as_deref().unwrap_or(bucket)
    }

    pub(super) async fn put(
        &self,
        bucket: &str,
        key: &str,
        headers: super::Headers<'_>,
        body: Bytes,
    ) -> Result<(), StorageError> {
        let limit = self.timeout(body.len() as u64);
        let mut request = self
            .client
            .put_object()
            .bucket(self.bucket(bucket))
            .key(key)
            .content_type(headers.content_type)
            .cache_control(headers.cache_control)
            .body(ByteStream::from(body));
        if self.settings.acl {
            request = request.acl(ObjectCannedAcl::BucketOwnerFullControl);
        }
        request = match self.settings.encryption {
            Encryption::None => request,
            Encryption::Aes256 => request.server_side_encryption(ServerSideEncryption::Aes256),
            Encryption::Kms => request
                .server_side_encryption(ServerSideEncryption::AwsKms)
                .set_ssekms_key_id(self.settings.kms_key_id.clone()),
        };
        within(limit, Box::pin(request.send())).await?.map(drop).map_err(|error| bucket_error(of_sdk(&error)))
    }

    pub(super) async fn get(&self, bucket: &str, key: &str) -> Result<Bytes, StorageError> {
        let request = self.client.get_object().bucket(self.bucket(bucket)).key(key);
        let response =
            within(self.timeouts.request, Box::pin(request.send())).await?.map_err(|error| of_sdk(&error))?;
        let length = response.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
        if length > MAX_OBJECT_BYTES {
            return Err(error::TOO_LARGE);
        }
        let length = usize::try_from(length).unwrap_or(0);
        let (mut bytes, mut body) = (BytesMut::with_capacity(length), response.body);
        let read = async {
            while let Some(chunk) = body.next().await {
                let chunk = chunk.map_err(|error| error::UNREACHABLE.with_detail(&error_chain(&error)))?;
                if (bytes.len() + chunk.len()) as u64 > MAX_OBJECT_BYTES {
                    return Err(error::TOO_LARGE);
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(())
        };
        within(self.timeout(length as u64), Box::pin(read)).await??;
        Ok(bytes.freeze())
    }

    /// The objects whose key begins with `prefix`, by key.
    pub(super) async fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<StoredObject>, StorageError> {
        let (mut found, mut token) = (Vec::new(), None);
        loop {
            let request = self.client.list_objects_v2().bucket(self.bucket(bucket)).prefix(prefix);
            let request = request.set_continuation_token(token.take());
            let response = within(self.timeouts.request, Box::pin(request.send())).await?;
            let page = response.map_err(|error| bucket_error(of_sdk(&error)))?;
            let before = found.len();
            found.extend(page.contents().iter().filter_map(|object| {
                let bytes = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
                Some(StoredObject { key: object.key()?.to_owned(), bytes })
            }));
            if found.len() > MAX_OBJECTS {
                return Err(error::TOO_MANY);
            }
            token = page.next_continuation_token().filter(|_| page.is_truncated() == Some(true)).map(str::to_owned);
            // A page without objects that says that there are more would go on for ever.
            if token.is_none() || found.len() == before {
                return Ok(found);
            }
        }
    }

    /// Whether a bucket is there.
    pub(super) async fn check(&self, bucket: &str) -> Result<BucketCheck, StorageError> {
        let request = self.client.head_bucket().bucket(self.bucket(bucket));
        match within(self.timeouts.request, Box::pin(request.send())).await? {
            Ok(_) => Ok(BucketCheck::Known),
            Err(error) if error.raw_response().is_some_and(|raw| raw.status().as_u16() == 403) => {
                Ok(BucketCheck::NotAllowed)
            }
            Err(error) => Err(bucket_error(of_sdk(&error))),
        }
    }
}

async fn within<T>(limit: Duration, request: impl Future<Output = T>) -> Result<T, StorageError> {
    let detail = || error::TIMEOUT.with_detail(&format!("no answer within {} ms", limit.as_millis()));
    tokio::time::timeout(limit, request).await.map_err(|_| detail())
}

/// The error of a request for which a missing object means that the bucket is missing.
fn bucket_error(error: StorageError) -> StorageError {
    // The SDK calls a missing bucket so if the response has no body.
    let is_missing = error.is_not_found() || error.code == "NotFound";
    if is_missing { error::NO_SUCH_BUCKET.with_detail(&error.detail) } else { error }
}

fn of_sdk<E>(error: &SdkError<E, HttpResponse>) -> StorageError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            let (error, status) = (service.err(), service.raw().status().as_u16());
            error::of_response(error.code(), status).with_detail(error.message().unwrap_or_default())
        }
        SdkError::ResponseError(response) => error::of_response(None, response.raw().status().as_u16()),
        SdkError::TimeoutError(_) => error::TIMEOUT.with_detail(&error_chain(error)),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => error::TIMEOUT.with_detail(&error_chain(error)),
        _ if let Some(cause) = credentials_error(error) => of_credentials(cause).with_detail(&error_chain(error)),
        SdkError::DispatchFailure(_) => error::UNREACHABLE.with_detail(&error_chain(error)),
        _ => error::INVALID_REQUEST.with_detail(&error_chain(error)),
    }
}

/// The failure to load credentials among the causes of an error.
fn credentials_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a CredentialsError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// Missing credentials stay missing; a provider that fails, such as the instance's, can work at the next attempt.
fn of_credentials(error: &CredentialsError) -> StorageError {
    let permanent =
        matches!(error, CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_));
    let reason = "The server's credentials for the storage cannot be loaded.";
    StorageError::new("CredentialsError", reason, !permanent)
}
