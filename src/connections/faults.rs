//! Faults of the test API on media connections: impaired media of subscriptions, and connections that end.

use super::Connections;
use super::registry::{Connection, End};
use crate::app::test_controls::TestControls;
use crate::app::test_controls::faults::Faults;
use crate::domain::admission::{Intent, VerifiedToken};
use crate::domain::faults::{Effect, EffectKind, Impairment};
use greenroom_media::{self as media, TransportId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Interval after which rules are compared with the connections, even without a known change.
const INTERVAL: Duration = Duration::from_secs(60);
/// Delay before an impairment is set again that the media thread had no time for.
const RETRY: Duration = Duration::from_millis(100);

/// Notifies of new media connections, if the test API is served.
#[derive(Debug, Default)]
pub(super) struct NewConnections(Notify);

impl NewConnections {
    pub(super) fn notify(&self, controls: Option<&Arc<TestControls>>) {
        if controls.is_some() {
            self.0.notify_one();
        }
    }
}

/// What was decided about a connection.
#[derive(Debug, Default)]
struct Decided {
    /// Numbers of the last rules that have decided: on media, and on the connection.
    considered: [u64; 2],
    impairments: Vec<Impaired>,
    /// The impairment that the media thread has.
    current: Option<media::Impairment>,
}

/// An impairment by a rule.
#[derive(Debug)]
struct Impaired {
    rule: String,
    impairment: Impairment,
    seed: u64,
}

/// An open media connection.
struct OpenConnection {
    id: String,
    token: Arc<VerifiedToken>,
    intent: Intent,
    transport: TransportId,
    media_flowing: bool,
}

impl Connections {
    /// Applies the rules on media connections, for as long as it is polled.
    pub(super) async fn apply_faults(self: Arc<Self>) {
        let Some(controls) = self.app.test_controls().cloned() else { return };
        let faults = &controls.faults;
        let (mut changes, mut decided) = (faults.changes(), HashMap::new());
        loop {
            changes.borrow_and_update();
            let complete = self.apply_faults_once(faults, &mut decided).await;
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = self.new_connections.0.notified() => {}
                () = faults.expired(if complete { INTERVAL } else { RETRY }) => {}
            }
        }
    }

    /// Returns false if an impairment could not be set.
    async fn apply_faults_once(self: &Arc<Self>, faults: &Faults, decided: &mut HashMap<String, Decided>) -> bool {
        let open = self.open_media_connections();
        decided.retain(|id, _| open.iter().any(|connection| connection.id == *id));
        let mut complete = true;
        for connection in open {
            let decided = decided.entry(connection.id.clone()).or_default();
            if let Intent::Subscribe(publisher) = &connection.intent {
                let impairment = decided.impairment(faults, &connection.token, publisher);
                if impairment != decided.current {
                    let set = self.media.impair(connection.transport, impairment).await.is_ok();
                    decided.current = if set { impairment } else { decided.current };
                    complete &= set;
                }
            }
            let (remote, considered) = (connection.intent.remote(), &mut decided.considered[1]);
            if connection.media_flowing
                && !faults.of_connection(EffectKind::Connection, &connection.token, remote, considered).is_empty()
            {
                self.end(&connection.id, End::Local(None));
            }
        }
        complete
    }

    fn open_media_connections(&self) -> Vec<OpenConnection> {
        let registry = self.registry();
        let open = registry.connections.iter().filter(|(_, connection)| connection.is_open());
        let open = open.filter_map(|(id, connection)| {
            Some(OpenConnection {
                id: id.clone(),
                token: connection.token.clone(),
                intent: connection.intent.clone(),
                transport: Connection::transport_id(connection)?,
                media_flowing: connection.has_media(),
            })
        });
        open.collect()
    }
}

impl Decided {
    /// The impairment of a subscription by all live rules.
    fn impairment(&mut self, faults: &Faults, token: &VerifiedToken, publisher: &str) -> Option<media::Impairment> {
        let new = faults.of_connection(EffectKind::Media, token, Some(publisher), &mut self.considered[0]);
        self.impairments.extend(new.into_iter().filter_map(|applied| match applied.effect {
            Effect::Media(impairment) => Some(Impaired { rule: applied.id, impairment, seed: applied.seed }),
            _ => None,
        }));
        self.impairments.retain(|one| faults.is_live(&one.rule));
        let first = self.impairments.first()?;
        let all = self.impairments.iter().fold(Impairment::default(), |all, one| all.and(one.impairment));
        let Impairment { freeze, loss, delay } = all;
        Some(media::Impairment { freeze, loss, delay, seed: first.seed }).filter(|_| !all.is_none())
    }
}
