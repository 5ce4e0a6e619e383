//! Storage configurations.

use super::{OperationContext, place, quota};
use crate::domain;
use crate::model::arn::{ResourceKind, Scope};
use crate::model::fault::Fault;
use crate::model::page::Position;
use crate::model::storage_configuration::{
    CreateStorageConfigurationRequest, CreateStorageConfigurationResponse, DeleteStorageConfigurationRequest,
    DeleteStorageConfigurationResponse, GetStorageConfigurationRequest, GetStorageConfigurationResponse,
    ListStorageConfigurationsRequest, ListStorageConfigurationsResponse, MaxStorageConfigurationResults,
    S3StorageConfiguration, StorageConfiguration, StorageConfigurationArn, StorageConfigurationSummary,
};
use crate::store::{Conn, Json, StorageConfigurationRow};

/// The lock that is held to use, or to delete, a storage configuration.
pub(super) const USE: &str = "use of storage configurations";

/// Creates a storage configuration. The bucket itself is not touched.
pub async fn create(
    ctx: OperationContext,
    input: CreateStorageConfigurationRequest,
) -> Result<CreateStorageConfigurationResponse, Fault> {
    let row = new(&ctx, input)?;
    let mut tx = ctx.write().await?;
    insert(&ctx, &mut tx, &row).await?;
    tx.commit().await?;
    Ok(CreateStorageConfigurationResponse { storage_configuration: Some(configuration(&ctx.scope, row)) })
}

/// The row of a new storage configuration.
pub(super) fn new(
    ctx: &OperationContext,
    input: CreateStorageConfigurationRequest,
) -> Result<StorageConfigurationRow, Fault> {
    Ok(StorageConfigurationRow {
        id: ctx.app.ids.resource(),
        name: input.name.unwrap_or_default().0,
        bucket: input.s3.bucket_name.0,
        tags: Json(domain::tag::given(input.tags)?),
        created_at: ctx.now().0,
    })
}

/// Adds a storage configuration within the quota.
pub(super) async fn insert(ctx: &OperationContext, tx: &mut Conn, row: &StorageConfigurationRow) -> Result<(), Fault> {
    quota::check(ctx, tx, ResourceKind::StorageConfiguration).await?;
    Ok(tx.insert_storage_configuration(&ctx.scope, row).await?)
}

/// Shows a storage configuration.
pub async fn get(
    ctx: OperationContext,
    input: GetStorageConfigurationRequest,
) -> Result<GetStorageConfigurationResponse, Fault> {
    let row = ctx.read().await?.storage_configuration(&ctx.scope, ctx.own(&input.arn)?).await?;
    let row = row.ok_or_else(|| Fault::not_found(&input.arn))?;
    Ok(GetStorageConfigurationResponse { storage_configuration: Some(configuration(&ctx.scope, row)) })
}

/// Lists storage configurations in the order of their creation.
pub async fn list(
    ctx: OperationContext,
    input: ListStorageConfigurationsRequest,
) -> Result<ListStorageConfigurationsResponse, Fault> {
    // AWS: the quota or 100, whichever is smaller.
    let default = ctx.app.settings.quotas.storage_configurations.map_or(100, |quota| i64::from(quota.clamp(1, 100)));
    let size = input.max_results.unwrap_or(MaxStorageConfigurationResults(default)).0;
    let page = ctx.page("ListStorageConfigurations", &[], Position::first(), input.next_token, size)?;
    let mut rows = ctx.read().await?.storage_configurations(&ctx.scope, &page.start, page.limit()).await?;
    let next_token = page.cut(&mut rows, |row| place(row.created_at, &row.id));
    let summary = |row: StorageConfigurationRow| StorageConfigurationSummary {
        arn: StorageConfigurationArn::new(&ctx.scope, &row.id),
        name: Some(row.name.into()),
        s3: Some(S3StorageConfiguration { bucket_name: row.bucket.into() }),
        tags: Some(row.tags.0),
    };
    Ok(ListStorageConfigurationsResponse {
        storage_configurations: rows.into_iter().map(summary).collect(),
        next_token,
    })
}

/// Deletes a storage configuration that no stage records to and no running composition uses.
pub async fn delete(
    ctx: OperationContext,
    input: DeleteStorageConfigurationRequest,
) -> Result<DeleteStorageConfigurationResponse, Fault> {
    let id = ctx.own(&input.arn)?;
    let mut tx = ctx.write().await?;
    tx.lock(&ctx.scope, USE).await?;
    let users = super::compositions::running(&ctx, &mut tx).await?;
    if users.iter().any(|row| row.storage_id.as_deref() == Some(id)) {
        return Err(Fault::conflict(format!("{} is used by a composition that has not ended", &*input.arn)));
    }
    if tx.count_stages_recording_to(&ctx.scope, id).await? > 0 {
        return Err(Fault::conflict(format!("{} is used by the recording of a stage", &*input.arn)));
    }
    if !tx.delete_resource(&ctx.scope, ResourceKind::StorageConfiguration, id).await? {
        return Err(Fault::not_found(&input.arn));
    }
    tx.commit().await?;
    Ok(DeleteStorageConfigurationResponse {})
}

fn configuration(scope: &Scope, row: StorageConfigurationRow) -> StorageConfiguration {
    StorageConfiguration {
        arn: StorageConfigurationArn::new(scope, &row.id),
        name: Some(row.name.into()),
        s3: Some(S3StorageConfiguration { bucket_name: row.bucket.into() }),
        tags: Some(row.tags.0),
    }
}
