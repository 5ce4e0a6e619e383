//! Limits on requests: how many at once, how long an address, how slow a body.

use super::{Door, response};
use crate::model::fault::{Fault, RejectionKind};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Most bytes of a path and its query. An ARN and fifty tag keys of full length fit, unless many of their characters are
/// percent-encoded; AWS's own front takes some 10 KB of a whole head.
const URI_BYTES: usize = 8192;

/// Who watches the server must be answered when nobody else is.
pub const NOT_COUNTED: [&str; 3] = ["/_greenroom/health", "/_greenroom/ready", METRICS];
/// Where figures are.
pub const METRICS: &str = "/metrics";

/// How much is taken at once, and for how long it is waited for.
#[derive(Debug)]
pub struct Limits {
    places: Semaphore,
    streams: Arc<Semaphore>,
    most: usize,
    most_streams: usize,
    body: Duration,
}

impl Limits {
    /// At most so many requests at work at once, each with its body in so much time, and so many streams of events.
    pub fn new(in_flight: usize, streams: usize, body: Duration) -> Self {
        Limits {
            places: Semaphore::new(in_flight),
            streams: Arc::new(Semaphore::new(streams)),
            most: in_flight,
            most_streams: streams,
            body,
        }
    }

    /// A place among the streams, held for as long as one lasts, unless there are as many as there may be.
    pub fn stream(&self) -> Option<OwnedSemaphorePermit> {
        self.streams.clone().try_acquire_owned().ok()
    }

    /// A place among the requests at work, unless there are as many as there may be.
    pub fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.try_acquire().ok()
    }

    /// How many requests are at work, and how many may be.
    pub fn at_work(&self) -> (usize, usize) {
        (self.most.saturating_sub(self.places.available_permits()), self.most)
    }

    /// How many streams are open.
    pub fn streaming(&self) -> usize {
        self.most_streams.saturating_sub(self.streams.available_permits())
    }

    /// In how much time a body must arrive.
    pub fn body(&self) -> Duration {
        self.body
    }

    /// What reads a body, stopped when its time is over.
    pub async fn in_time<T>(&self, reading: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        tokio::time::timeout(self.body, reading).await.unwrap_or_else(|_| {
            let text = format!("The body did not arrive within {} seconds", self.body.as_secs_f64());
            Err(Fault::rejected(RejectionKind::Timeout, text))
        })
    }
}

/// Lets a request in, or refuses it at once: a queue would only make everyone wait until they have given up.
pub async fn admit(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    admitted(&door, request, |request| next.run(request)).await
}

/// The same in front of whatever answers.
pub(super) async fn admitted<F>(door: &Door, request: Request, next: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let uri = request.uri();
    if uri.path_and_query().map_or(0, |uri| uri.as_str().len()) > URI_BYTES {
        let text = format!("The path and the query have more than {URI_BYTES} bytes");
        return response::fault(&Fault::rejected(RejectionKind::UriTooLong, text));
    }
    if NOT_COUNTED.contains(&uri.path()) {
        return next(request).await;
    }
    let Some(_place) = door.limits.place() else {
        door.app.metrics.refusals.in_flight.inc();
        let text = "The service is at work on as many requests as it takes at once (--max-in-flight); try again";
        return response::fault(&Fault::rejected(RejectionKind::Unavailable, text));
    };
    next(request).await
}
