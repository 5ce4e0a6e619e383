//! Accepting connections on a socket, for every kind of listener.

use std::net::IpAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinError;
use tokio::time::Instant;

/// Pause after `accept` fails for lack of resources, such as file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(500);

/// The next connection. Errors of a single connection are ignored; other errors are shortages of the system, after which
/// accepting is tried again.
pub async fn accept(socket: &TcpListener) -> (TcpStream, IpAddr) {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => return (stream, peer.ip().to_canonical()),
            Err(error) => match error.kind() {
                ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted => {}
                _ => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
        }
    }
}

/// Limits how often a message is logged that clients can cause at will.
#[derive(Debug)]
pub struct LogThrottle {
    interval: Duration,
    logged: Option<Instant>,
}

impl LogThrottle {
    /// A throttle with this minimum time between two messages.
    pub fn new(interval: Duration) -> Self {
        LogThrottle { interval, logged: None }
    }

    /// Whether the message is due; if so, the next one is due an interval later.
    pub fn is_due(&mut self) -> bool {
        let due = self.logged.is_none_or(|at| at.elapsed() >= self.interval);
        if due {
            self.logged = Some(Instant::now());
        }
        due
    }
}

/// Logs the panic of a connection's task; other connections are not affected.
pub fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error = &error as &dyn std::error::Error, "connection task panicked");
    }
}
