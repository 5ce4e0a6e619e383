//! Tags of resources.

use super::OperationContext;
use crate::domain;
use crate::model::arn::ResourceKind;
use crate::model::fault::Fault;
use crate::model::tag::{
    ListTagsForResourceRequest, ListTagsForResourceResponse, ResourceArn, TagResourceRequest, TagResourceResponse,
    Tags, UntagResourceRequest, UntagResourceResponse,
};
use crate::store::Conn;

/// Shows the tags of a resource.
pub async fn list(
    ctx: OperationContext,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, Fault> {
    let (kind, id) = taggable(&ctx, &input.resource_arn)?;
    let mut conn = ctx.read().await?;
    refuse_gone(&ctx, &mut conn, kind, id, &input.resource_arn).await?;
    let tags = conn.tags(&ctx.scope, kind, id).await?;
    let tags = tags.ok_or_else(|| Fault::not_found(&input.resource_arn))?;
    Ok(ListTagsForResourceResponse { tags })
}

/// Adds tags to a resource; tags with the same keys are replaced.
pub async fn tag(ctx: OperationContext, input: TagResourceRequest) -> Result<TagResourceResponse, Fault> {
    change(&ctx, &input.resource_arn, |tags| Ok(domain::tag::merged(tags, input.tags)?)).await?;
    Ok(TagResourceResponse {})
}

/// Removes tags from a resource; keys that it does not have are no error.
pub async fn untag(ctx: OperationContext, input: UntagResourceRequest) -> Result<UntagResourceResponse, Fault> {
    change(&ctx, &input.resource_arn, |tags| Ok(domain::tag::without(tags, &input.tag_keys))).await?;
    Ok(UntagResourceResponse {})
}

async fn change(
    ctx: &OperationContext,
    arn: &ResourceArn,
    change: impl FnOnce(Tags) -> Result<Tags, Fault>,
) -> Result<(), Fault> {
    let (kind, id) = taggable(ctx, arn)?;
    let mut tx = ctx.write().await?;
    refuse_gone(ctx, &mut tx, kind, id, arn).await?;
    let tags = tx.lock_tags(&ctx.scope, kind, id).await?.ok_or_else(|| Fault::not_found(arn))?;
    tx.set_tags(&ctx.scope, kind, id, &change(tags)?).await?;
    Ok(tx.commit().await?)
}

fn taggable<'a>(ctx: &OperationContext, arn: &'a ResourceArn) -> Result<(ResourceKind, &'a str), Fault> {
    let Some(kind) = arn.kind() else {
        let kinds = ResourceKind::ALL.map(ResourceKind::as_str).join(", ");
        return Err(Fault::validation(format!(
            "resourceArn: '{}' is not the ARN of a resource of this service; its kinds are {kinds}",
            &**arn
        )));
    };
    Ok((kind, ctx.own(arn)?))
}

/// A composition whose retention is over does not exist any more, although its row may be there.
async fn refuse_gone(
    ctx: &OperationContext,
    conn: &mut Conn,
    kind: ResourceKind,
    id: &str,
    arn: &ResourceArn,
) -> Result<(), Fault> {
    if kind == ResourceKind::Composition {
        super::compositions::existing(ctx, conn, arn, id).await?;
    }
    Ok(())
}
