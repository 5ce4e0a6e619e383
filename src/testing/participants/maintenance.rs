//! What happens to simulated participants without a request: subscriptions end with their publishers, and streams that have
//! their maximum duration.

use super::index::{Participant, Stream};
use super::stage::StageId;
use crate::app::connections::{self, Placement};
use crate::app::views;
use crate::clock::Timestamp;
use crate::domain::admission::{Intent, SignalingErrorCode, VerifiedToken};
use crate::model::fault::Fault;
use crate::model::participant::EventErrorCode;
use crate::testing::TestState;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Interval of maintenance without a known change.
const INTERVAL: Duration = Duration::from_secs(1);
/// Minimum interval of maintenance.
const MIN_INTERVAL: Duration = Duration::from_millis(200);

/// Runs until the server stops.
pub async fn maintain(state: Arc<TestState>) {
    let stopping = state.stopping().clone();
    let work = async {
        let mut changes = state.app.notifier().subscribe();
        loop {
            let _ = tokio::time::timeout(INTERVAL, changes.changed()).await;
            let ended = Box::pin(end_old_streams(&state)).await;
            if let Err(fault) = ended.and(Box::pin(reconcile(&state)).await) {
                let error = &fault as &dyn std::error::Error;
                tracing::warn!(error, "maintenance of simulated participants failed; it is repeated");
            }
            tokio::time::sleep(MIN_INTERVAL).await;
        }
    };
    stopping.run_until_cancelled(work).await;
}

/// A stream of a participant.
struct Open {
    participant: Arc<Participant>,
    token: Arc<VerifiedToken>,
    intent: Intent,
    stream: Stream,
}

impl Open {
    async fn end(&self, state: &TestState, code: Option<EventErrorCode>) -> Result<(), Fault> {
        connections::ended(&state.app, &self.token, &self.stream.id, code).await?;
        {
            let mut data = self.participant.data();
            match &self.intent {
                Intent::Events => {}
                Intent::Publish => drop(data.publication.take_if(|stream| *stream == self.stream)),
                Intent::Subscribe(remote) => {
                    if data.subscriptions.get(remote) == Some(&self.stream) {
                        data.subscriptions.remove(remote);
                    }
                }
            }
        }
        state.participants.changed(&self.participant);
        Ok(())
    }
}

/// The streams of all participants.
fn streams(state: &TestState) -> Vec<Open> {
    let mut open = Vec::new();
    for participant in state.participants.streaming() {
        let data = participant.data();
        let publication = data.publication.iter().map(|stream| (Intent::Publish, stream));
        let subscriptions =
            data.subscriptions.iter().map(|(remote, stream)| (Intent::Subscribe(remote.clone()), stream));
        for (intent, stream) in publication.chain(subscriptions) {
            let (participant, token) = (participant.clone(), data.token.clone());
            open.push(Open { participant, token, intent, stream: stream.clone() });
        }
    }
    open
}

/// Ends the streams that have their maximum duration. Returns whether there was one.
pub async fn end_old_streams(state: &TestState) -> Result<bool, Fault> {
    let now = state.app.clock().virtual_monotonic();
    let mut old = streams(state);
    old.retain(|open| open.stream.opened_at.plus(state.hooks.max_stream_duration) <= now);
    for open in &old {
        open.end(state, Some(EventErrorCode::StreamDurationExceeded)).await?;
    }
    Ok(!old.is_empty())
}

/// When the next stream has its maximum duration, by the service's clock.
pub fn next_stream_end(state: &TestState) -> Option<Timestamp> {
    let oldest =
        state.participants.streaming().iter().filter_map(|participant| participant.data().oldest_stream()).min()?;
    let clock = state.app.clock();
    let left = oldest.plus(state.hooks.max_stream_duration).0.saturating_sub(clock.virtual_monotonic().0);
    Some(Timestamp(clock.now().0.saturating_add(left)))
}

/// Ends the subscriptions to a publication that has ended.
pub async fn end_subscriptions(state: &TestState, publication: &str) -> Result<(), Fault> {
    for open in streams(state).iter().filter(|open| open.stream.source.as_deref() == Some(publication)) {
        open.end(state, None).await?;
    }
    Ok(())
}

/// Compares the streams with the store: ends the subscriptions whose publishers have stopped, and forgets the connections
/// that others have ended.
pub async fn reconcile(state: &TestState) -> Result<(), Fault> {
    let mut stages: HashMap<StageId, Vec<Open>> = HashMap::new();
    for open in streams(state) {
        stages.entry(open.participant.stage.clone()).or_default().push(open);
    }
    for (stage, streams) in stages {
        let view = views::view(&state.app, &stage.scope, &stage.id).await?;
        let mut sources = HashMap::new();
        for open in streams {
            let recorded = view.connections.contains(&open.stream.id);
            if !recorded || (is_subscription(&open.intent) && !is_sent(state, &open, &mut sources).await) {
                // The row of a subscription to a replica that was stopped still exists.
                open.end(state, None).await?;
            }
        }
    }
    Ok(())
}

fn is_subscription(intent: &Intent) -> bool {
    matches!(intent, Intent::Subscribe(_))
}

/// Whether the publisher of a subscription still publishes by the same connection. `sources` has the current connections.
async fn is_sent(state: &TestState, open: &Open, sources: &mut HashMap<String, Option<String>>) -> bool {
    let Some(remote) = open.intent.remote() else { return true };
    if !sources.contains_key(remote) {
        let source = match connections::find_placement(&state.app, &open.token, &open.intent).await {
            Ok(Placement::Local { publisher }) => publisher,
            Ok(Placement::Remote(_)) => None,
            Err(error) if error.code == SignalingErrorCode::PublisherNotFound => None,
            // Not known now.
            Err(_) => return true,
        };
        sources.insert(remote.to_owned(), source);
    }
    sources.get(remote).is_some_and(|source| *source == open.stream.source)
}
