//! Public keys that customers sign participant tokens with.

use super::{OperationContext, place, quota};
use crate::domain;
use crate::model::arn::{ResourceKind, Scope};
use crate::model::fault::Fault;
use crate::model::page::Position;
use crate::model::public_key::{
    DeletePublicKeyRequest, DeletePublicKeyResponse, GetPublicKeyRequest, GetPublicKeyResponse, ImportPublicKeyRequest,
    ImportPublicKeyResponse, ListPublicKeysRequest, ListPublicKeysResponse, MaxPublicKeyResults, PublicKey,
    PublicKeyArn, PublicKeyFingerprint, PublicKeyMaterial, PublicKeySummary,
};
use crate::store::{Conn, Json, PublicKeyRow, StoreError};

/// Imports a P-384 public key.
pub async fn import(ctx: OperationContext, input: ImportPublicKeyRequest) -> Result<ImportPublicKeyResponse, Fault> {
    let row = new(&ctx, input)?;
    let mut tx = ctx.write().await?;
    insert(&ctx, &mut tx, &row).await?;
    tx.commit().await?;
    Ok(ImportPublicKeyResponse { public_key: Some(public_key(&ctx.scope, row)) })
}

/// The row of a new public key.
pub(super) fn new(ctx: &OperationContext, input: ImportPublicKeyRequest) -> Result<PublicKeyRow, Fault> {
    let fingerprint = domain::public_key::fingerprint(&input.public_key_material)?;
    let tags = domain::tag::given(input.tags)?;
    Ok(PublicKeyRow {
        id: ctx.app.ids.resource(),
        name: input.name.unwrap_or_default().0,
        material: input.public_key_material.0,
        fingerprint,
        tags: Json(tags),
        created_at: ctx.now().0,
    })
}

/// Adds a public key within the quota. A key that is there already is a conflict.
pub(super) async fn insert(ctx: &OperationContext, tx: &mut Conn, row: &PublicKeyRow) -> Result<(), Fault> {
    quota::check(ctx, tx, ResourceKind::PublicKey).await?;
    match tx.insert_public_key(&ctx.scope, row).await {
        Err(StoreError::Duplicate(_)) => Err(Fault::conflict(format!(
            "publicKeyMaterial: the key with the fingerprint {} has been imported already",
            row.fingerprint
        ))),
        inserted => Ok(inserted?),
    }
}

/// Shows a public key.
pub async fn get(ctx: OperationContext, input: GetPublicKeyRequest) -> Result<GetPublicKeyResponse, Fault> {
    let row = ctx.read().await?.public_key(&ctx.scope, ctx.own(&input.arn)?).await?;
    let row = row.ok_or_else(|| Fault::not_found(&input.arn))?;
    Ok(GetPublicKeyResponse { public_key: Some(public_key(&ctx.scope, row)) })
}

/// Lists public keys in the order of their import.
pub async fn list(ctx: OperationContext, input: ListPublicKeysRequest) -> Result<ListPublicKeysResponse, Fault> {
    let size = input.max_results.unwrap_or(MaxPublicKeyResults(50)).0;
    let page = ctx.page("ListPublicKeys", &[], Position::first(), input.next_token, size)?;
    let mut rows = ctx.read().await?.public_keys(&ctx.scope, &page.start, page.limit()).await?;
    let next_token = page.cut(&mut rows, |row| place(row.created_at, &row.id));
    let summary = |row: PublicKeyRow| PublicKeySummary {
        arn: Some(PublicKeyArn::new(&ctx.scope, &row.id)),
        name: Some(row.name.into()),
        tags: Some(row.tags.0),
    };
    Ok(ListPublicKeysResponse { public_keys: rows.into_iter().map(summary).collect(), next_token })
}

/// Deletes a public key: tokens that are signed with its private key are refused from now on.
pub async fn delete(ctx: OperationContext, input: DeletePublicKeyRequest) -> Result<DeletePublicKeyResponse, Fault> {
    let mut tx = ctx.write().await?;
    if !tx.delete_resource(&ctx.scope, ResourceKind::PublicKey, ctx.own(&input.arn)?).await? {
        return Err(Fault::not_found(&input.arn));
    }
    tx.commit().await?;
    Ok(DeletePublicKeyResponse {})
}

fn public_key(scope: &Scope, row: PublicKeyRow) -> PublicKey {
    PublicKey {
        arn: Some(PublicKeyArn::new(scope, &row.id)),
        name: Some(row.name.into()),
        public_key_material: Some(PublicKeyMaterial(row.material)),
        fingerprint: Some(PublicKeyFingerprint(row.fingerprint)),
        tags: Some(row.tags.0),
    }
}
