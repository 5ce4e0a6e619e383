//! What an operation asks for: which actions on which resources, as the AWS service authorization reference for `ivs`
//! has it. Real-Time operations are IAM actions of the service prefix `ivs`.

use super::operations::Operation;
use crate::app::Call;
use crate::app::credentials::Caller;
use crate::domain::policy::{Context, Decision, Policy, Request};
use crate::model::arn::{Parts, ResourceKind, Scope};
use crate::model::fault::Fault;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Where the resources of a request stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nowhere: the action is on everything, `*`.
    Everything,
    /// It names none, but is on all of a kind: those to be made, or all that are listed.
    Every(ResourceKind),
    /// In these members; `*` stands for each element of a list. Absent ones do not count; if all are, it is `*`.
    In(&'static [&'static str]),
}

/// An action on a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Such as `ivs:CreateStage`.
    pub action: String,
    /// An ARN, `<ARN without id>/*`, or `*`.
    pub resource: String,
}

/// What a request asks for. Making a resource with tags asks for `ivs:TagResource` as well.
fn asks(operation: &Operation, input: &Value, scope: &Scope) -> Vec<Ask> {
    let resources = match operation.target {
        Target::Everything => vec!["*".to_owned()],
        Target::Every(kind) => vec![scope.arn(kind, "*")],
        Target::In(members) => {
            let mut found = Vec::new();
            for member in members {
                collect(input, member, &mut found);
            }
            found.retain(|arn| !arn.is_empty());
            if found.is_empty() {
                found.push("*".into());
            }
            found
        }
    };
    let action = format!("ivs:{}", operation.name);
    let mut asks: Vec<_> = resources.into_iter().map(|resource| Ask { action: action.clone(), resource }).collect();
    if let Some(kind) = operation.makes
        && input["tags"].as_object().is_some_and(|tags| !tags.is_empty())
    {
        asks.push(Ask { action: "ivs:TagResource".into(), resource: scope.arn(kind, "*") });
    }
    asks
}

/// Collects the texts at a place such as `destinations.*.s3.storageConfigurationArn`.
fn collect(value: &Value, place: &str, found: &mut Vec<String>) {
    let (step, rest) = place.split_once('.').unwrap_or((place, ""));
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

/// A request, as policies look at it.
#[derive(Debug)]
pub struct Asked {
    asks: Vec<Ask>,
    /// Without the tags of resources.
    context: Context,
}

impl Asked {
    /// What `input` asks for, whose resources `scope` says, from the address of the client.
    pub fn new(operation: &Operation, input: &Value, scope: &Scope, address: Option<IpAddr>) -> Asked {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let tags = input["tags"].as_object();
        let tags = tags.map(|tags| tags.iter().map(|(key, value)| (key.clone(), text(value))).collect());
        let removed = input["tagKeys"].as_array();
        let removed = removed.map(|keys| keys.iter().filter_map(|key| key.as_str().map(ToOwned::to_owned)).collect());
        let keys = |tags: &BTreeMap<String, String>| tags.keys().cloned().collect();
        let context = Context {
            region: scope.region.clone(),
            source_ip: address,
            resource_tags: BTreeMap::new(),
            tag_keys: removed.or_else(|| tags.as_ref().map(keys)),
            request_tags: tags,
        };
        Asked { asks: asks(operation, input, scope), context }
    }
}

/// Refuses a request that its caller's policy does not allow.
pub async fn check(call: &Call, caller: &Caller, policy: &Policy, asked: &Asked) -> Result<(), Fault> {
    let mut tagged = policy.looks_at_resource_tags().then(|| asked.context.clone());
    for Ask { action, resource } in &asked.asks {
        if let Some(context) = &mut tagged {
            context.resource_tags = tags_of(call, resource).await?;
        }
        let context = tagged.as_ref().unwrap_or(&asked.context);
        if policy.decide(&Request { action, resource, context }) != Decision::Allowed {
            return Err(Fault::access_denied(&caller.user, action, resource));
        }
    }
    Ok(())
}

/// Refuses what is no operation of AWS's, and is on everything, unless its caller's policy allows it.
pub fn check_own(caller: &Caller, scope: &Scope, address: Option<IpAddr>, action: &str) -> Result<(), Fault> {
    let Some(policy) = &caller.policy else { return Ok(()) };
    let context = Context {
        region: scope.region.clone(),
        source_ip: address,
        resource_tags: BTreeMap::new(),
        tag_keys: None,
        request_tags: None,
    };
    match policy.decide(&Request { action, resource: "*", context: &context }) {
        Decision::Allowed => Ok(()),
        _ => Err(Fault::access_denied(&caller.user, action, "*")),
    }
}

/// The tags of a resource; none for one that does not exist, or that a request does not name.
async fn tags_of(call: &Call, arn: &str) -> Result<BTreeMap<String, String>, Fault> {
    let kind = Parts::of(arn).and_then(|parts| ResourceKind::parse(parts.kind));
    let (Some(kind), Some(id)) = (kind, call.scope.own(arn)) else { return Ok(BTreeMap::new()) };
    let tags = call.tags_of(kind, id).await?;
    Ok(tags.0.into_iter().map(|(key, value)| (key.0, value.0)).collect())
}
