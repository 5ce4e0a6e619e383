use std::time::Duration;

/// Least time between two requests, and the most that it grows to while none is answered with a picture.
const INTERVAL: Duration = Duration::from_secs(1);
const MAX_INTERVAL: Duration = Duration::from_secs(8);

/// Limits the rate of key-frame requests.
#[derive(Debug)]
pub(super) struct KeyFrameRequests {
    next: Duration,
    interval: Duration,
}

impl KeyFrameRequests {
    pub(super) fn new() -> KeyFrameRequests {
        KeyFrameRequests { next: Duration::ZERO, interval: INTERVAL }
    }

    /// Whether a key frame that is needed is to be requested now.
    pub(super) fn request(&mut self, now: Duration) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now.saturating_add(self.interval);
        self.interval = (self.interval * 2).min(MAX_INTERVAL);
        true
    }

    /// A picture was decoded.
    pub(super) fn answered(&mut self) {
        self.interval = INTERVAL;
    }
}
