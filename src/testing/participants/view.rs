//! Simulated participants as they are shown.

use super::index::Participant;
use super::stage::StageId;
use crate::app::{App, connections, views};
use crate::model::fault::Fault;
use crate::testing::TestState;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

impl Participant {
    /// Forgets the connections that are not in the store any more: others have ended them.
    pub async fn refresh(&self, app: &Arc<App>) -> Result<(), Fault> {
        let StageId { scope, id } = &self.stage;
        let held = self.data().connections();
        let rows = connections::of_participant(app, scope, id, &self.id).await?;
        let ids: HashSet<_> = rows.into_iter().map(|row| row.id).collect();
        self.forget_gone(app, &held, &ids);
        Ok(())
    }

    /// Forgets those of the connections `held` that are not among `ids`.
    pub(super) fn forget_gone(&self, app: &App, held: &[String], ids: &HashSet<String>) {
        let mut data = self.data();
        // Those that were opened meanwhile may be missing in what was read.
        let opened = data.connections().into_iter().filter(|id| !held.contains(id));
        let kept = opened.chain(held.iter().filter(|id| ids.contains(*id)).cloned()).collect();
        data.keep(&kept);
        if !data.is_connected() && !data.muted.is_empty() {
            data.muted.clear();
            app.muted().set(&self.stage.scope, &self.stage.id, &self.id, data.muted.clone());
        }
    }

    pub fn json(&self) -> Value {
        let data = self.data();
        let mut shown = json!({
            "participantId": self.id,
            "stageArn": self.stage.arn(),
            "sessionId": data.session,
            "userId": data.token.user_id,
            "attributes": data.token.attributes,
            "state": if data.is_connected() { "CONNECTED" } else { "DISCONNECTED" },
            "publishing": data.publication.is_some(),
            "muted": data.muted,
            "subscriptions": data.subscriptions.keys().collect::<Vec<_>>(),
        });
        if let Some(token) = &data.text {
            shown["token"] = token.as_str().into();
        }
        shown
    }
}

/// Participants as the store has them.
pub async fn list(state: &TestState, participants: &[Arc<Participant>]) -> Result<Vec<Value>, Fault> {
    let mut stages: HashMap<&StageId, Vec<&Arc<Participant>>> = HashMap::new();
    for participant in participants {
        stages.entry(&participant.stage).or_default().push(participant);
    }
    for (stage, participants) in stages {
        let held: Vec<_> = participants.iter().map(|participant| participant.data().connections()).collect();
        let view = views::view(&state.app, &stage.scope, &stage.id).await?;
        for (participant, held) in participants.iter().zip(held) {
            participant.forget_gone(&state.app, &held, &view.connections);
        }
    }
    Ok(participants.iter().map(|participant| participant.json()).collect())
}
