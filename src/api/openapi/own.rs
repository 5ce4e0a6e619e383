//! greenroom-specific endpoints in the OpenAPI document.

use super::add_tag;
use serde_json::{Value, json};

/// Tag of the endpoints of participants.
const PARTICIPANTS: &str = "Participants";

/// Adds the endpoints to a document.
pub(super) fn describe(document: &mut Value) {
    let text = "Endpoints of participants, who send their token as a bearer token. Offers and answers (WHIP) are not described here.";
    add_tag(document, PARTICIPANTS, text);
    document["paths"]["/whip/resource/{connectionId}/layer"]["post"] = layer();
}

fn layer() -> Value {
    let choice = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "mediaId": {"type": ["string", "null"], "description": "a=mid of the media section; without it, all sections."},
            "maxHeight": {
                "type": ["integer", "null"], "minimum": 1, "maximum": u32::MAX,
                "description": "Maximum shorter side of the picture, in pixels. If no layer is so small, the lowest is sent.",
            },
            "paused": {"type": ["boolean", "null"], "description": "Whether nothing is sent; default false."},
        },
    });
    let refusal = json!({
        "type": "object",
        "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
        "required": ["code", "message"],
    });
    json!({
        "operationId": "ChooseLayer",
        "tags": [PARTICIPANTS],
        "summary": "Sets what a subscription is sent: the layer extension of WHEP.",
        "parameters": [
            {
                "name": "connectionId", "in": "path", "required": true, "schema": {"type": "string"},
                "description": "Id of the connection. The Link of the response to the offer has the whole URL.",
            },
            {
                "name": "Authorization", "in": "header", "required": true, "schema": {"type": "string"},
                "description": "Bearer and a token of the participant that opened the connection.",
            },
        ],
        "requestBody": {"required": true, "content": {"application/json": {"schema": choice}}},
        "responses": {
            "200": {"description": "Success."},
            "307": {"description": "Another node has the connection: repeat the request at Location."},
            "default": {"description": "A refusal.", "content": {"application/json": {"schema": refusal}}},
        },
    })
}
