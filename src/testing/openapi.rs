//! The description of the test API in the OpenAPI document.

use super::seed::{SeedPolicy, SeedRequest, SeedTime};
use super::{Endpoint, ROOT, endpoints};
use crate::api::openapi::{add_schemas, add_tag};
use crate::model::shape::Shape;
use serde_json::{Map, Value, json};

/// The tag of the endpoints.
const TAG: &str = "Test API";

/// Adds the endpoints to an OpenAPI document, under a tag of their own.
pub fn describe(document: &mut Value) {
    let text = "Control of a server for tests, served with `--test-api` only. With `--test-api=on`, requests are not signed; with \
                `--test-api=public` they are signed as those of the AWS API. A request applies to one account and region, or to all with \
                `all=true`.";
    add_tag(document, TAG, text);
    add_schemas(document, SeedRequest::def());
    let schemas = &mut document["components"]["schemas"];
    let description = SeedTime::def().doc;
    schemas["SeedTime"] = json!({
        "oneOf": [{"type": "number", "minimum": 0}, {"type": "string", "format": "date-time"}],
        "description": description,
    });
    schemas["SeedPolicy"] = json!({"type": "object", "description": SeedPolicy::def().doc});
    for endpoint in endpoints() {
        let method = endpoint.method.as_str().to_ascii_lowercase();
        let path = &mut document["paths"][format!("{ROOT}{}", endpoint.path)];
        if path.is_null() {
            *path = Value::Object(Map::new());
        }
        path[method] = described(endpoint);
    }
}

/// The content of a body. The member `x-content-types` of a schema names other content types than JSON.
fn content(mut schema: Value) -> Value {
    let types = schema.as_object_mut().and_then(|schema| schema.remove("x-content-types"));
    let types: Vec<String> = types.and_then(|types| serde_json::from_value(types).ok()).unwrap_or_default();
    let types = if types.is_empty() { vec!["application/json".to_owned()] } else { types };
    types.into_iter().map(|name| (name, json!({"schema": schema}))).collect::<Map<_, _>>().into()
}

fn described(endpoint: &Endpoint) -> Value {
    let parameter = |name: &str, place: &str, description: &str| json!({"name": name, "in": place, "required": place == "path", "description": description, "schema": {"type": "string"}});
    let names = endpoint.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<_> = names.map(|name| parameter(name, "path", "")).collect();
    let selection = [
        ("account", "Account that the request applies to (default: that of the signature, or --account)."),
        ("region", "Region that the request applies to (default: that of the signature, or --region)."),
        ("all", "true: the request applies to all accounts and regions."),
    ];
    parameters.extend(endpoint.query.iter().chain(&selection).map(|(name, text)| parameter(name, "query", text)));
    let error = json!({"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]});
    let mut operation = json!({
        "operationId": endpoint.name,
        "tags": [TAG],
        "summary": endpoint.summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "Success.", "content": content((endpoint.response)())},
            "default": {"description": "An error; its type is in the header x-amzn-errortype.", "content": content(error)},
        },
    });
    if let Some(request) = endpoint.request {
        operation["requestBody"] = json!({"required": false, "content": content(request())});
    }
    operation
}
