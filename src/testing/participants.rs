//! `/participants`: participants without media, which act by request. They are recorded as real ones are.

mod actions;
mod body;
mod errors;
mod groups;
mod index;
mod maintenance;
mod stage;
mod view;

use actions::verify;
pub use actions::{Change, Join, join};
pub use groups::{join_group, leave_all};
pub use index::{Participant, Simulated};
pub use maintenance::{end_old_streams, maintain, next_stream_end, reconcile};
pub use stage::{StageId, find_or_create_stage, find_stage};

use super::call::Call;
use super::endpoint::{Answer, Endpoint};
use crate::api::JsonReply;
use crate::model::fault::Fault;
use axum::http::Method;
use body::{CreateBody, ExchangeBody, FailBody, JoinToken, MuteBody, RemoteBody};
use serde_json::{Value, json};
use stage::{require_selected, require_stage};

pub const ENDPOINTS: &[Endpoint] = &[
    post(
        "/participants",
        "TestCreateParticipant",
        "Lets a simulated participant join a stage.",
        Some(body::create_schema),
        |call| Box::pin(create(call)),
    ),
    Endpoint {
        method: Method::GET,
        path: "/participants",
        name: "TestListParticipants",
        summary: "Lists the simulated participants.",
        query: &[("stage", "ARN or name of a stage whose participants are listed.")],
        request: None,
        response: body::list_schema,
        handler: |call| Box::pin(list(call)),
    },
    Endpoint {
        method: Method::GET,
        path: "/participants/{id}",
        name: "TestGetParticipant",
        summary: "Shows a simulated participant.",
        query: &[],
        request: None,
        response: body::participant_schema,
        handler: |call| Box::pin(show(call)),
    },
    post("/participants/{id}/publish", "TestPublish", "Starts to publish, without media.", None, |call| {
        Box::pin(plain(call, Change::Publish))
    }),
    post("/participants/{id}/unpublish", "TestUnpublish", "Stops publishing.", None, |call| {
        Box::pin(plain(call, Change::Unpublish))
    }),
    post(
        "/participants/{id}/subscribe",
        "TestSubscribe",
        "Subscribes to a publisher.",
        Some(body::remote_schema),
        |call| Box::pin(parsed(call, |RemoteBody { participant_id }| Ok(Change::Subscribe(participant_id)))),
    ),
    post(
        "/participants/{id}/unsubscribe",
        "TestUnsubscribe",
        "Ends a subscription.",
        Some(body::remote_schema),
        |call| Box::pin(parsed(call, |RemoteBody { participant_id }| Ok(Change::Unsubscribe(participant_id)))),
    ),
    post("/participants/{id}/mute", "TestMute", "Mutes audio or video.", Some(body::mute_schema), |call| {
        Box::pin(parsed(call, |body: MuteBody| body.kinds().map(Change::Mute)))
    }),
    post("/participants/{id}/unmute", "TestUnmute", "Unmutes audio or video.", Some(body::mute_schema), |call| {
        Box::pin(parsed(call, |body: MuteBody| body.kinds().map(Change::Unmute)))
    }),
    post(
        "/participants/{id}/fail",
        "TestFail",
        "Fails with an error code of the AWS model.",
        Some(body::fail_schema),
        |call| Box::pin(parsed(call, FailBody::change)),
    ),
    post("/participants/{id}/reconnect", "TestReconnect", "Loses its connections, and joins again.", None, |call| {
        Box::pin(plain(call, Change::Reconnect))
    }),
    post(
        "/participants/{id}/exchange",
        "TestExchangeToken",
        "Exchanges the token.",
        Some(body::exchange_schema),
        |call| Box::pin(parsed(call, ExchangeBody::change)),
    ),
    post("/participants/{id}/leave", "TestLeave", "Leaves the stage.", None, |call| {
        Box::pin(plain(call, Change::Leave))
    }),
];

/// An endpoint of an action, which responds with the participant.
const fn post(
    path: &'static str,
    name: &'static str,
    summary: &'static str,
    request: Option<fn() -> Value>,
    handler: fn(Call) -> Answer,
) -> Endpoint {
    let response = body::participant_schema;
    Endpoint { method: Method::POST, path, name, summary, query: &[], request, response, handler }
}

async fn create(call: Call) -> Result<JsonReply, Fault> {
    let body: CreateBody = call.json()?;
    let (publishes, remotes) = (body.publish.unwrap_or(false), body.subscribe.clone().unwrap_or_default());
    let how = how_to_join(&call, body).await?;
    let state = call.state.clone();
    let joined = {
        let state = state.clone();
        async move {
            let participant = join(&state, how).await?;
            let acted = async {
                if publishes {
                    participant.change(&state, Change::Publish).await?;
                }
                for remote in remotes {
                    participant.change(&state, Change::Subscribe(remote)).await?;
                }
                Ok(())
            };
            match acted.await {
                Ok(()) => Ok(participant),
                Err(fault) => {
                    // The caller does not learn the participant's id.
                    leave_all(&state, std::slice::from_ref(&participant)).await?;
                    Err(fault)
                }
            }
        }
    };
    let participant = state.to_the_end(joined).await?;
    Ok(JsonReply::Json(participant.json()))
}

/// The stage and the token that a request names. A token alone names its stage.
async fn how_to_join(call: &Call, body: CreateBody) -> Result<Join, Fault> {
    let (state, selection) = (&call.state, &call.selection);
    let named = match &body.stage {
        Some(stage) => Some(find_stage(state, selection, "stage", stage).await?),
        None => None,
    };
    match (body.token()?, named) {
        (JoinToken::New(claims), Some(stage)) => Ok(Join::New(stage, claims)),
        (JoinToken::New(_), None) => Err(Fault::validation("stage: is required without a token")),
        (JoinToken::Given(text), named) => {
            let token = verify(state, &text).await?;
            match named {
                None => require_selected(selection, &token)?,
                Some(named) => require_stage(&named, &token)?,
            }
            Ok(Join::Token(text, token))
        }
    }
}

async fn list(call: Call) -> Result<JsonReply, Fault> {
    let mut all = call.state.participants.of(&call.selection);
    if let Some(stage) = call.query("stage") {
        let stage = find_stage(&call.state, &call.selection, "stage", stage).await?;
        all.retain(|participant| participant.is_of(&stage));
    }
    let shown = view::list(&call.state, &all).await?;
    Ok(JsonReply::Json(json!({"participants": shown})))
}

async fn show(call: Call) -> Result<JsonReply, Fault> {
    let participant = call.state.participants.get(&call.selection, call.parameter(0))?;
    participant.refresh(&call.state.app).await?;
    Ok(JsonReply::Json(participant.json()))
}

/// Parses the body, and lets a participant act.
async fn parsed<B: serde::de::DeserializeOwned>(
    call: Call,
    change: impl FnOnce(B) -> Result<Change, Fault>,
) -> Result<JsonReply, Fault> {
    let change = change(call.json()?)?;
    act(call, change).await
}

/// Lets a participant act, by a request without a body.
async fn plain(call: Call, change: Change) -> Result<JsonReply, Fault> {
    call.no_body()?;
    act(call, change).await
}

/// Lets a participant act.
async fn act(call: Call, change: Change) -> Result<JsonReply, Fault> {
    let state = call.state.clone();
    let participant = state.participants.get(&call.selection, call.parameter(0))?;
    let acted = {
        let (state, participant) = (state.clone(), participant.clone());
        async move { participant.change(&state, change).await }
    };
    state.to_the_end(acted).await?;
    Ok(JsonReply::Json(participant.json()))
}
