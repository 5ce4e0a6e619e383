//! Many participants at once: as a load of the record.

use super::errors::fault;
use super::index::Participant;
use super::maintenance;
use super::stage::StageId;
use crate::app::admission::{self, Purpose};
use crate::app::{OperationContext, connections, tokens};
use crate::domain::admission::{SignalingErrorCode, VerifiedToken};
use crate::model::fault::Fault;
use crate::model::token::ParticipantTokenConfiguration;
use crate::testing::TestState;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use std::collections::HashSet;
use std::sync::Arc;

/// Participants that join or leave in one transaction.
const BATCH: usize = 100;
/// Tokens that are verified concurrently.
const CONCURRENCY: usize = 16;

/// Lets new participants join a stage. Their tokens are not kept.
pub async fn join_group(
    state: &TestState,
    stage: &StageId,
    configurations: Vec<ParticipantTokenConfiguration>,
) -> Result<Vec<Arc<Participant>>, Fault> {
    state.participants.reserve(configurations.len())?;
    let mut joined = Vec::with_capacity(configurations.len());
    for batch in configurations.chunks(BATCH) {
        match join_batch(state, stage, batch.to_vec()).await {
            Ok(more) => joined.extend(more),
            Err(fault) => {
                // The caller does not learn which participants have joined.
                leave_all(state, &joined).await?;
                return Err(fault);
            }
        }
    }
    Ok(joined)
}

async fn join_batch(
    state: &TestState,
    stage: &StageId,
    configurations: Vec<ParticipantTokenConfiguration>,
) -> Result<Vec<Arc<Participant>>, Fault> {
    let (app, StageId { scope, id }) = (&state.app, stage);
    let ctx = OperationContext::new(app.clone(), scope.clone());
    let created = tokens::create_all(&ctx, id, configurations).await?;
    let verified = stream::iter(created).map(|created| async move {
        let text = created.token.map(|token| token.0).unwrap_or_default();
        let token = admission::admit(app, &text, Purpose::Join).await.map_err(|error| fault(&error))?;
        Ok::<_, Fault>((token, connections::simulated_id(app)))
    });
    let all: Vec<_> = verified.buffered(CONCURRENCY).try_collect().await?;
    match connections::join_all(app, scope, id, &all).await {
        Ok(session) => insert(state, stage, all, &session),
        Err(error) => {
            if error.code == SignalingErrorCode::Internal {
                // Whether the rows exist is unknown.
                let ids: Vec<_> = all.into_iter().map(|(_, id)| id).collect();
                connections::ended_all(app, scope, id, &ids).await?;
            }
            Err(fault(&error))
        }
    }
}

fn insert(
    state: &TestState,
    stage: &StageId,
    joined: Vec<(VerifiedToken, String)>,
    session: &str,
) -> Result<Vec<Arc<Participant>>, Fault> {
    let participants = joined.into_iter().map(|(token, events)| {
        let participant = Participant::new(stage.clone(), Arc::new(token), None, session.to_owned(), events);
        let participant = Arc::new(participant);
        state.participants.insert(participant.clone())?;
        Ok(participant)
    });
    participants.collect()
}

/// Lets participants of one stage leave; those that are not connected are skipped.
pub async fn leave_all(state: &TestState, participants: &[Arc<Participant>]) -> Result<(), Fault> {
    let Some(stage) = participants.first().map(|participant| participant.stage.clone()) else { return Ok(()) };
    for batch in participants.chunks(BATCH) {
        let mut acting = Vec::with_capacity(batch.len());
        for participant in batch {
            acting.push(participant.acting.lock().await);
        }
        let ids: Vec<_> = batch.iter().flat_map(|participant| participant.data().connections()).collect();
        connections::ended_all(&state.app, &stage.scope, &stage.id, &ids).await?;
        for participant in batch {
            let publication = participant.data().publication.clone();
            let held = participant.data().connections();
            participant.forget_gone(&state.app, &held, &HashSet::new());
            state.participants.changed(participant);
            if let Some(stream) = publication {
                maintenance::end_subscriptions(state, &stream.id).await?;
            }
        }
        drop(acting);
    }
    Ok(())
}
