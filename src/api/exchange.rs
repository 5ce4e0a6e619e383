//! One request and its answer: what they hold of the node's [shared resources](super::shares), until the last byte of the
//! answer is written.
//!
//! The answer's bytes carry what they hold with them ([`Bytes::from_owner`]), so that it is given back when the HTTP
//! library drops the bytes, not when it takes them into a queue of its own.

use super::shares::{Client, Exceeded, Lease, Resource};
use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Bytes of unread answers beyond which a connection's next request waits.
const CONNECTION_BYTES: usize = 1 << 20;
/// What a request and its answer count for at least: so many of one connection run, or are unread, at once.
const EXPECTED_BYTES: usize = CONNECTION_BYTES / 32;
/// A long answer is handed over in pieces of this size; each is a sign of progress.
const PIECE_BYTES: usize = 64 << 10;

/// A connection as its requests see it. The listener gives it to each of them as an extension.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The client of the request: of the connection, or the one that a trusted proxy names.
    pub client: Arc<Client>,
    /// Its answers that are not written yet.
    pub unread: Arc<Unread>,
}

/// The answers of a connection that are not written yet.
#[derive(Debug, Default)]
pub struct Unread {
    answers: Mutex<Answers>,
    freed: Notify,
    ended: CancellationToken,
}

#[derive(Debug, Default)]
struct Answers {
    bytes: usize,
    next: u64,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    bytes: usize,
    /// When the answer was given, or a piece of it was taken last; none while the request runs.
    progress: Option<Instant>,
}

impl Unread {
    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until few enough answers are unread for one more request to run.
    async fn turn(self: &Arc<Self>) -> u64 {
        loop {
            let freed = self.freed.notified();
            if let Some(id) = self.answers().begin() {
                return id;
            }
            freed.await;
        }
    }

    /// When the answer that waits longest for its client made progress last.
    pub fn oldest(&self) -> Option<Instant> {
        self.answers().entries.iter().filter_map(|entry| entry.progress).min()
    }

    /// Closes the connection.
    pub fn end(&self) {
        self.ended.cancel();
    }

    /// Waits until the connection is to be closed.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

impl Answers {
    fn begin(&mut self) -> Option<u64> {
        if self.bytes >= CONNECTION_BYTES {
            return None;
        }
        self.next += 1;
        self.bytes += EXPECTED_BYTES;
        self.entries.push(Entry { id: self.next, bytes: EXPECTED_BYTES, progress: None });
        Some(self.next)
    }

    fn change(&mut self, id: u64, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) {
            self.bytes -= entry.bytes;
            change(entry);
            self.bytes += entry.bytes;
        }
    }

    fn end(&mut self, id: u64) {
        if let Some(n) = self.entries.iter().position(|entry| entry.id == id) {
            self.bytes -= self.entries.swap_remove(n).bytes;
        }
    }
}

/// A request that runs, or whose answer is not written yet. The request has it as an extension.
#[derive(Debug)]
pub struct Exchange {
    /// Who has sent the request.
    pub client: Arc<Client>,
    /// Where the answer goes to; none where a router is driven without a listener.
    connection: Option<(Arc<Unread>, u64)>,
    /// Its place among the requests in flight.
    request: OnceLock<Lease>,
    /// What its answer takes.
    answer: OnceLock<Lease>,
}

impl Exchange {
    /// An exchange on a connection, once few enough answers of that are unread.
    pub async fn begin(connection: Connection) -> Arc<Exchange> {
        let id = connection.unread.turn().await;
        Arc::new(Exchange {
            client: connection.client,
            connection: Some((connection.unread, id)),
            request: OnceLock::new(),
            answer: OnceLock::new(),
        })
    }

    /// An exchange without a connection.
    pub fn without_connection(client: Arc<Client>) -> Arc<Exchange> {
        Arc::new(Exchange { client, connection: None, request: OnceLock::new(), answer: OnceLock::new() })
    }

    /// Takes a place among the requests in flight until the answer is written.
    pub fn enter(&self) -> Result<(), Exceeded> {
        let lease = self.client.take(Resource::Requests, 1)?;
        let _ = self.request.set(lease);
        Ok(())
    }

    /// Takes what an answer needs. One that `must` be given is never refused.
    pub fn answered(&self, bytes: usize, must: bool) -> Result<(), Exceeded> {
        let lease = match must {
            true => self.client.take_anyway(Resource::AnswerBytes, bytes),
            false => self.client.take(Resource::AnswerBytes, bytes)?,
        };
        let _ = self.answer.set(lease);
        if let Some((unread, id)) = &self.connection {
            unread.answers().change(*id, |entry| {
                entry.bytes = bytes.max(EXPECTED_BYTES);
                entry.progress = Some(Instant::now());
            });
        }
        Ok(())
    }

    fn progress(&self) {
        if let Some((unread, id)) = &self.connection {
            unread.answers().change(*id, |entry| entry.progress = Some(Instant::now()));
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some((unread, id)) = &self.connection {
            unread.answers().end(*id);
            unread.freed.notify_waiters();
        }
    }
}

/// The body of an answer; its bytes hold the exchange.
pub struct HeldBody {
    inner: Body,
    rest: Bytes,
    exchange: Arc<Exchange>,
}

impl HeldBody {
    /// The same body.
    pub fn new(inner: Body, exchange: Arc<Exchange>) -> Self {
        HeldBody { inner, rest: Bytes::new(), exchange }
    }
}

/// Bytes with what they hold.
struct Held {
    bytes: Bytes,
    _exchange: Arc<Exchange>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(context)?) else { return Poll::Ready(None) };
            match frame.into_data() {
                Ok(bytes) => self.rest = Bytes::from_owner(Held { bytes, _exchange: self.exchange.clone() }),
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            }
        }
        let length = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(length);
        self.exchange.progress();
        Poll::Ready(Some(Ok(Frame::data(piece))))
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
    use super::super::shares::{Amounts, Shares};
    use super::*;
    use futures_util::FutureExt as _;
    use http_body_util::BodyExt as _;

    fn connection() -> Connection {
        let amounts = Amounts { connections: 1, requests: 1, bytes: 64 << 20, client_percent: 100 };
        let client = Shares::new(amounts).client([192, 0, 2, 1].into());
        Connection { client, unread: Arc::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_holds_its_place_until_its_last_bytes_are_dropped() {
        let connection = connection();
        let exchange = Exchange::begin(connection.clone()).await;
        exchange.enter().unwrap();
        exchange.answered(100_000, false).unwrap();
        let mut body = HeldBody::new(Body::from(vec![7; 100_000]), exchange);
        assert_eq!(body.size_hint().exact(), Some(100_000));
        let began = connection.unread.oldest().unwrap();
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        let one = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(connection.unread.oldest().unwrap() > began, "a piece is progress");
        let two = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(body.is_end_stream());
        assert_eq!(one.len() + two.len(), 100_000);
        drop((body, one));
        assert!(connection.client.take(Resource::Requests, 1).is_err());
        drop(two);
        assert!(connection.client.take(Resource::Requests, 1).is_ok());
        assert_eq!(connection.unread.oldest(), None);
    }

    #[tokio::test]
    async fn a_connection_with_many_unread_bytes_runs_no_further_request() {
        let connection = connection();
        let first = Exchange::begin(connection.clone()).await;
        first.answered(CONNECTION_BYTES, true).unwrap();
        let mut next = Box::pin(Exchange::begin(connection.clone()));
        assert!(next.as_mut().now_or_never().is_none());
        drop(first);
        let next = next.await;
        let more: Vec<_> =
            std::iter::from_fn(|| Exchange::begin(connection.clone()).now_or_never()).take(100).collect();
        assert_eq!(more.len(), 31, "so many run at once");
        drop((next, more));
        assert_eq!(connection.unread.answers().bytes, 0);
    }
}
