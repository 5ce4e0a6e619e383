//! An event stream as a response body: a task reads pages and hands them over one at a time, checks the access key even
//! while the client does not read, and ends the stream at the write timeout.

use super::permits::StreamPermit;
use super::reader::{AccessKey, Reader};
use crate::http::{ClientBudget, KeepAlive, PendingResponses, Reservation};
use axum::body::{Body, Bytes};
use futures_util::stream;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What a stream holds of its connection.
pub struct Connection {
    pub client: Arc<ClientBudget>,
    /// `None` if the request did not come from a connection of the server.
    pub pending: Option<Arc<PendingResponses>>,
    pub permit: StreamPermit,
    pub keep_alive: Option<KeepAlive>,
}

/// Text that counts among the pending responses.
struct Page {
    text: String,
    _reservation: Reservation,
}

impl AsRef<[u8]> for Page {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

/// Why a stream has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndReason {
    /// [`Reader::next`] has ended.
    Complete,
    KeyRevoked,
    /// The write timeout or the budget of pending responses.
    NotReading,
    ClientClosed,
}

/// The body. It ends with the task; the task ends when the body is dropped.
pub fn new(reader: Reader, key: AccessKey, connection: Connection) -> Body {
    let (pages, receiver) = mpsc::channel(1);
    let dropped = CancellationToken::new();
    let guard = dropped.clone().drop_guard();
    tokio::spawn(run(reader, key, connection, pages, dropped));
    let next = |(mut receiver, guard): (mpsc::Receiver<Bytes>, DropGuard)| async {
        let page = receiver.recv().await?;
        Some((Ok::<_, Infallible>(page), (receiver, guard)))
    };
    Body::from_stream(stream::unfold((receiver, guard), next))
}

async fn run(
    mut reader: Reader,
    key: AccessKey,
    connection: Connection,
    pages: mpsc::Sender<Bytes>,
    dropped: CancellationToken,
) {
    let state = reader.state.clone();
    state.app.metrics().streams.inc();
    let reason = tokio::select! {
        reason = write(&mut reader, &connection.client, &pages) => reason,
        () = key.revoked() => EndReason::KeyRevoked,
        () = dropped.cancelled() => EndReason::ClientClosed,
    };
    state.app.metrics().streams.dec();
    // The permit is released even if the client does not read up to the end.
    drop((reader, pages, connection.permit));
    if reason == EndReason::KeyRevoked || reason == EndReason::NotReading {
        tracing::info!(?reason, client = %connection.client.address, access_key = key.id, "event stream ended");
    }
    let read_to_end = tokio::time::timeout(state.limits.write_timeout, dropped.cancelled()).await;
    if let (Err(_), Some(pending)) = (read_to_end, &connection.pending) {
        pending.close();
    }
    drop(connection.keep_alive);
}

/// Hands pages over until there are no more, or the client does not take one within the write timeout.
async fn write(reader: &mut Reader, client: &Arc<ClientBudget>, pages: &mpsc::Sender<Bytes>) -> EndReason {
    let state = reader.state.clone();
    while let Some(text) = reader.next().await {
        let Some(reservation) = state.limits.reserve_chunk(client, text.len()) else { return EndReason::NotReading };
        let page = Bytes::from_owner(Page { text, _reservation: reservation });
        match tokio::time::timeout(state.limits.write_timeout, pages.send(page)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return EndReason::ClientClosed,
            Err(_) => {
                state.app.metrics().refusals.unread.inc();
                return EndReason::NotReading;
            }
        }
    }
    EndReason::Complete
}
