//! Limits of concurrent event streams: of the node, and of each access key.

use crate::config::EventArgs;
use crate::http::Exceeded;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// The limits of event streams, and the streams that are open.
#[derive(Debug)]
pub struct StreamLimits {
    /// Held while events are matched with a pattern: one stream at a time, so that matching leaves processors to other work.
    pub matching: Semaphore,
    open: Arc<OpenStreams>,
}

/// The open event streams by access key.
#[derive(Debug)]
struct OpenStreams {
    max: usize,
    max_per_key: usize,
    by_key: Mutex<HashMap<String, usize>>,
}

/// The permit of an event stream, released on drop.
#[derive(Debug)]
pub struct StreamPermit {
    open: Arc<OpenStreams>,
    key: String,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut by_key = self.open.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_key.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                by_key.remove(&self.key);
            }
        }
    }
}

impl StreamLimits {
    /// The limits that the operator has set.
    pub fn new(args: &EventArgs) -> Self {
        StreamLimits {
            matching: Semaphore::new(1),
            open: Arc::new(OpenStreams {
                max: args.max_event_streams as usize,
                max_per_key: args.max_event_streams_per_key as usize,
                by_key: Mutex::default(),
            }),
        }
    }

    /// The permit of one more stream for an access key.
    pub fn acquire(&self, key: &str) -> Result<StreamPermit, Exceeded> {
        let mut by_key = self.open.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if by_key.values().sum::<usize>() >= self.open.max {
            return Err(Exceeded::Node);
        }
        let count = by_key.entry(key.to_owned()).or_default();
        if *count >= self.open.max_per_key {
            return Err(Exceeded::Client);
        }
        *count += 1;
        Ok(StreamPermit { open: self.open.clone(), key: key.to_owned() })
    }

    /// The number of open streams.
    pub fn count(&self) -> usize {
        self.open.by_key.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}
