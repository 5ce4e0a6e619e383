//! Storage configurations: shapes, requests and answers.

use super::common::PaginationToken;
use super::shape::{integer_shapes, list_shapes, string_shapes, structures};
use super::tag::Tags;

string_shapes! {
    /// Storage configuration arn.
    StorageConfigurationArn { length: 1..=128, pattern: r"arn:aws:ivs:[a-z0-9-]+:[0-9]+:storage-configuration/[a-zA-Z0-9-]+" }
    /// Storage configuration name.
    StorageConfigurationName { length: 0..=128, pattern: r"[a-zA-Z0-9-_]*" }
    /// S3 bucket name.
    S3BucketName { length: 3..=63, pattern: r"[a-z0-9-.]+" }
}

integer_shapes! {
    /// Max storage configuration results.
    MaxStorageConfigurationResults { min: 1, max: 100 }
}

list_shapes! {
    /// Storage configuration summary list.
    StorageConfigurationSummaryList [StorageConfigurationSummary]
}

structures! {
    /// Storage configuration.
    StorageConfiguration {
        /// ARN of the resource.
        arn: StorageConfigurationArn,
        /// Name; not unique, `""` when unset.
        name: Option<StorageConfigurationName>,
        /// S3.
        s3: Option<S3StorageConfiguration>,
        /// Tags of the resource.
        tags: Option<Tags>,
    }
    /// Storage configuration summary.
    StorageConfigurationSummary {
        /// ARN of the resource.
        arn: StorageConfigurationArn,
        /// Name; not unique, `""` when unset.
        name: Option<StorageConfigurationName>,
        /// S3.
        s3: Option<S3StorageConfiguration>,
        /// Tags of the resource.
        tags: Option<Tags>,
    }
    /// S3 storage configuration.
    S3StorageConfiguration {
        /// Bucket name.
        bucket_name: S3BucketName,
    }
    /// Input of `CreateStorageConfiguration`.
    CreateStorageConfigurationRequest {
        /// Name; not unique, `""` when unset.
        name: Option<StorageConfigurationName>,
        /// S3.
        s3: S3StorageConfiguration,
        /// Tags of the resource.
        tags: Option<Tags>,
    }
    /// Answer of `CreateStorageConfiguration`.
    CreateStorageConfigurationResponse {
        /// Storage configuration.
        storage_configuration: Option<StorageConfiguration>,
    }
    /// Input of `GetStorageConfiguration`.
    GetStorageConfigurationRequest {
        /// ARN of the resource.
        arn: StorageConfigurationArn,
    }
    /// Answer of `GetStorageConfiguration`.
    GetStorageConfigurationResponse {
        /// Storage configuration.
        storage_configuration: Option<StorageConfiguration>,
    }
    /// Input of `ListStorageConfigurations`.
    ListStorageConfigurationsRequest {
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Most items a page may hold.
        max_results: Option<MaxStorageConfigurationResults>,
    }
    /// Answer of `ListStorageConfigurations`.
    ListStorageConfigurationsResponse {
        /// Storage configurations.
        storage_configurations: StorageConfigurationSummaryList,
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
    }
    /// Input of `DeleteStorageConfiguration`.
    DeleteStorageConfigurationRequest {
        /// ARN of the resource.
        arn: StorageConfigurationArn,
    }
    /// Answer of `DeleteStorageConfiguration`.
    DeleteStorageConfigurationResponse {}
}
