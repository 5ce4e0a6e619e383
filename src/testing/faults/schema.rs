//! JSON Schemas of the rules.

use serde_json::{Value, json};

fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// A new rule.
pub fn request() -> Value {
    object(members(), &["effect"])
}

/// A rule. What was given with it is described in the request.
pub fn rule() -> Value {
    let mut properties = json!({"match": {"type": "object"}, "effect": {"type": "object"}});
    for name in ["count", "skip", "durationSeconds", "seed"] {
        properties[name] = json!({"type": "number"});
    }
    for (name, schema) in [
        ("id", json!({"type": "string"})),
        ("account", json!({"type": ["string", "null"], "description": "null: all accounts"})),
        ("region", json!({"type": ["string", "null"]})),
        ("matched", json!({"type": "integer", "description": "Number of matches, skipped ones included"})),
        ("applied", json!({"type": "integer", "description": "Number of matches that had the effect"})),
        ("expiresAt", json!({"type": "string", "format": "date-time"})),
    ] {
        properties[name] = schema;
    }
    object(properties, &["id", "effect", "matched", "applied", "expiresAt"])
}

pub fn list() -> Value {
    object(json!({"faults": {"type": "array", "items": rule()}}), &["faults"])
}

pub fn empty() -> Value {
    json!({"type": "object"})
}

fn members() -> Value {
    json!({
        "match": criteria(),
        "effect": effect(),
        "count": {"type": "integer", "minimum": 1, "description": "Maximum number of matches with the effect (default: unlimited)"},
        "skip": {"type": "integer", "minimum": 0, "description": "Number of matches without the effect before"},
        "durationSeconds": {"type": "number", "minimum": 1, "maximum": 86400, "default": 3600},
        "seed": {"type": "integer", "minimum": 0, "description": "Seed of share, latency and loss (default: random)"},
    })
}

fn criteria() -> Value {
    let text = json!({"type": "string"});
    object(
        json!({
            "operation": {"anyOf": [text, {"type": "array", "items": text, "minItems": 1}]},
            "resource": {"type": "string", "description": "ARN, or the beginning of one followed by an asterisk"},
            "accessKeyId": text,
            "participantId": text,
            "target": {"type": "string", "description": "Name of an event target"},
            "bucket": {"type": "string", "description": "Name of a bucket"},
            "share": {"type": "number", "minimum": 0, "maximum": 1},
        }),
        &[],
    )
}

fn effect() -> Value {
    let (text, integer) = (json!({"type": "string"}), json!({"type": "integer", "minimum": 0}));
    let one = |name: &str, schema: Value| object(json!({name: schema}), &[name]);
    let latency = json!({"anyOf": [
        object(json!({"milliseconds": integer}), &["milliseconds"]),
        object(json!({"minMilliseconds": integer, "maxMilliseconds": integer}), &["minMilliseconds", "maxMilliseconds"]),
        object(
            json!({"meanMilliseconds": integer, "deviationMilliseconds": integer}),
            &["meanMilliseconds", "deviationMilliseconds"],
        ),
    ]});
    let media = object(
        json!({
            "freeze": {"type": "boolean"},
            "loss": {"type": "number", "minimum": 0, "maximum": 1},
            "delayMilliseconds": {"type": "integer", "minimum": 0, "maximum": 5000},
        }),
        &[],
    );
    let headers = json!({"type": "object", "additionalProperties": text});
    json!({"oneOf": [
        object(json!({"exception": text, "message": text}), &["exception"]),
        object(json!({"status": {"type": "integer", "minimum": 200, "maximum": 599}, "body": text, "headers": headers}), &["status"]),
        one("throttle", object(json!({"retryAfterSeconds": integer}), &["retryAfterSeconds"])),
        one("latency", latency),
        one("disconnect", json!({"enum": ["beforeRequest", "afterRequest"]})),
        one("truncate", object(json!({"bytes": {"type": "integer", "minimum": 1}}), &["bytes"])),
        one("refuseToken", object(json!({"code": text}), &[])),
        one("closeWebSocket", object(json!({"code": integer}), &[])),
        one("media", media),
        one("closeConnection", object(json!({}), &[])),
        one("target", json!({"enum": ["refuse", "hang"]})),
        one("storage", json!({"enum": ["refuse", "hang"]})),
    ]})
}
