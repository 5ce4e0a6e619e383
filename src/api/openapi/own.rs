//! greenroom-specific endpoints in the OpenAPI document.

use super::add_tag;
use serde_json::{Value, json};

/// Tag of the endpoints of participants.
const PARTICIPANTS: &str = "Participants";
/// Tag of the endpoints for operators.
const OPERATION: &str = "Operation";

/// Adds the endpoints to a document.
pub(super) fn describe(document: &mut Value) {
    let text = "Endpoints of participants, who send their token as a bearer token. Offers and answers (WHIP) are not described here.";
    add_tag(document, PARTICIPANTS, text);
    add_tag(document, OPERATION, "Endpoints for operators, signed as the operations of the AWS API.");
    document["paths"]["/_greenroom/media"]["get"] = media();
    document["paths"]["/_greenroom/recordings"]["get"] = recordings();
    document["paths"]["/whip/resource/{connectionId}/layer"]["post"] = layer();
}

fn media() -> Value {
    let nullable = |kind: &str| json!({"type": [kind, "null"]});
    let (text, number, integer, boolean) =
        (json!({"type": "string"}), json!({"type": "number"}), json!({"type": "integer"}), json!({"type": "boolean"}));
    let layer = json!({
        "type": ["object", "null"],
        "properties": {"encodingId": text, "width": nullable("integer"), "height": nullable("integer")},
    });
    let received_layer = json!({
        "type": "object",
        "properties": {
            "encodingId": text, "width": nullable("integer"), "height": nullable("integer"), "live": boolean,
            "bitsPerSecond": integer,
        },
    });
    let track = json!({
        "type": "object",
        "properties": {
            "mediaId": text, "kind": {"type": "string", "enum": ["audio", "video"]}, "codec": nullable("string"),
            "lossRatio": nullable("number"), "jitterSeconds": nullable("number"), "packets": integer, "bytes": integer,
            "packetsLost": integer, "nacks": integer, "keyFrameRequests": integer, "keyFrames": integer,
            "layers": {"type": "array", "items": received_layer}, "packetsRetransmitted": integer, "freezes": integer,
            "freezeSeconds": number, "wantedLayer": layer, "sentLayer": layer,
            "limitation": {"type": "string", "enum": ["none", "preferences", "bandwidth", "key_frame_requests"]},
            "silentSeconds": nullable("number"),
        },
    });
    let connection = json!({
        "type": "object",
        "properties": {
            "sequence": integer, "connectionId": text, "participantId": text, "userId": text,
            "role": {"type": "string", "enum": ["publish", "subscribe"]}, "remoteParticipantId": nullable("string"),
            "connected": boolean, "ageSeconds": number,
            "iceSeconds": nullable("number"), "dtlsSeconds": nullable("number"),
            "candidatePair": {
                "type": ["object", "null"],
                "properties": {"local": text, "remote": text, "protocol": text},
            },
            "roundTripSeconds": nullable("number"), "bitsPerSecond": integer,
            "estimatedBitsPerSecond": nullable("integer"), "tracks": {"type": "array", "items": track},
        },
    });
    let page = json!({
        "type": "object",
        "properties": {
            "node": text, "connections": {"type": "array", "items": connection}, "next": nullable("integer"),
        },
        "required": ["node", "connections", "next"],
    });
    let error = json!({"type": "object", "properties": {"message": text}, "required": ["message"]});
    let parameter = |name: &str, required: bool, schema: Value, description: &str| json!({"name": name, "in": "query", "required": required, "schema": schema, "description": description});
    json!({
        "operationId": "InspectMedia",
        "tags": [OPERATION],
        "summary": "Shows statistics of the media connections of a stage.",
        "parameters": [
            parameter("stageArn", true, text.clone(), "ARN of the stage."),
            parameter("participantId", false, text.clone(), "Only the connections of this participant."),
            parameter("after", false, json!({"type": "integer", "minimum": 0}), "next of the response before."),
            parameter(
                "limit",
                false,
                json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
                "Maximum number of connections.",
            ),
        ],
        "responses": {
            "200": {"description": "Success.", "content": {"application/json": {"schema": page}}},
            "307": {"description": "Another node has the media: sign the request again, for the URL in Location."},
            "default": {
                "description": "An error; its type is in the header x-amzn-errortype.",
                "content": {"application/json": {"schema": error}},
            },
        },
    })
}

fn recordings() -> Value {
    let text = json!({"type": "string"});
    let nullable = |kind: &str| json!({"type": [kind, "null"]});
    let recording = json!({
        "type": "object",
        "properties": {
            "id": text, "participantId": text, "sessionId": text, "bucket": text, "prefix": text, "state": text,
            "createdAt": text, "startedAt": nullable("string"), "endedAt": nullable("string"),
            "durationMs": {"type": "integer"}, "errorCode": nullable("string"), "reason": nullable("string"),
            "playback": {
                "type": ["object", "null"],
                "description": "The multivariant playlist: a path on this server with a secret token in it.",
                "properties": {"path": text, "expiresAt": text},
            },
        },
    });
    let page = json!({
        "type": "object",
        "properties": {"recordings": {"type": "array", "items": recording}, "next": nullable("string")},
        "required": ["recordings", "next"],
    });
    let error = json!({"type": "object", "properties": {"message": text}, "required": ["message"]});
    let parameter = |name: &str, required: bool, schema: Value, description: &str| json!({"name": name, "in": "query", "required": required, "schema": schema, "description": description});
    json!({
        "operationId": "ListRecordings",
        "tags": [OPERATION],
        "summary": "Lists the recordings of a stage, newest first, with URLs to play them.",
        "parameters": [
            parameter("stageArn", true, text.clone(), "ARN of the stage."),
            parameter("state", false, text.clone(), "Only recordings with this state."),
            parameter("after", false, text.clone(), "next of the response before."),
            parameter(
                "limit",
                false,
                json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
                "Maximum number of recordings.",
            ),
        ],
        "responses": {
            "200": {"description": "Success.", "content": {"application/json": {"schema": page}}},
            "default": {
                "description": "An error; its type is in the header x-amzn-errortype.",
                "content": {"application/json": {"schema": error}},
            },
        },
    })
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
