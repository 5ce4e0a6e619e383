//! Settings of an HTTP server.

use super::body::BodyTiming;
use ipnet::IpNet;
use std::time::Duration;

/// Timeouts and limits of an HTTP server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Networks of proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// Maximum concurrent connections; further ones are closed immediately.
    pub max_connections: u32,
    /// Maximum in-flight requests.
    pub max_in_flight: u32,
    /// Maximum bytes of the head of a request; larger ones get 431.
    pub max_header_bytes: u32,
    /// Maximum bytes of buffered request bodies, and as many again of pending responses.
    pub max_buffered_bytes: u32,
    /// Maximum percentage of each of these that one client may hold.
    pub max_client_share: u32,
    /// Time limit of a TLS handshake, and of the head of a request from its first byte.
    pub header_timeout: Duration,
    /// Time after which a connection without a request is closed.
    pub idle_timeout: Duration,
    /// Time after which a connection is closed whose client does not read its responses.
    pub write_timeout: Duration,
    pub body_timing: BodyTiming,
}

#[cfg(test)]
impl Settings {
    pub(super) fn for_tests() -> Self {
        let second = Duration::from_secs(1);
        Settings {
            trusted_proxies: Vec::new(),
            max_connections: 16,
            max_in_flight: 16,
            max_header_bytes: 8192,
            max_buffered_bytes: 16 << 20,
            max_client_share: 100,
            header_timeout: second,
            idle_timeout: second,
            write_timeout: second,
            body_timing: BodyTiming { timeout: second, min_rate: 1 },
        }
    }
}
