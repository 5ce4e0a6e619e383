//! Authorization of a request by the policy of its access key.
//!
//! A decision that depends on the tags of resources (`aws:ResourceTag`) is made on the same state as the operation: in its
//! read snapshot, or in its transaction. See `OperationContext::read` and `OperationContext::write`.

use super::OperationContext;
use crate::domain::policy::{Context, Decision, Policy, Request};
use crate::model::arn::{Parts, ResourceKind, Scope};
use crate::model::fault::Fault;
use crate::store::Conn;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A required permission: an action on a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Such as `ivs:CreateStage`.
    pub action: String,
    /// An ARN, `<ARN without id>/*`, or `*`.
    pub resource: String,
}

/// The permissions that a request requires, its caller, and the policy that decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationRequest {
    /// The ARN of the user, for the error text.
    pub user: String,
    pub policy: Arc<Policy>,
    /// All of them must be allowed.
    pub permissions: Vec<Permission>,
    /// The values of all condition keys but the tags of resources.
    pub context: Context,
}

impl AuthorizationRequest {
    /// Whether the decision depends on stored tags.
    pub fn depends_on_tags(&self, scope: &Scope) -> bool {
        self.policy.uses_resource_tags()
            && self.permissions.iter().any(|needed| single_resource(scope, needed).is_some())
    }

    /// Decides without stored tags.
    pub fn check(&self) -> Result<(), Fault> {
        self.permissions.iter().try_for_each(|needed| self.decide(needed, &self.context))
    }

    /// Decides with the tags that `conn` sees.
    pub async fn check_in(&self, scope: &Scope, conn: &mut Conn) -> Result<(), Fault> {
        for needed in &self.permissions {
            let tags = match single_resource(scope, needed) {
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

    /// Locks the rows whose tags decided and that the operation itself does not lock. Lock order: stages, their children,
    /// then these; call it after the locks of the operation.
    pub(super) async fn lock_tags(&self, scope: &Scope, tx: &mut Conn) -> Result<(), Fault> {
        for (kind, id) in self.permissions.iter().filter_map(|needed| single_resource(scope, needed)) {
            if matches!(kind, ResourceKind::EncoderConfiguration | ResourceKind::StorageConfiguration) {
                tx.lock_tags(scope, kind, id).await?;
            }
        }
        Ok(())
    }
}

/// Kind and id of the single resource of the caller's account that a permission names, if it does.
fn single_resource<'a>(scope: &Scope, needed: &'a Permission) -> Option<(ResourceKind, &'a str)> {
    let kind = ResourceKind::parse(Parts::of(&needed.resource)?.kind)?;
    scope.own(&needed.resource).filter(|id| *id != "*").map(|id| (kind, id))
}

impl OperationContext {
    /// Checks the permissions before the operation. If stored tags decide, the check is repeated on the state that the
    /// operation acts on.
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
        super::retry(check).await?;
        Ok(OperationContext { authorization: Some(request), ..self })
    }
}
