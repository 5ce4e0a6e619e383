//! Bodies of requests: received within limits of size, memory, time and rate.

use super::shares::{Client, Exceeded, Lease, Resource};
use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::header::EXPECT;
use axum::http::request::Parts;
use http_body_util::BodyExt as _;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long a body may take before its rate counts.
const GRACE: Duration = Duration::from_secs(5);

/// How fast a body must arrive.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// All of it.
    pub timeout: Duration,
    /// Bytes per second on average, after a grace of 5 seconds.
    pub min_rate: u32,
}

/// How much is taken of a body.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Maximum bytes.
    pub max: usize,
    /// Maximum bytes of a refused body that are read and dropped: a client that is still sending does not read its
    /// refusal.
    pub drained: usize,
}

/// A body that has arrived. It counts among the bytes of bodies until it is dropped.
#[derive(Debug)]
pub struct Received {
    bytes: Vec<u8>,
    /// Whether it was not there yet when it was asked for.
    pub waited: bool,
    _lease: Lease,
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Received {
    /// The bytes alone, which do not count any more.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Why a body was not received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReceived {
    /// It is larger than it may be.
    TooLarge,
    /// It broke off.
    Incomplete,
    /// It took longer than the timeout.
    Late,
    /// It arrived below the minimum rate.
    Slow,
    /// The node, or the client, holds too many bytes of bodies.
    NoRoom(Exceeded),
}

/// A body that was refused, of which more may arrive.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub why: NotReceived,
    rest: Option<(Arriving, usize)>,
}

impl Refused {
    /// Reads and drops the rest, so that a client that is still sending reads its refusal.
    pub async fn drain(self) {
        if let Some((mut arriving, drained)) = self.rest {
            discard(&mut arriving, drained).await;
        }
    }
}

impl From<NotReceived> for Refused {
    fn from(why: NotReceived) -> Self {
        Refused { why, rest: None }
    }
}

/// A body as it arrives.
#[derive(Debug)]
struct Arriving {
    body: Body,
    pace: Pace,
    began: Instant,
    length: usize,
    waited: bool,
}

impl Arriving {
    fn new(body: Body, pace: Pace) -> Self {
        Arriving { body, pace, began: Instant::now(), length: 0, waited: false }
    }

    /// The next piece; none at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, NotReceived> {
        loop {
            let last = self.began + self.pace.timeout;
            let fast = Duration::from_secs_f64(self.length as f64 / f64::from(self.pace.min_rate.max(1)));
            let due = (self.began + GRACE + fast).min(last);
            let began = Instant::now();
            let Ok(frame) = timeout_at(due, self.body.frame()).await else {
                return Err(if due == last { NotReceived::Late } else { NotReceived::Slow });
            };
            self.waited |= began.elapsed() > Duration::from_millis(10);
            let Some(frame) = frame else { return Ok(None) };
            if let Ok(data) = frame.map_err(|_| NotReceived::Incomplete)?.into_data() {
                self.length += data.len();
                return Ok(Some(data));
            }
        }
    }
}

/// Receives a whole body.
pub async fn receive(body: Body, size: Size, pace: Pace, client: &Arc<Client>) -> Result<Received, Refused> {
    if body.size_hint().lower() > size.drained as u64 {
        return Err(NotReceived::TooLarge.into());
    }
    let mut bytes = Vec::new();
    let mut lease = client.take(Resource::BodyBytes, 0).map_err(NotReceived::NoRoom)?;
    let mut arriving = Arriving::new(body, pace);
    while let Some(data) = arriving.next().await? {
        let kept = match arriving.length > size.max {
            true => Err(NotReceived::TooLarge),
            false => lease.grow(data.len()).map_err(NotReceived::NoRoom),
        };
        if let Err(why) = kept {
            return Err(Refused { why, rest: Some((arriving, size.drained)) });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Received { bytes, waited: arriving.waited, _lease: lease })
}

/// Reads and drops the body of a request that is refused by its head. A client that waits for `100 Continue` has not sent
/// it, and gets its refusal at once.
pub async fn drain(parts: &Parts, body: Body, drained: usize, pace: Pace) {
    if !parts.headers.contains_key(EXPECT) && body.size_hint().lower() <= drained as u64 {
        discard(&mut Arriving::new(body, pace), drained).await;
    }
}

async fn discard(arriving: &mut Arriving, drained: usize) {
    while arriving.length <= drained && matches!(arriving.next().await, Ok(Some(_))) {}
}

#[cfg(test)]
mod tests {
    use super::super::shares::{Amounts, Shares};
    use super::*;
    use futures_util::stream;
    use std::convert::Infallible;

    const SIZE: Size = Size { max: 20_000, drained: 50_000 };
    const PACE: Pace = Pace { timeout: Duration::from_secs(30), min_rate: 1000 };

    fn client() -> Arc<Client> {
        let amounts = Amounts { connections: 1, requests: 1, bytes: 64 << 20, client_percent: 100 };
        Shares::new(amounts).client([192, 0, 2, 1].into())
    }

    /// A body whose pieces come so many milliseconds apart.
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
    async fn a_body_must_arrive_at_the_minimum_rate_and_in_time() {
        let client = client();
        let received =
            async |body| receive(body, SIZE, PACE, &client).await.map(|body| body.len()).map_err(|refused| refused.why);
        let began = Instant::now();
        assert_eq!(received(dripping(100, 1, 100)).await, Err(NotReceived::Slow));
        assert_eq!(began.elapsed().as_secs(), 5, "after the grace");
        assert_eq!(received(dripping(40, 1, 100)).await, Ok(40), "within the grace");
        assert_eq!(received(dripping(20, 1000, 1000)).await, Ok(20_000), "at the rate");
        assert_eq!(received(dripping(10, 500, 900)).await, Ok(5000), "the grace lasts for slow starts");
        let late = Pace { timeout: Duration::from_secs(3), ..PACE };
        assert_eq!(receive(dripping(9, 1, 1000), SIZE, late, &client).await.unwrap_err().why, NotReceived::Late);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_refused_holds_no_bytes_while_the_rest_arrives() {
        let client = client();
        assert_eq!(receive(dripping(30, 1000, 10), SIZE, PACE, &client).await.unwrap_err().why, NotReceived::TooLarge);
        let _others = client.take(Resource::BodyBytes, 16 << 20).unwrap();
        let full = client.take_anyway(Resource::BodyBytes, 48 << 20);
        let refused = receive(dripping(10, 1000, 10), SIZE, PACE, &client).await.unwrap_err();
        assert_eq!(refused.why, NotReceived::NoRoom(Exceeded::Node));
        refused.drain().await;
        drop(full);
        assert!(receive(dripping(10, 1000, 10), SIZE, PACE, &client).await.is_ok());
    }
}
