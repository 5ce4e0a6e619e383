//! The OpenAPI document, generated from the table of operations and the shapes of the model.

mod own;

use super::input::TAGS;
use super::operations::{OPERATIONS, Operation};
use crate::model::fault::{FaultKind, RejectionKind};
use crate::model::shape::{Def, Kind, Member};
use axum::http::Method;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The document of the AWS API, as JSON.
pub fn document() -> Value {
    let mut schemas = BTreeMap::new();
    for operation in OPERATIONS {
        collect(&mut schemas, (operation.input)());
        collect(&mut schemas, (operation.output)());
    }
    for name in FaultKind::ALL.map(FaultKind::name).into_iter().chain(RejectionKind::ALL.map(RejectionKind::name)) {
        schemas.insert(name.to_owned(), refusal());
    }
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for operation in OPERATIONS {
        let method = operation.method.as_str().to_ascii_lowercase();
        paths.entry(operation.path).or_default().insert(method, described(operation));
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "greenroom",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The Amazon IVS Real-Time API (2020-07-14) as greenroom serves it. Requests are signed with AWS Signature Version 4 for the service `ivs`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:4600"}],
        "paths": paths,
        "components": {"schemas": schemas},
    });
    own::describe(&mut document);
    document
}

/// Adds a tag to a document.
pub fn add_tag(document: &mut Value, name: &str, description: &str) {
    let tag = json!({"name": name, "description": description});
    match document["tags"].as_array_mut() {
        Some(tags) => tags.push(tag),
        None => document["tags"] = json!([tag]),
    }
}

/// Adds the schemas of a shape and of its members to a document.
pub fn add_schemas(document: &mut Value, def: &'static Def) {
    let mut schemas = BTreeMap::new();
    collect(&mut schemas, def);
    for (name, schema) in schemas {
        document["components"]["schemas"][name] = schema;
    }
}

/// A document as YAML.
pub fn yaml(document: &Value) -> String {
    let mut text = String::from("# Written by `greenroom openapi`; do not edit.\n");
    write(&mut text, document, 0);
    text
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn refusal() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "properties": {"exceptionMessage": text, "message": text},
        "required": ["exceptionMessage", "message"],
    })
}

fn described(operation: &Operation) -> Value {
    let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    let modelled = operation.faults.iter().map(|fault| (fault.status(), fault.name()));
    // Besides the faults of the model, every operation can fail, and a policy can deny it.
    let own = [FaultKind::InternalServer, FaultKind::AccessDenied].map(|fault| (fault.status(), fault.name()));
    let protocol = RejectionKind::ALL.map(|kind| (kind.status(), kind.name()));
    for (status, name) in modelled.chain(own).chain(protocol) {
        let names = by_status.entry(status).or_default();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let content = |schema: Value| json!({"application/json": {"schema": schema}});
    let mut responses = Map::new();
    let output = reference((operation.output)().name);
    responses.insert("200".into(), json!({"description": "Success.", "content": content(output)}));
    for (status, names) in by_status {
        let schemas: Vec<_> = names.iter().map(|name| reference(name)).collect();
        let schema = if schemas.len() == 1 { schemas[0].clone() } else { json!({"anyOf": schemas}) };
        let answer = json!({"description": names.join(", "), "content": content(schema)});
        responses.insert(status.to_string(), answer);
    }
    let mut row = json!({
        "operationId": operation.name,
        "summary": operation.doc,
        "responses": responses,
        "x-aws-faults": operation.faults.iter().map(|fault| fault.name()).collect::<Vec<_>>(),
        "x-aws-readonly": operation.readonly,
    });
    if operation.path == TAGS {
        row["parameters"] = parameters(operation);
    }
    if operation.method == Method::POST {
        row["requestBody"] = json!({"required": true, "content": content(body(operation))});
    }
    row
}

/// The schema of a request body: the input without the members in the path.
fn body(operation: &Operation) -> Value {
    let input = (operation.input)();
    match &input.kind {
        Kind::Structure { members } if operation.path == TAGS => {
            structure(members.iter().filter(|member| member.name != "resourceArn"))
        }
        _ => reference(input.name),
    }
}

fn parameters(operation: &Operation) -> Value {
    let mut list = vec![json!({
        "name": "resourceArn", "in": "path", "required": true, "schema": reference("ResourceArn"),
        "description": "ARN of the resource, URL-encoded.",
    })];
    if operation.method == Method::DELETE {
        list.push(json!({
            "name": "tagKeys", "in": "query", "required": true, "schema": reference("TagKeyList"),
            "style": "form", "explode": true, "description": "A key to remove; repeated for each.",
        }));
    }
    Value::Array(list)
}

/// Adds a shape and the shapes of its members, recursively.
fn collect(schemas: &mut BTreeMap<String, Value>, def: &'static Def) {
    if schemas.contains_key(def.name) {
        return;
    }
    schemas.insert(def.name.to_owned(), schema(def));
    match &def.kind {
        Kind::List { member, .. } => collect(schemas, member()),
        Kind::Map { key, value, .. } => {
            collect(schemas, key());
            collect(schemas, value());
        }
        Kind::Structure { members } => members.iter().for_each(|member| collect(schemas, (member.def)())),
        Kind::Text { .. }
        | Kind::Enum { .. }
        | Kind::Integer { .. }
        | Kind::Float { .. }
        | Kind::Boolean
        | Kind::Timestamp => {}
    }
}

/// Output members that are `""` for "none", although their shapes do not allow it.
const EMPTY_ALLOWED: [(&str, &str); 6] = [
    ("Participant", "sourceSessionId"),
    ("Participant", "sourceStageArn"),
    ("ParticipantSummary", "sourceSessionId"),
    ("ParticipantSummary", "sourceStageArn"),
    ("Stage", "activeSessionId"),
    ("StageSummary", "activeSessionId"),
];

/// Allows the empty string for these members of a structure.
fn allow_empty(structure: &str, schema: &mut Value) {
    for (_, member) in EMPTY_ALLOWED.iter().filter(|(of, _)| *of == structure) {
        let property = &mut schema["properties"][*member];
        let shape = json!({"$ref": property["$ref"]});
        *property = json!({
            "anyOf": [shape, {"type": "string", "maxLength": 0}],
            "description": property["description"],
        });
    }
}

fn schema(def: &Def) -> Value {
    let mut schema = match &def.kind {
        Kind::Text { min, max, pattern } => {
            let pattern = pattern.map(|pattern| format!("^(?:{pattern})$"));
            json!({"type": "string", "minLength": min, "maxLength": max, "pattern": pattern})
        }
        Kind::Enum { values } => json!({"type": "string", "enum": values}),
        Kind::Integer { min, max } => json!({"type": "integer", "format": "int32", "minimum": min, "maximum": max}),
        Kind::Float { min, max } => json!({"type": "number", "minimum": min, "maximum": max}),
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Timestamp => json!({"type": "string", "format": "date-time"}),
        Kind::List { min, max, member } => {
            json!({"type": "array", "items": reference(member().name), "minItems": min, "maxItems": max})
        }
        Kind::Map { min, max, key, value } => json!({
            "type": "object",
            "propertyNames": reference(key().name),
            "additionalProperties": reference(value().name),
            "minProperties": min,
            "maxProperties": max,
        }),
        Kind::Structure { members } => structure(members.iter()),
    };
    allow_empty(def.name, &mut schema);
    if let Value::Object(object) = &mut schema {
        object.retain(|_, value| !value.is_null());
        if !def.doc.is_empty() {
            object.insert("description".into(), def.doc.into());
        }
        if def.sensitive {
            object.insert("x-sensitive".into(), true.into());
        }
    }
    schema
}

fn structure<'a>(members: impl Iterator<Item = &'a Member>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for member in members {
        let mut property = reference((member.def)().name);
        if !member.doc.is_empty() {
            property["description"] = member.doc.into();
        }
        properties.insert(member.name.clone(), property);
        if member.required {
            required.push(member.name.clone());
        }
    }
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

/// Writes a value as YAML: nested blocks, with every string in JSON's double quotes, which YAML reads the same way.
fn write(text: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || "-_/$".contains(c));
                let plain = plain && key.starts_with(|c: char| c.is_ascii_alphabetic() || "$/".contains(c));
                let key = if plain { key.clone() } else { Value::from(key.as_str()).to_string() };
                let _ = write!(text, "{indent}{key}:");
                nested(text, value, depth);
            }
        }
        Value::Array(items) => {
            for item in items {
                let _ = write!(text, "{indent}-");
                nested(text, item, depth);
            }
        }
        scalar => {
            let _ = writeln!(text, "{indent}{scalar}");
        }
    }
}

fn nested(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(object) if object.is_empty() => text.push_str(" {}\n"),
        Value::Array(items) if items.is_empty() => text.push_str(" []\n"),
        Value::Object(_) | Value::Array(_) => {
            text.push('\n');
            write(text, value, depth + 1);
        }
        scalar => {
            let _ = writeln!(text, " {scalar}");
        }
    }
}
