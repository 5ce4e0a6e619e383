//! The stage that a request names: by ARN, or by a name that only one stage has.

use crate::app::{OperationContext, retry, stages};
use crate::domain::admission::VerifiedToken;
use crate::model::arn::{Parts, ResourceKind, Scope};
use crate::model::fault::{Fault, FaultKind};
use crate::model::stage::{CreateStageRequest, GetStageRequest};
use crate::testing::TestState;
use crate::testing::call::Selection;
use serde_json::json;

/// A stage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StageId {
    pub scope: Scope,
    pub id: String,
}

impl StageId {
    pub fn of_token(token: &VerifiedToken) -> Self {
        StageId { scope: token.scope.clone(), id: token.stage.clone() }
    }

    pub fn arn(&self) -> String {
        self.scope.arn(ResourceKind::Stage, &self.id)
    }
}

/// Finds the stage that `member` names. With all accounts selected, a name is of the server's own account and region.
pub async fn find_stage(state: &TestState, selection: &Selection, member: &str, text: &str) -> Result<StageId, Fault> {
    let missing = |text: String| missing(member, &text);
    if text.starts_with("arn:") {
        let stage = of_arn(selection, text).ok_or_else(|| missing(format!("there is no stage {text}")))?;
        let ctx = OperationContext::new(state.app.clone(), stage.scope.clone());
        let get = || stages::get(ctx.clone(), GetStageRequest { arn: text.into() });
        retry(get).await.map_err(|fault| match fault.status() {
            404 => missing(format!("there is no stage {text}")),
            _ => fault,
        })?;
        return Ok(stage);
    }
    let scope = default_scope(state, selection);
    let mut ids = named(state, &scope, text).await?;
    match (ids.pop(), ids.pop()) {
        (Some(id), None) => Ok(StageId { scope, id }),
        (Some(_), Some(_)) => Err(Fault::conflict(format!("{member}: several stages are named '{text}'; use an ARN"))),
        (None, _) => {
            let Scope { account, region } = &scope;
            Err(missing(format!("there is no stage named '{text}' in account {account}, region {region}")))
        }
    }
}

/// Requires that the stage of a token is in the selection.
pub fn require_selected(selection: &Selection, token: &VerifiedToken) -> Result<(), Fault> {
    let stage = StageId::of_token(token);
    if selection.includes(&stage.scope) {
        return Ok(());
    }
    Err(missing("token", &format!("there is no stage {}", stage.arn())))
}

/// Requires that a token is for this stage.
pub fn require_stage(named: &StageId, token: &VerifiedToken) -> Result<(), Fault> {
    let stage = StageId::of_token(token);
    if stage == *named {
        return Ok(());
    }
    let message = format!("token: is for the stage {}, and stage is {}", stage.arn(), named.arn());
    Err(Fault::validation(message))
}

fn missing(member: &str, text: &str) -> Fault {
    Fault::Modelled {
        kind: FaultKind::ResourceNotFound,
        message: format!("{member}: {text}"),
        cause: None,
        retryable: false,
    }
}

/// Finds the stage that `member` names, or creates a stage of that name.
pub async fn find_or_create_stage(
    state: &TestState,
    selection: &Selection,
    member: &str,
    text: &str,
) -> Result<StageId, Fault> {
    let found = find_stage(state, selection, member, text).await;
    match found {
        Err(fault) if fault.status() == 404 && !text.starts_with("arn:") => {}
        found => return found,
    }
    let scope = default_scope(state, selection);
    let ctx = OperationContext::new(state.app.clone(), scope.clone());
    let input: CreateStageRequest = crate::api::operations::decode(json!({"name": text}))?;
    let created = retry(|| stages::create(ctx.clone(), input.clone())).await?;
    let arn = created.stage.map(|stage| stage.arn.0).unwrap_or_default();
    let id = scope.own(&arn).unwrap_or_default().to_owned();
    Ok(StageId { scope, id })
}

async fn named(state: &TestState, scope: &Scope, name: &str) -> Result<Vec<String>, Fault> {
    let ctx = &OperationContext::new(state.app.clone(), scope.clone());
    retry(|| stages::named(ctx, name)).await
}

fn default_scope(state: &TestState, selection: &Selection) -> Scope {
    match selection {
        Selection::One(scope) => scope.clone(),
        Selection::All => Scope { account: state.settings.account.clone(), region: state.settings.region.clone() },
    }
}

fn of_arn(selection: &Selection, arn: &str) -> Option<StageId> {
    let parts = Parts::of(arn).filter(|parts| parts.kind == ResourceKind::Stage.as_str())?;
    let scope = Scope { account: parts.account.to_owned(), region: parts.region.to_owned() };
    selection.includes(&scope).then(|| StageId { scope, id: parts.id.to_owned() })
}
