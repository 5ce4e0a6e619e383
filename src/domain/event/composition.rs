//! Events of compositions.

use super::{Detail, Failure, OutboxEvent};
use crate::clock::Timestamp;
use crate::domain::composition::{Course, Progress};
use crate::model::arn::{ResourceKind, Scope};
use serde::Serialize;

const DETAIL_TYPE: &str = "IVS Composition State Change";

/// Error code of a composition whose stage was deleted.
pub const STAGE_DELETED: &str = "StageDeleted";

/// Error codes of compositions, and their reasons.
const FAILURES: &[(&str, &str)] = &[
    (STAGE_DELETED, "Stage has been deleted"),
    ("DestinationFailure", "One or more outputs failed"),
    ("InternalServerException", "Service internal error"),
];

/// The detail of an `IVS Composition State Change`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CompositionChange {
    event_name: &'static str,
    stage_arn: String,
    /// The destination that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(flatten)]
    failure: Option<Failure>,
}

/// The composition that events are about.
#[derive(Clone, Copy, Debug)]
pub struct Composition<'a> {
    /// Its owner.
    pub scope: &'a Scope,
    pub id: &'a str,
    /// The stage's id.
    pub stage: &'a str,
    /// Why it failed, or `""`.
    pub error_code: &'a str,
}

/// The events of a composition's course after `from`, up to and including `to`.
pub fn of_composition(
    composition: Composition<'_>,
    destinations: &[&str],
    course: &Course,
    from: Progress,
    to: Progress,
) -> Vec<OutboxEvent> {
    let stage_arn = composition.scope.arn(ResourceKind::Stage, composition.stage);
    let outbox_event = |name: &'static str, id: Option<&str>, failure: Option<Failure>, at: Timestamp| {
        let id = id.map(str::to_owned);
        let change = CompositionChange { event_name: name, stage_arn: stage_arn.clone(), id, failure };
        let resource = composition.scope.arn(ResourceKind::Composition, composition.id);
        OutboxEvent { detail_type: DETAIL_TYPE, resource, at, detail: Detail::Composition(Box::new(change)) }
    };
    let mut all = Vec::new();
    if let Some(at) = course.active_at.filter(|_| from < Progress::Started && to >= Progress::Started) {
        all.push(outbox_event("Session Start", None, None, at));
        all.extend(destinations.iter().map(|id| outbox_event("Destination Start", Some(id), None, at)));
    }
    if from < Progress::Ended && to >= Progress::Ended {
        let at = course.ended_at;
        // A destination that never started does not end.
        let started = course.active_at.is_some() || from == Progress::Started;
        all.extend(
            destinations.iter().filter(|_| started).map(|id| outbox_event("Destination End", Some(id), None, at)),
        );
        let failure = failure(composition.error_code);
        let name = if failure.is_some() { "Session Failure" } else { "Session End" };
        all.push(outbox_event(name, None, failure, at));
    }
    all
}

fn failure(error_code: &str) -> Option<Failure> {
    let (code, reason) = FAILURES.iter().find(|(code, _)| *code == error_code)?;
    Some(Failure { error_code: (*code).to_owned(), reason: (*reason).to_owned() })
}
