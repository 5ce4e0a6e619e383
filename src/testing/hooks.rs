//! What the test API uses of rooms that it does not import; the server connects them.

use crate::clock::Timestamp;
use crate::model::fault::Fault;
use std::pin::Pin;
use std::time::Duration;

/// An asynchronous function without arguments.
pub type Hook<T> = Box<dyn Fn() -> Pin<Box<dyn Future<Output = T> + Send>> + Send + Sync>;

/// Functions and settings of other rooms.
pub struct Hooks {
    /// Ends the media streams that have their maximum duration, and waits until that is in the store.
    pub end_old_streams: Hook<()>,
    /// Completes the recordings of this node whose reconnect window is over, and waits until they have ended.
    pub end_recordings: Hook<()>,
    /// When the next media stream has its maximum duration, by the service's clock.
    pub next_stream_end: Box<dyn Fn() -> Option<Timestamp> + Send + Sync>,
    /// Waits until every event target has been sent what is due. Returns the time of the next attempt.
    pub deliver: Hook<Result<Option<Timestamp>, Fault>>,
    /// Maximum duration of a stream.
    pub max_stream_duration: Duration,
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}
