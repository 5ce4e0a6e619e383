//! Request bodies, received within limits of size, memory, time and rate.

use super::budget::{ClientBudget, Exceeded, Reservation, Resource};
use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::header::EXPECT;
use axum::http::request::Parts;
use http_body_util::BodyExt as _;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long a body may take before its average rate is checked.
const GRACE: Duration = Duration::from_secs(5);

/// How fast a body must arrive.
#[derive(Clone, Copy, Debug)]
pub struct BodyTiming {
    /// Time limit of the whole body.
    pub timeout: Duration,
    /// Minimum average rate in bytes per second, checked after a grace period of 5 seconds.
    pub min_rate: u32,
}

/// Size limits of a body.
#[derive(Clone, Copy, Debug)]
pub struct BodySize {
    /// Maximum bytes.
    pub max: usize,
    /// Maximum bytes of a rejected body that are read and discarded: many clients read a response only after they have
    /// sent the whole body.
    pub max_drained: usize,
}

/// A complete body. Its bytes count against the budget until it is dropped.
#[derive(Debug)]
pub struct ReceivedBody {
    bytes: Vec<u8>,
    /// Whether receiving it took long enough that checks of the head may be outdated.
    pub waited: bool,
    _reservation: Reservation,
}

impl Deref for ReceivedBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl ReceivedBody {
    /// The bytes, released from the budget.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Why a body was not received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// Larger than [`BodySize::max`].
    TooLarge,
    /// The client closed the stream before the end.
    Incomplete,
    /// Longer than [`BodyTiming::timeout`].
    Timeout,
    /// Below [`BodyTiming::min_rate`].
    TooSlow,
    /// Too many bytes of bodies are buffered.
    NoBudget(Exceeded),
}

/// A body that was rejected before its end.
#[derive(Debug)]
pub struct RejectedBody {
    pub error: BodyError,
    rest: Option<(Incoming, usize)>,
}

impl RejectedBody {
    /// Reads and discards the rest, so that a client that is still sending reads the response.
    pub async fn drain(self) {
        if let Some((mut incoming, max_drained)) = self.rest {
            discard(&mut incoming, max_drained).await;
        }
    }
}

impl From<BodyError> for RejectedBody {
    fn from(error: BodyError) -> Self {
        RejectedBody { error, rest: None }
    }
}

/// A body that is being received.
#[derive(Debug)]
struct Incoming {
    body: Body,
    timing: BodyTiming,
    began: Instant,
    length: usize,
    waited: bool,
}

impl Incoming {
    fn new(body: Body, timing: BodyTiming) -> Self {
        Incoming { body, timing, began: Instant::now(), length: 0, waited: false }
    }

    /// The next chunk; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let last = self.began + self.timing.timeout;
            let fast = Duration::from_secs_f64(self.length as f64 / f64::from(self.timing.min_rate.max(1)));
            let due = (self.began + GRACE + fast).min(last);
            let began = Instant::now();
            let Ok(frame) = timeout_at(due, self.body.frame()).await else {
                return Err(if due == last { BodyError::Timeout } else { BodyError::TooSlow });
            };
            self.waited |= began.elapsed() > Duration::from_millis(10);
            let Some(frame) = frame else { return Ok(None) };
            if let Ok(data) = frame.map_err(|_| BodyError::Incomplete)?.into_data() {
                self.length += data.len();
                return Ok(Some(data));
            }
        }
    }
}

/// Receives a whole body.
pub async fn receive(
    body: Body,
    size: BodySize,
    timing: BodyTiming,
    client: &Arc<ClientBudget>,
) -> Result<ReceivedBody, RejectedBody> {
    if body.size_hint().lower() > size.max_drained as u64 {
        return Err(BodyError::TooLarge.into());
    }
    let mut bytes = Vec::new();
    let mut reservation = client.reserve(Resource::BodyBytes, 0).map_err(BodyError::NoBudget)?;
    let mut incoming = Incoming::new(body, timing);
    while let Some(data) = incoming.next().await? {
        let kept = match incoming.length > size.max {
            true => Err(BodyError::TooLarge),
            false => reservation.grow(data.len()).map_err(BodyError::NoBudget),
        };
        if let Err(error) = kept {
            return Err(RejectedBody { error, rest: Some((incoming, size.max_drained)) });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(ReceivedBody { bytes, waited: incoming.waited, _reservation: reservation })
}

/// Reads and discards the body of a request that was rejected by its head. A client that waits for `100 Continue` has not
/// sent a body, so nothing is read.
pub async fn drain(parts: &Parts, body: Body, max_drained: usize, timing: BodyTiming) {
    if !parts.headers.contains_key(EXPECT) && body.size_hint().lower() <= max_drained as u64 {
        discard(&mut Incoming::new(body, timing), max_drained).await;
    }
}

async fn discard(incoming: &mut Incoming, max_drained: usize) {
    while incoming.length <= max_drained && matches!(incoming.next().await, Ok(Some(_))) {}
}

#[cfg(test)]
mod tests {
    use super::super::budget::{BudgetLimits, NodeBudget};
    use super::*;
    use futures_util::stream;
    use std::convert::Infallible;

    const SIZE: BodySize = BodySize { max: 20_000, max_drained: 50_000 };
    const TIMING: BodyTiming = BodyTiming { timeout: Duration::from_secs(30), min_rate: 1000 };

    fn client() -> Arc<ClientBudget> {
        let limits = BudgetLimits { connections: 1, requests: 1, bytes: 64 << 20, client_percent: 100 };
        NodeBudget::new(limits).client([192, 0, 2, 1].into())
    }

    /// A body of `pieces` chunks, `millis` milliseconds apart.
    fn dripping(pieces: usize, bytes: usize, millis: u64) -> Body {
        let piece = move |n| async move {
            if n == pieces {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(millis)).await;
            Some((Ok::<_, Infallible>(vec![b'x'; bytes]), n + 1))
        };
        Body::from_stream(stream::unfold(0, piece))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_must_arrive_at_the_minimum_rate_and_within_the_timeout() {
        let client = client();
        let received = async |body| {
            receive(body, SIZE, TIMING, &client).await.map(|body| body.len()).map_err(|refused| refused.error)
        };
        let began = Instant::now();
        assert_eq!(received(dripping(100, 1, 100)).await, Err(BodyError::TooSlow));
        assert_eq!(began.elapsed().as_secs(), 5, "after the grace period");
        assert_eq!(received(dripping(40, 1, 100)).await, Ok(40), "within the grace period");
        assert_eq!(received(dripping(20, 1000, 1000)).await, Ok(20_000), "at the rate");
        assert_eq!(received(dripping(10, 500, 900)).await, Ok(5000), "the grace period allows a slow start");
        let late = BodyTiming { timeout: Duration::from_secs(3), ..TIMING };
        assert_eq!(receive(dripping(9, 1, 1000), SIZE, late, &client).await.unwrap_err().error, BodyError::Timeout);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejected_body_reserves_no_bytes_while_its_rest_is_drained() {
        let client = client();
        assert_eq!(
            receive(dripping(30, 1000, 10), SIZE, TIMING, &client).await.unwrap_err().error,
            BodyError::TooLarge
        );
        let _others = client.reserve(Resource::BodyBytes, 16 << 20).unwrap();
        let full = client.reserve_unchecked(Resource::BodyBytes, 48 << 20);
        let refused = receive(dripping(10, 1000, 10), SIZE, TIMING, &client).await.unwrap_err();
        assert_eq!(refused.error, BodyError::NoBudget(Exceeded::Node));
        refused.drain().await;
        drop(full);
        assert!(receive(dripping(10, 1000, 10), SIZE, TIMING, &client).await.is_ok());
    }
}
