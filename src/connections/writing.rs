//! Writing down what becomes of connections: in order for each of them, again until it is written.

use super::held::Note;
use super::{Connections, upkeep};
use crate::app::connections;
use crate::model::fault::Fault;
use std::sync::Arc;
use std::time::Duration;

/// How long to wait before something is written again, at first and at most.
const WAIT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

impl Connections {
    /// Writes what there is to write of a connection, unless somebody is at it.
    pub(super) fn write(self: &Arc<Self>, id: &str) {
        // What is not written when the server stops is ended with the whole node.
        if self.stopping.is_cancelled() {
            return;
        }
        let Some(mut note) = self.held().work(id, false, self.app.clock.monotonic()) else { return };
        let (plane, id) = (self.clone(), id.to_owned());
        self.tasks.spawn(async move {
            let work = async {
                let Ok(_place) = plane.writers.acquire().await else { return };
                loop {
                    plane.put_down(&id, &note).await;
                    let now = plane.app.clock.monotonic();
                    let mut held = plane.held();
                    held.written(&id, &note, now);
                    match held.work(&id, true, now) {
                        Some(next) => note = next,
                        None => return,
                    }
                }
            };
            plane.stopping.run_until_cancelled(work).await;
        });
    }

    /// Writes one note, again while it is the store that fails.
    async fn put_down(&self, id: &str, note: &Note) {
        let mut wait = WAIT.0;
        loop {
            let written = match note {
                Note::Started(ticket) => connections::started(&self.app, ticket, id).await,
                Note::Ended(ticket, why) => connections::ended(&self.app, ticket, id, *why).await,
            };
            match written {
                Ok(()) => return,
                Err(fault) if passes(&fault) => {
                    upkeep::failed(&fault, &format!("the connection {id} is not written of yet"));
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(WAIT.1);
                }
                Err(fault) => {
                    tracing::error!(id, error = &fault as &dyn std::error::Error, "a connection was not written of");
                    return;
                }
            }
        }
    }
}

/// Whether a failure is one of the store, which may be there again later.
fn passes(fault: &Fault) -> bool {
    fault.status() >= 500
}
