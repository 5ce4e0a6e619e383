//! Rate limit on WebSocket control frames (pings and pongs): a token bucket for each socket.

use tokio::time::Instant;

/// Frames that a socket may send at once.
const BURST: f64 = 60.0;
/// Frames per second that it may send for ever. Clients send one every few seconds.
const PER_SECOND: f64 = 10.0;

/// The token bucket of one socket.
#[derive(Debug)]
pub struct ControlFrames {
    tokens: f64,
    updated: Instant,
}

impl ControlFrames {
    /// A full bucket.
    pub fn new() -> Self {
        ControlFrames { tokens: BURST, updated: Instant::now() }
    }

    /// Takes a token for one frame; false if there is none, which means that the client exceeds the rate.
    pub fn take(&mut self) -> bool {
        let now = Instant::now();
        let refilled = now.duration_since(self.updated).as_secs_f64() * PER_SECOND;
        self.tokens = (self.tokens + refilled).min(BURST);
        self.updated = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_allowed_and_then_the_rate() {
        let mut frames = ControlFrames::new();
        assert!((0..60).all(|_| frames.take()));
        assert!(!frames.take());
        tokio::time::advance(Duration::from_millis(101)).await;
        assert!(frames.take() && !frames.take());
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!((0..60).all(|_| frames.take()) && !frames.take());
    }
}
