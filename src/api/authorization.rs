//! Authorization requests: which actions on which resources an operation needs, as the AWS service authorization
//! reference for `ivs` lists them. Real-Time operations are IAM actions of the service prefix `ivs`.
//!
//! A request is built from the decoded input alone, so that neither undeclared members nor `null`s can change a decision.

use super::operations::Operation;
use crate::app::authorization::{AuthorizationRequest, Permission};
use crate::app::credentials::Caller;
use crate::domain::policy::{Context, Decision, Policy, Request};
use crate::model::arn::{ResourceKind, Scope};
use crate::model::fault::Fault;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Where the resources of a request are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nowhere: the resource is `*`.
    Everything,
    /// Nowhere: the resource is every one of a kind, for creating and listing.
    Every(ResourceKind),
    /// In these members; `*` stands for each element of a list. Absent members are skipped; if all are absent, the resource
    /// is `*`.
    In(&'static [&'static str]),
}

/// The permissions that a request needs. Creating a resource with tags needs `ivs:TagResource` as well.
fn permissions(operation: &Operation, input: &Value, scope: &Scope) -> Vec<Permission> {
    let resources = match operation.target {
        Target::Everything => vec!["*".to_owned()],
        Target::Every(kind) => vec![scope.arn(kind, "*")],
        Target::In(_) => {
            let mut found = named_resources(operation, input);
            if found.is_empty() {
                found.push("*".into());
            }
            found
        }
    };
    let action = format!("ivs:{}", operation.name);
    let mut needed: Vec<_> =
        resources.into_iter().map(|resource| Permission { action: action.clone(), resource }).collect();
    if let Some(kind) = operation.makes
        && input["tags"].as_object().is_some_and(|tags| !tags.is_empty())
    {
        needed.push(Permission { action: "ivs:TagResource".into(), resource: scope.arn(kind, "*") });
    }
    needed
}

/// The ARNs of existing resources that an input names.
pub fn named_resources(operation: &Operation, input: &Value) -> Vec<String> {
    let Target::In(members) = operation.target else { return Vec::new() };
    let mut found = Vec::new();
    for member in members {
        collect(input, member, &mut found);
    }
    found.retain(|arn| !arn.is_empty());
    found
}

/// Collects the strings at a path such as `destinations.*.s3.storageConfigurationArn`.
fn collect(value: &Value, path: &str, found: &mut Vec<String>) {
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    let next: Vec<&Value> = match (step, value) {
        ("*", Value::Array(items)) => items.iter().collect(),
        (name, Value::Object(object)) => object.get(name).into_iter().collect(),
        _ => Vec::new(),
    };
    for value in next {
        match value {
            Value::String(text) if rest.is_empty() => found.push(text.clone()),
            _ if rest.is_empty() => {}
            _ => collect(value, rest, found),
        }
    }
}

/// The authorization request of an operation. `input` is the decoded input encoded as JSON again: it has only members
/// that the operation declares, and no `null`s.
pub fn request(
    operation: &Operation,
    input: &Value,
    scope: &Scope,
    address: Option<IpAddr>,
    (user, policy): (&str, &Arc<Policy>),
) -> AuthorizationRequest {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let tags = input["tags"].as_object();
    let tags: Option<BTreeMap<_, _>> =
        tags.map(|tags| tags.iter().map(|(key, value)| (key.clone(), text(value))).collect());
    let removed = input["tagKeys"].as_array().map(|keys| keys.iter().map(text).collect());
    let context = Context {
        tag_keys: removed.or_else(|| tags.as_ref().map(|tags| tags.keys().cloned().collect())),
        request_tags: tags,
        ..context(scope, address)
    };
    let permissions = permissions(operation, input, scope);
    AuthorizationRequest { user: user.to_owned(), policy: policy.clone(), permissions, context }
}

/// The context of a request without tags.
fn context(scope: &Scope, address: Option<IpAddr>) -> Context {
    Context { region: scope.region.clone(), source_ip: address, ..Context::default() }
}

/// Denies a greenroom-specific action, whose resource is `*`, unless the policy of the caller allows it.
pub fn check_own(caller: &Caller, scope: &Scope, address: Option<IpAddr>, action: &str) -> Result<(), Fault> {
    let Some(policy) = &caller.policy else { return Ok(()) };
    match policy.decide(&Request { action, resource: "*", context: &context(scope, address) }) {
        Decision::Allowed => Ok(()),
        _ => Err(Fault::access_denied(&caller.user, action, "*")),
    }
}

#[cfg(test)]
mod tests;
