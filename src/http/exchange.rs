//! One request and its response: the resources they hold (see [`super::budget`]) until the last byte of the response is
//! written.
//!
//! The bytes of the response own the exchange ([`Bytes::from_owner`]), so that its resources are released when hyper drops
//! the bytes after the write, not when it queues them.

use super::budget::{ClientBudget, Exceeded, Reservation, Resource};
use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Bytes of pending responses beyond which the next request of a connection waits.
const MAX_CONNECTION_BYTES: usize = 1 << 20;
/// Minimum bytes that an exchange counts for; limits a connection to 32 exchanges.
const MIN_EXCHANGE_BYTES: usize = MAX_CONNECTION_BYTES / 32;
/// Responses are handed to hyper in chunks of this size; each chunk that is taken counts as progress.
const CHUNK_BYTES: usize = 64 << 10;

/// The connection of a request, which the server attaches to each request as an extension.
#[derive(Clone, Debug)]
pub struct ConnectionHandle {
    /// The client that the request counts against: the peer, or the client that a trusted proxy names.
    pub client: Arc<ClientBudget>,
    pub pending: Arc<PendingResponses>,
}

/// The responses of a connection that are not written yet.
#[derive(Debug, Default)]
pub struct PendingResponses {
    entries: Mutex<Entries>,
    freed: Notify,
    closing: CancellationToken,
}

#[derive(Debug, Default)]
struct Entries {
    bytes: usize,
    last_id: u64,
    list: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    bytes: usize,
    /// When the response was created or its last chunk was taken; `None` while the request runs.
    progress: Option<Instant>,
}

impl PendingResponses {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the pending bytes allow one more request, and returns the id of its entry.
    async fn acquire(&self) -> u64 {
        loop {
            let freed = self.freed.notified();
            if let Some(id) = self.lock().insert() {
                return id;
            }
            freed.await;
        }
    }

    /// The earliest time of last progress among the pending responses.
    pub fn oldest_progress(&self) -> Option<Instant> {
        self.lock().list.iter().filter_map(|entry| entry.progress).min()
    }

    /// Requests that the connection is closed.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// Waits for [`close`](Self::close).
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }
}

impl Entries {
    fn insert(&mut self) -> Option<u64> {
        if self.bytes >= MAX_CONNECTION_BYTES {
            return None;
        }
        self.last_id += 1;
        self.bytes += MIN_EXCHANGE_BYTES;
        self.list.push(Entry { id: self.last_id, bytes: MIN_EXCHANGE_BYTES, progress: None });
        Some(self.last_id)
    }

    fn update(&mut self, id: u64, update: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.list.iter_mut().find(|entry| entry.id == id) {
            self.bytes -= entry.bytes;
            update(entry);
            self.bytes += entry.bytes;
        }
    }

    fn remove(&mut self, id: u64) {
        if let Some(n) = self.list.iter().position(|entry| entry.id == id) {
            self.bytes -= self.list.swap_remove(n).bytes;
        }
    }
}

/// A request that is being handled, or whose response is not written yet. Attached to the request as an extension.
#[derive(Debug)]
pub struct Exchange {
    pub client: Arc<ClientBudget>,
    /// `None` if the request did not come from a connection of the server.
    connection: Option<(Arc<PendingResponses>, u64)>,
    in_flight: OnceLock<Reservation>,
    response: OnceLock<Reservation>,
}

impl Exchange {
    /// An exchange on a connection, as soon as its pending responses allow one more.
    pub async fn begin(connection: ConnectionHandle) -> Arc<Exchange> {
        let id = connection.pending.acquire().await;
        Exchange::new(connection.client, Some((connection.pending, id)))
    }

    /// An exchange without a connection.
    pub fn without_connection(client: Arc<ClientBudget>) -> Arc<Exchange> {
        Exchange::new(client, None)
    }

    fn new(client: Arc<ClientBudget>, connection: Option<(Arc<PendingResponses>, u64)>) -> Arc<Exchange> {
        Arc::new(Exchange { client, connection, in_flight: OnceLock::new(), response: OnceLock::new() })
    }

    /// Counts the request as in flight until the response is written.
    pub fn reserve_in_flight(&self) -> Result<(), Exceeded> {
        let reservation = self.client.reserve(Resource::Requests, 1)?;
        let _ = self.in_flight.set(reservation);
        Ok(())
    }

    /// Reserves the bytes of the response; `unchecked` reserves them even beyond the budget.
    pub fn reserve_response(&self, bytes: usize, unchecked: bool) -> Result<(), Exceeded> {
        let reservation = match unchecked {
            true => self.client.reserve_unchecked(Resource::ResponseBytes, bytes),
            false => self.client.reserve(Resource::ResponseBytes, bytes)?,
        };
        let _ = self.response.set(reservation);
        self.update(|entry| {
            entry.bytes = bytes.max(MIN_EXCHANGE_BYTES);
            entry.progress = Some(Instant::now());
        });
        Ok(())
    }

    fn record_progress(&self) {
        self.update(|entry| entry.progress = Some(Instant::now()));
    }

    fn update(&self, update: impl FnOnce(&mut Entry)) {
        if let Some((pending, id)) = &self.connection {
            pending.lock().update(*id, update);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some((pending, id)) = &self.connection {
            pending.lock().remove(*id);
            pending.freed.notify_waiters();
        }
    }
}

/// A response body whose bytes own the exchange.
pub struct AccountedBody {
    inner: Body,
    rest: Bytes,
    exchange: Arc<Exchange>,
}

impl AccountedBody {
    pub fn new(inner: Body, exchange: Arc<Exchange>) -> Self {
        AccountedBody { inner, rest: Bytes::new(), exchange }
    }
}

struct AccountedBytes {
    bytes: Bytes,
    _exchange: Arc<Exchange>,
}

impl AsRef<[u8]> for AccountedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl HttpBody for AccountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(cx)?) else { return Poll::Ready(None) };
            match frame.into_data() {
                Ok(bytes) => self.rest = Bytes::from_owner(AccountedBytes { bytes, _exchange: self.exchange.clone() }),
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            }
        }
        let length = self.rest.len().min(CHUNK_BYTES);
        let chunk = self.rest.split_to(length);
        self.exchange.record_progress();
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget::{BudgetLimits, NodeBudget};
    use super::*;
    use futures_util::FutureExt as _;
    use http_body_util::BodyExt as _;

    fn connection() -> ConnectionHandle {
        let limits = BudgetLimits { connections: 1, requests: 1, bytes: 64 << 20, client_percent: 100 };
        let client = NodeBudget::new(limits).client([192, 0, 2, 1].into());
        ConnectionHandle { client, pending: Arc::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_holds_its_reservations_until_its_last_bytes_are_dropped() {
        let connection = connection();
        let exchange = Exchange::begin(connection.clone()).await;
        exchange.reserve_in_flight().unwrap();
        exchange.reserve_response(100_000, false).unwrap();
        let mut body = AccountedBody::new(Body::from(vec![7; 100_000]), exchange);
        assert_eq!(body.size_hint().exact(), Some(100_000));
        let began = connection.pending.oldest_progress().unwrap();
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(connection.pending.oldest_progress().unwrap() > began, "a chunk is progress");
        let second = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(body.is_end_stream());
        assert_eq!(first.len() + second.len(), 100_000);
        drop((body, first));
        assert!(connection.client.reserve(Resource::Requests, 1).is_err());
        drop(second);
        assert!(connection.client.reserve(Resource::Requests, 1).is_ok());
        assert_eq!(connection.pending.oldest_progress(), None);
    }

    #[tokio::test]
    async fn a_connection_with_many_unread_bytes_runs_no_further_request() {
        let connection = connection();
        let first = Exchange::begin(connection.clone()).await;
        first.reserve_response(MAX_CONNECTION_BYTES, true).unwrap();
        let mut next = Box::pin(Exchange::begin(connection.clone()));
        assert!(next.as_mut().now_or_never().is_none());
        drop(first);
        let next = next.await;
        let more: Vec<_> =
            std::iter::from_fn(|| Exchange::begin(connection.clone()).now_or_never()).take(100).collect();
        assert_eq!(more.len(), 31, "maximum concurrent exchanges");
        drop((next, more));
        assert_eq!(connection.pending.lock().bytes, 0);
    }
}
