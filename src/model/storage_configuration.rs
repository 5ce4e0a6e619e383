//! Storage configurations: shapes, requests and answers.

use super::common::PaginationToken;
use super::declare::{integer_shapes, list_shapes, string_shapes, structures};
use super::tag::Tags;

string_shapes! {
    /// ARN of a storage configuration.
    StorageConfigurationArn { length: 1..=128, pattern: r"arn:aws:ivs:[a-z0-9-]+:[0-9]+:storage-configuration/[a-zA-Z0-9-]+" }
    /// Name of a storage configuration.
    StorageConfigurationName { length: 0..=128, pattern: r"[a-zA-Z0-9-_]*" }
    /// Name of an S3 bucket.
    S3BucketName { length: 3..=63, pattern: r"[a-z0-9-.]+" }
}

integer_shapes! {
    /// Maximum number of items per page.
    MaxStorageConfigurationResults { min: 1, max: 100 }
}

list_shapes! {
    /// Storage configurations of a page.
    StorageConfigurationSummaryList [StorageConfigurationSummary]
}

structures! {
    /// A storage configuration of recordings.
    StorageConfiguration {
        /// ARN of the resource.
        arn: StorageConfigurationArn,
        /// Name; not unique, `""` when unset.
        name: Option<StorageConfigurationName>,
        /// The S3 storage.
        s3: Option<S3StorageConfiguration>,
        /// Tags of the resource.
        tags: Option<Tags>,
    }
    /// Summary of a storage configuration.
    StorageConfigurationSummary {
        /// ARN of the resource.
        arn: StorageConfigurationArn,
        /// Name; not unique, `""` when unset.
        name: Option<StorageConfigurationName>,
        /// The S3 storage.
        s3: Option<S3StorageConfiguration>,
        /// Tags of the resource.
        tags: Option<Tags>,
    }
    /// An S3 bucket.
    S3StorageConfiguration {
        /// Name of the bucket, of the same region.
        bucket_name: S3BucketName,
    }
    /// Input of `CreateStorageConfiguration`.
    CreateStorageConfigurationRequest {
        /// Name; not unique, `""` when unset.
        name: Option<StorageConfigurationName>,
        /// The S3 storage.
        s3: S3StorageConfiguration,
        /// Tags of the resource.
        tags: Option<Tags>,
    }
    /// Output of `CreateStorageConfiguration`.
    CreateStorageConfigurationResponse {
        /// The storage configuration.
        storage_configuration: Option<StorageConfiguration>,
    }
    /// Input of `GetStorageConfiguration`.
    GetStorageConfigurationRequest {
        /// ARN of the resource.
        arn: StorageConfigurationArn,
    }
    /// Output of `GetStorageConfiguration`.
    GetStorageConfigurationResponse {
        /// The storage configuration.
        storage_configuration: Option<StorageConfiguration>,
    }
    /// Input of `ListStorageConfigurations`.
    ListStorageConfigurationsRequest {
        /// Token of the next page; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Maximum number of items per page.
        max_results: Option<MaxStorageConfigurationResults>,
    }
    /// Output of `ListStorageConfigurations`.
    ListStorageConfigurationsResponse {
        /// Storage configurations in the order of their creation.
        storage_configurations: StorageConfigurationSummaryList,
        /// Token of the next page; absent on the last page.
        next_token: Option<PaginationToken>,
    }
    /// Input of `DeleteStorageConfiguration`.
    DeleteStorageConfigurationRequest {
        /// ARN of the resource.
        arn: StorageConfigurationArn,
    }
    /// Output of `DeleteStorageConfiguration`.
    DeleteStorageConfigurationResponse {}
}
