//! Encoder configurations.

use super::{OperationContext, place, quota};
use crate::domain;
use crate::model::arn::{ResourceKind, Scope};
use crate::model::encoder_configuration::{
    CreateEncoderConfigurationRequest, CreateEncoderConfigurationResponse, DeleteEncoderConfigurationRequest,
    DeleteEncoderConfigurationResponse, EncoderConfiguration, EncoderConfigurationArn, EncoderConfigurationSummary,
    GetEncoderConfigurationRequest, GetEncoderConfigurationResponse, ListEncoderConfigurationsRequest,
    ListEncoderConfigurationsResponse, MaxEncoderConfigurationResults,
};
use crate::model::fault::Fault;
use crate::model::page::Position;
use crate::store::{Conn, EncoderConfigurationRow, Json};

/// Creates an encoder configuration.
pub async fn create(
    ctx: OperationContext,
    input: CreateEncoderConfigurationRequest,
) -> Result<CreateEncoderConfigurationResponse, Fault> {
    let row = new(&ctx, input)?;
    let mut tx = ctx.write().await?;
    insert(&ctx, &mut tx, &row).await?;
    tx.commit().await?;
    Ok(CreateEncoderConfigurationResponse { encoder_configuration: Some(configuration(&ctx.scope, row)) })
}

/// The row of a new encoder configuration.
pub(super) fn new(
    ctx: &OperationContext,
    input: CreateEncoderConfigurationRequest,
) -> Result<EncoderConfigurationRow, Fault> {
    Ok(EncoderConfigurationRow {
        id: ctx.app.ids.resource(),
        name: input.name.unwrap_or_default().0,
        video: Json(domain::encoder_configuration::video(input.video)?),
        tags: Json(domain::tag::given(input.tags)?),
        created_at: ctx.now().0,
    })
}

/// Adds an encoder configuration within the quota.
pub(super) async fn insert(ctx: &OperationContext, tx: &mut Conn, row: &EncoderConfigurationRow) -> Result<(), Fault> {
    quota::check(ctx, tx, ResourceKind::EncoderConfiguration).await?;
    Ok(tx.insert_encoder_configuration(&ctx.scope, row).await?)
}

/// Shows an encoder configuration.
pub async fn get(
    ctx: OperationContext,
    input: GetEncoderConfigurationRequest,
) -> Result<GetEncoderConfigurationResponse, Fault> {
    let row = ctx.read().await?.encoder_configuration(&ctx.scope, ctx.own(&input.arn)?).await?;
    let row = row.ok_or_else(|| Fault::not_found(&input.arn))?;
    Ok(GetEncoderConfigurationResponse { encoder_configuration: Some(configuration(&ctx.scope, row)) })
}

/// Lists encoder configurations in the order of their creation.
pub async fn list(
    ctx: OperationContext,
    input: ListEncoderConfigurationsRequest,
) -> Result<ListEncoderConfigurationsResponse, Fault> {
    let size = input.max_results.unwrap_or(MaxEncoderConfigurationResults(100)).0;
    let page = ctx.page("ListEncoderConfigurations", &[], Position::first(), input.next_token, size)?;
    let mut rows = ctx.read().await?.encoder_configurations(&ctx.scope, &page.start, page.limit()).await?;
    let next_token = page.cut(&mut rows, |row| place(row.created_at, &row.id));
    let summary = |row: EncoderConfigurationRow| EncoderConfigurationSummary {
        arn: EncoderConfigurationArn::new(&ctx.scope, &row.id),
        name: Some(row.name.into()),
        tags: Some(row.tags.0),
    };
    Ok(ListEncoderConfigurationsResponse {
        encoder_configurations: rows.into_iter().map(summary).collect(),
        next_token,
    })
}

/// Deletes an encoder configuration that no running composition uses.
pub async fn delete(
    ctx: OperationContext,
    input: DeleteEncoderConfigurationRequest,
) -> Result<DeleteEncoderConfigurationResponse, Fault> {
    let id = ctx.own(&input.arn)?;
    let mut tx = ctx.write().await?;
    let users = super::compositions::running(&ctx, &mut tx).await?;
    let uses = |encoder: &Option<String>| encoder.as_deref() == Some(id);
    if users.iter().any(|row| uses(&row.channel_encoder_id) || uses(&row.s3_encoder_id)) {
        return Err(Fault::conflict(format!("{} is used by a composition that has not ended", &*input.arn)));
    }
    if !tx.delete_resource(&ctx.scope, ResourceKind::EncoderConfiguration, id).await? {
        return Err(Fault::not_found(&input.arn));
    }
    tx.commit().await?;
    Ok(DeleteEncoderConfigurationResponse {})
}

fn configuration(scope: &Scope, row: EncoderConfigurationRow) -> EncoderConfiguration {
    EncoderConfiguration {
        arn: EncoderConfigurationArn::new(scope, &row.id),
        name: Some(row.name.into()),
        video: Some(row.video.0),
        tags: Some(row.tags.0),
    }
}
