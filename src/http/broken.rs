//! Responses that break off, as the faults of the test API do.

use axum::body::{Body, Bytes, HttpBody};
use axum::http::StatusCode;
use axum::response::Response;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Sleep;

/// The status in log and metrics of a request whose connection is closed without a response.
const NO_RESPONSE: u16 = 444;

/// How long a truncated body waits for its bytes to be written. A client in the process of the server may keep them until
/// the body ends.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// A response is not sent, or not to its end: the connection is closed (HTTP/1.1), or the stream is reset (HTTP/2).
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("response broken off by a fault of the test API")]
pub struct BrokenOff;

/// A response that is not sent: its connection is closed instead.
pub fn no_response() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(NO_RESPONSE).unwrap_or_default();
    response.extensions_mut().insert(BrokenOff);
    response
}

/// The response to send, if it is to be sent.
pub(super) fn to_send(response: Response) -> Result<Response, BrokenOff> {
    if response.extensions().get::<BrokenOff>().is_some() { Err(BrokenOff) } else { Ok(response) }
}

/// A response whose connection is closed after `bytes` bytes of its body, one byte before its end at the latest. Its length
/// is that of the whole body.
pub async fn truncated(response: Response, bytes: usize) -> Response {
    let (parts, body) = response.into_parts();
    // A body in memory, which cannot fail.
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else { return no_response() };
    Response::from_parts(parts, Body::new(TruncatedBody::new(&body, bytes)))
}

/// A body that fails after its first bytes were written to the connection, or after [`WRITE_TIMEOUT`].
struct TruncatedBody {
    length: u64,
    /// What is sent, until it is.
    rest: Option<Bytes>,
    /// The end of the write; `None` afterwards.
    write: Option<Write>,
}

/// The bytes of a body on their way to the connection.
struct Write {
    /// Completes when the bytes were written, which drops them.
    written: oneshot::Receiver<()>,
    /// Begins with the first poll after the bytes were taken.
    timeout: Option<Pin<Box<Sleep>>>,
}

impl Write {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The sender is dropped with the bytes.
        if Pin::new(&mut self.written).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        self.timeout.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_TIMEOUT))).as_mut().poll(cx)
    }
}

struct TrackedBytes {
    bytes: Bytes,
    _written: oneshot::Sender<()>,
}

impl AsRef<[u8]> for TrackedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl TruncatedBody {
    fn new(body: &Bytes, bytes: usize) -> TruncatedBody {
        let (_written, written) = oneshot::channel();
        let bytes = body.slice(..bytes.min(body.len().saturating_sub(1)));
        let rest = (!bytes.is_empty()).then(|| Bytes::from_owner(TrackedBytes { bytes, _written }));
        TruncatedBody { length: body.len() as u64, rest, write: Some(Write { written, timeout: None }) }
    }
}

impl HttpBody for TruncatedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(bytes) = self.rest.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if let Some(write) = &mut self.write {
            // An error before would discard what hyper has only queued.
            ready!(write.poll(cx));
            self.write = None;
            // Gives the connection the time to flush.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(axum::Error::new(BrokenOff))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn a_truncated_body_claims_its_whole_length_and_fails_once_its_bytes_were_written() {
        for (bytes, sent) in [(1, "0"), (4, "0123"), (10, "012345678"), (99, "012345678")] {
            let mut body = truncated(Response::new(Body::from("0123456789")), bytes).await.into_body();
            assert_eq!(body.size_hint().exact(), Some(10));
            let written = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(written, sent);
            assert!(body.frame().now_or_never().is_none(), "before the bytes were written");
            drop(written);
            assert!(body.frame().now_or_never().is_none(), "before they were flushed");
            assert!(body.frame().await.unwrap().is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_truncated_body_fails_by_itself_if_its_bytes_are_kept() {
        let began = tokio::time::Instant::now();
        let response = truncated(Response::new(Body::from("0123456789")), 4).await;
        assert!(axum::body::to_bytes(response.into_body(), usize::MAX).await.is_err());
        assert_eq!(began.elapsed().as_secs(), WRITE_TIMEOUT.as_secs());
    }

    #[tokio::test]
    async fn an_empty_body_fails_at_once() {
        let mut body = truncated(Response::new(Body::empty()), 1).await.into_body();
        assert!(body.frame().await.unwrap().is_err());
    }

    #[test]
    fn only_a_marked_response_is_not_sent() {
        assert!(to_send(no_response()).is_err());
        assert!(to_send(Response::new(Body::empty())).is_ok());
    }
}
