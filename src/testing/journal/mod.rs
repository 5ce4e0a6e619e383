//! `/journal`, `/events` and `/wait`: what was called, what happened, and waiting for either.

mod calls;
mod events;
mod search;
mod wait;

use super::endpoint::Endpoint;
use axum::http::Method;
use serde_json::{Value, json};

pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: Method::GET,
        path: "/journal",
        name: "TestGetJournal",
        summary: "Lists the recorded API calls, oldest first.",
        query: &[
            ("operation", "Name of an operation."),
            ("after", "Sequence of the entry after which to begin."),
            ("since", "Time of the first entry, ISO 8601."),
            ("until", "Time before which the last entry is, ISO 8601."),
            ("outcome", "success, error, or the code of an error."),
            ("accessKeyId", "ID of the access key."),
            ("limit", "Maximum number of entries, 1 to 1000 (default: 100)."),
        ],
        request: None,
        response: || page(call_schema(), json!({"dropped": {"type": "integer"}})),
        handler: |call| Box::pin(async move { calls::list(&call) }),
    },
    Endpoint {
        method: Method::DELETE,
        path: "/journal",
        name: "TestDeleteJournal",
        summary: "Deletes the recorded API calls of the selection.",
        query: &[],
        request: None,
        response: || json!({"type": "object"}),
        handler: |call| Box::pin(async move { calls::delete(&call) }),
    },
    Endpoint {
        method: Method::GET,
        path: "/events",
        name: "TestGetEvents",
        summary: "Lists events from the event log, oldest first.",
        query: &[
            ("after", "Position of the event after which to begin."),
            ("since", "Time of the first event, ISO 8601."),
            ("kind", "event, audit or all (default: event)."),
            ("limit", "Maximum number of events, 1 to 1000 (default: 100)."),
        ],
        request: None,
        response: || page(event_schema(), json!({})),
        handler: |call| Box::pin(async move { events::list(&call).await }),
    },
    Endpoint {
        method: Method::POST,
        path: "/wait",
        name: "TestWait",
        summary: "Waits for API calls or events that match a pattern of EventBridge.",
        query: &[],
        request: Some(wait_schema),
        response: waited_schema,
        handler: |call| Box::pin(async move { wait::wait(&call).await }),
    },
];

/// Maximum and default of `limit`.
const MAX_LIMIT: usize = 1000;
const DEFAULT_LIMIT: usize = 100;

fn page(entry: Value, more: Value) -> Value {
    let mut properties = more;
    properties["entries"] = json!({"type": "array", "items": entry});
    properties["next"] = json!({"type": ["integer", "null"], "description": "after of the next page, if there is one"});
    json!({"type": "object", "properties": properties, "required": ["entries", "next"]})
}

fn call_schema() -> Value {
    let text = json!({"type": ["string", "null"]});
    json!({
        "type": "object",
        "properties": {
            "sequence": {"type": "integer"},
            "time": {"type": "string", "format": "date-time"},
            "requestId": text,
            "account": text,
            "region": text,
            "operation": text,
            "input": {"type": ["object", "null"], "description": "Decoded input, redacted; null if it is invalid"},
            "output": {"type": "object", "description": "Output, redacted"},
            "error": {"type": "object", "properties": {"code": {"type": "string"}, "message": {"type": "string"}}},
            "status": {"type": ["integer", "null"], "description": "null: the connection was closed without a response"},
            "durationMilliseconds": {"type": "number"},
            "caller": {"type": "object", "properties": {"accessKeyId": text, "arn": text, "sourceIp": text, "userAgent": text}},
            "fault": {"type": "string", "description": "ID of the fault that was injected"},
        },
        "required": ["sequence", "time", "account", "region", "operation", "input", "status", "durationMilliseconds", "caller"],
    })
}

fn event_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "position": {"type": "integer"},
            "time": {"type": "string", "format": "date-time"},
            "event": {"type": "object", "description": "Envelope of EventBridge"},
        },
        "required": ["position", "time", "event"],
    })
}

fn wait_schema() -> Value {
    let pattern = json!({"type": "object", "description": "Pattern of EventBridge"});
    json!({
        "type": "object",
        "properties": {
            "call": pattern,
            "event": pattern,
            "after": {"type": "integer", "minimum": 0, "description": "Sequence or position after which to begin (default: 0)"},
            "count": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 1},
            "timeoutSeconds": {"type": "number", "minimum": 0, "maximum": wait::MAX_TIMEOUT, "default": wait::DEFAULT_TIMEOUT},
        },
        "additionalProperties": false,
    })
}

fn waited_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "matched": {"type": "boolean"},
            "entries": {"type": "array", "items": {"type": "object", "description": "As in TestGetJournal or TestGetEvents"}},
            "seen": {"type": "integer", "description": "Number of entries that were compared"},
            "closest": {"type": "string", "description": "The entry that differs least from the pattern, and how"},
        },
        "required": ["matched", "entries"],
    })
}
