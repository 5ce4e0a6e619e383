//! An event stream as the body of an answer: a task reads pages and hands them over one at a time, checks the access key
//! whether or not the client reads, and ends the stream of a client that does not.

use super::super::limits::{self, StreamPermit};
use super::{Client, KeepAlive, Key, Reader, Unread};
use crate::api::shares::Lease;
use axum::body::{Body, Bytes};
use futures_util::stream;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What a stream holds of its connection.
pub struct Connection {
    pub client: Arc<Client>,
    /// None where a router is driven without a listener.
    pub unread: Option<Arc<Unread>>,
    pub permit: StreamPermit,
    pub busy: Option<KeepAlive>,
}

/// Text that counts among the unread answers.
pub struct Page {
    text: String,
    _lease: Lease,
}

impl AsRef<[u8]> for Page {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

/// Why a stream has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// There is nothing more to send: the server stops, or what the client has not seen was trimmed.
    Over,
    /// The key is no longer good.
    KeyLost,
    /// The client does not read, or its unread bytes exceed the budget.
    Slow,
    /// The client is gone.
    Gone,
}

/// The body: it ends when the task does, and the task when it is dropped.
pub fn body(reader: Reader, key: Key, connection: Connection) -> Body {
    let (pages, taken) = mpsc::channel(1);
    let gone = CancellationToken::new();
    let guard = gone.clone().drop_guard();
    tokio::spawn(serve(reader, key, connection, pages, gone));
    let next = |(mut taken, guard): (mpsc::Receiver<Bytes>, DropGuard)| async {
        let page = taken.recv().await?;
        Some((Ok::<_, Infallible>(page), (taken, guard)))
    };
    Body::from_stream(stream::unfold((taken, guard), next))
}

async fn serve(
    mut reader: Reader,
    key: Key,
    connection: Connection,
    pages: mpsc::Sender<Bytes>,
    gone: CancellationToken,
) {
    let door = reader.door.clone();
    door.app.metrics.streams.inc();
    let end = tokio::select! {
        end = reader.write(&connection.client, &pages) => end,
        () = key.lost() => End::KeyLost,
        () = gone.cancelled() => End::Gone,
    };
    door.app.metrics.streams.dec();
    // The stream takes no place any more, whether or not its client reads up to the end.
    drop((reader, pages, connection.permit));
    if end == End::KeyLost || end == End::Slow {
        let (client, access_key) = (connection.client.address, &key.access_key);
        tracing::info!(reason = ?end, %client, access_key, "event stream ended");
    }
    let read = tokio::time::timeout(door.limits.write_timeout, gone.cancelled()).await;
    if let (Err(_), Some(unread)) = (read, &connection.unread) {
        unread.end();
    }
    drop(connection.busy);
}

impl Reader {
    /// Hands pages over until there is no more, or the client does not take one in time.
    async fn write(&mut self, client: &Arc<Client>, pages: &mpsc::Sender<Bytes>) -> End {
        while let Some(text) = self.next().await {
            let Some(lease) = limits::page(&self.door, client, text.len()) else { return End::Slow };
            let page = Bytes::from_owner(Page { text, _lease: lease });
            match tokio::time::timeout(self.door.limits.write_timeout, pages.send(page)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return End::Gone,
                Err(_) => {
                    self.door.app.metrics.refusals.unread.inc();
                    return End::Slow;
                }
            }
        }
        End::Over
    }
}
