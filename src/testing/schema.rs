//! JSON Schemas of bodies, for the OpenAPI document.

use serde_json::{Value, json};

/// An object with these properties, of which some are required.
pub fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// A text.
pub fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

/// A point in time.
pub fn time(description: &str) -> Value {
    json!({"type": "string", "format": "date-time", "description": description})
}

/// `true` or `false`.
pub fn boolean(description: &str) -> Value {
    json!({"type": "boolean", "description": description})
}

/// A list.
pub fn list(items: &Value, description: &str) -> Value {
    json!({"type": "array", "items": items, "description": description})
}
