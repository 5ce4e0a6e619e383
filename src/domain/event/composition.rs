//! Events of compositions.

use super::{Detail, Failure, OutboxEvent};
use crate::clock::Timestamp;
use crate::domain::composition::{Course, Progress};
use crate::model::arn::{ResourceKind, Scope};
use serde::Serialize;

const DETAIL_TYPE: &str = "IVS Composition State Change";

/// Why a composition failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompositionError {
    /// Its stage was deleted.
    StageDeleted,
    DestinationFailure,
    InternalServerException,
}

impl CompositionError {
    /// Its error code.
    pub const fn as_str(self) -> &'static str {
        match self {
            CompositionError::StageDeleted => "StageDeleted",
            CompositionError::DestinationFailure => "DestinationFailure",
            CompositionError::InternalServerException => "InternalServerException",
        }
    }

    /// The value of an error code.
    pub fn parse(code: &str) -> Option<Self> {
        use CompositionError::{DestinationFailure, InternalServerException, StageDeleted};
        [StageDeleted, DestinationFailure, InternalServerException].into_iter().find(|error| error.as_str() == code)
    }

    const fn reason(self) -> &'static str {
        match self {
            CompositionError::StageDeleted => "Stage has been deleted",
            CompositionError::DestinationFailure => "One or more outputs failed",
            CompositionError::InternalServerException => "Service internal error",
        }
    }
}

impl From<CompositionError> for Failure {
    fn from(error: CompositionError) -> Self {
        Failure { error_code: error.as_str().to_owned(), reason: error.reason().to_owned() }
    }
}

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
    /// Why it failed.
    pub error: Option<CompositionError>,
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
        let failure = composition.error.map(Failure::from);
        let name = if failure.is_some() { "Session Failure" } else { "Session End" };
        all.push(outbox_event(name, None, failure, at));
    }
    all
}
