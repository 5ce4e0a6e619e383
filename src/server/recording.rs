//! The spool and the recordings of a server, as the operator has set them.

use super::ServerError;
use super::settings::seconds;
use crate::app::App;
use crate::config::ServeArgs;
use crate::recording::spool::{Spool, SpoolSettings};
use crate::recording::uploader::Uploader;
use crate::recording::{Recordings, Settings};
use crate::storage::Storage;
use std::sync::Arc;

/// Opens the spool of a node that listens on `port`.
pub async fn open(args: &ServeArgs, storage: Storage, port: u16, app: &Arc<App>) -> Result<Recordings, ServerError> {
    let spool = Spool::open(SpoolSettings::new(&args.spool, &args.store.database_url, port)).await?;
    sample(app, &spool);
    let (clock, ids, metrics) = (app.clock().clone(), app.ids().clone(), app.metrics().clone());
    let retry = seconds(args.spool.recording_retry_seconds);
    let uploader = Uploader::new(storage, spool, clock, ids, metrics, app.test_controls().cloned(), retry);
    Ok(Recordings::new(app.clone(), uploader, Settings::new(&args.recording)))
}

/// Samples the spool whenever metrics are read.
fn sample(app: &Arc<App>, spool: &Spool) {
    let spool = spool.clone();
    app.metrics().sample(move |metrics| spool.sample(metrics));
}
