//! Authorization of a request by the policy of its access key.
//!
//! A decision that depends on the tags of resources (`aws:ResourceTag`) is made on the state that the operation acts on:
//! in the snapshot that it reads, or in the transaction that it writes in. See `OperationContext::read` and `OperationContext::write`.

use super::OperationContext;
use crate::domain::policy::{Context, Decision, Policy, Request};
use crate::model::arn::{Parts, ResourceKind, Scope};
use crate::model::fault::Fault;
use crate::store::Conn;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An action on a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Such as `ivs:CreateStage`.
    pub action: String,
    /// An ARN, `<ARN without id>/*`, or `*`.
    pub resource: String,
}

/// What a request needs, who asks for it, and the policy that decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationRequest {
    /// The ARN of the user, for the text of a denial.
    pub user: String,
    /// The policy of the access key.
    pub policy: Arc<Policy>,
    /// All of them must be allowed.
    pub permissions: Vec<Permission>,
    /// Everything that conditions look at but the tags of resources.
    pub context: Context,
}

impl AuthorizationRequest {
    /// Whether the decision depends on tags that the store has.
    pub fn depends_on_tags(&self, scope: &Scope) -> bool {
        self.policy.looks_at_resource_tags() && self.permissions.iter().any(|needed| named(scope, needed).is_some())
    }

    /// Decides where no tags in the store matter.
    pub fn check(&self) -> Result<(), Fault> {
        self.permissions.iter().try_for_each(|needed| self.decide(needed, &self.context))
    }

    /// Decides with the tags that the resources have in the state that `conn` sees.
    pub async fn check_in(&self, scope: &Scope, conn: &mut Conn) -> Result<(), Fault> {
        for needed in &self.permissions {
            let tags = match named(scope, needed) {
                Some((kind, id)) => conn.tags(scope, kind, id).await?.unwrap_or_default(),
                None => Default::default(),
            };
            let resource_tags: BTreeMap<_, _> = tags.0.into_iter().map(|(key, value)| (key.0, value.0)).collect();
            self.decide(needed, &Context { resource_tags, ..self.context.clone() })?;
        }
        Ok(())
    }

    fn decide(&self, Permission { action, resource }: &Permission, context: &Context) -> Result<(), Fault> {
        match self.policy.decide(&Request { action, resource, context }) {
            Decision::Allowed => Ok(()),
            Decision::DeniedByDefault | Decision::DeniedExplicitly => {
                Err(Fault::access_denied(&self.user, action, resource))
            }
        }
    }

    /// Locks the rows whose tags decided and that the operation itself does not lock. Call it after the operation's own
    /// locks (lock order: stages, then what belongs to them, then these).
    pub(super) async fn lock_tags(&self, scope: &Scope, tx: &mut Conn) -> Result<(), Fault> {
        for (kind, id) in self.permissions.iter().filter_map(|needed| named(scope, needed)) {
            if matches!(kind, ResourceKind::EncoderConfiguration | ResourceKind::StorageConfiguration) {
                tx.lock_tags(scope, kind, id).await?;
            }
        }
        Ok(())
    }
}

/// The one resource of the caller's own that a permission names, if it does.
fn named<'a>(scope: &Scope, needed: &'a Permission) -> Option<(ResourceKind, &'a str)> {
    let kind = ResourceKind::parse(Parts::of(&needed.resource)?.kind)?;
    scope.own(&needed.resource).filter(|id| *id != "*").map(|id| (kind, id))
}

impl OperationContext {
    /// Checks what a request needs before anything is done, and again in the state that the operation acts on if tags
    /// in the store decide.
    pub async fn authorize(self, request: AuthorizationRequest) -> Result<OperationContext, Fault> {
        if !request.depends_on_tags(&self.scope) {
            request.check()?;
            return Ok(self);
        }
        let request = Arc::new(request);
        let check = || async {
            let mut conn = self.app.db.read().await?;
            request.check_in(&self.scope, &mut conn).await
        };
        super::again(check).await?;
        Ok(OperationContext { authorization: Some(request), ..self })
    }
}
