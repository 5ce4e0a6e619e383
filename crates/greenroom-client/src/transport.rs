//! A task that drives a [`PeerConnection`] over its own UDP socket.
//!
//! Each connection has a socket of its own, because servers identify connections by the source addresses of datagrams: only
//! the first datagrams carry an ICE username fragment.

use super::peer_connection::{LivePacket, Next, PeerConnection, PeerConnectionError};
use super::stats::{ConnectionStats, State};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

/// Interval at which statistics are published while the state does not change.
const STATS_INTERVAL: Duration = Duration::from_millis(100);
/// Maximum datagrams received before timers are handled.
const RECEIVE_BATCH: usize = 32;
/// Maximum packets of a live publisher that are sent before timers are handled.
const LIVE_BATCH: usize = 64;
/// Larger than any datagram of WebRTC.
const MAX_DATAGRAM_BYTES: usize = 2048;

/// Why a media connection could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error(transparent)]
    PeerConnection(#[from] PeerConnectionError),
    #[error("the answer has no UDP candidate")]
    NoAddress,
    #[error("cannot open a UDP socket for {0}: {1}")]
    Socket(SocketAddr, std::io::Error),
}

/// Receives the statistics of a connection; keeps the final ones after it is closed.
pub type StatsReceiver = watch::Receiver<ConnectionStats>;

/// A media connection. Its task is aborted when this is dropped.
#[derive(Debug)]
pub struct MediaTransport {
    stats: StatsReceiver,
    stop: Arc<Notify>,
    task: JoinHandle<()>,
}

impl MediaTransport {
    /// Accepts the SDP answer, which came from `server_ip`, and starts the task. `packets`: of a live publisher.
    pub async fn start(
        mut peer_connection: PeerConnection,
        answer: &str,
        server_ip: IpAddr,
        packets: Option<mpsc::Receiver<LivePacket>>,
    ) -> Result<MediaTransport, TransportError> {
        peer_connection.accept(answer)?;
        let server = preferred(&udp_candidates(answer), server_ip).ok_or(TransportError::NoAddress)?;
        let failed = |error| TransportError::Socket(server, error);
        let local = local_ip(server).await.map_err(failed)?;
        let socket = UdpSocket::bind((local, 0)).await.map_err(failed)?;
        peer_connection.set_local_address(socket.local_addr().map_err(failed)?)?;
        let (publish, stats) = watch::channel(peer_connection.stats().clone());
        let stop = Arc::new(Notify::new());
        let task = tokio::spawn(run(peer_connection, socket, packets, publish, stop.clone()));
        Ok(MediaTransport { stats, stop, task })
    }

    /// The latest published statistics.
    pub fn stats(&self) -> ConnectionStats {
        self.stats.borrow().clone()
    }

    pub fn subscribe_stats(&self) -> StatsReceiver {
        self.stats.clone()
    }

    /// Waits until the statistics meet a condition, or the connection is closed.
    pub async fn wait_for(&self, condition: impl Fn(&ConnectionStats) -> bool) -> ConnectionStats {
        let mut stats = self.stats.clone();
        match stats.wait_for(|now| now.state.is_over() || condition(now)).await {
            Ok(now) => now.clone(),
            // The task has ended: these are the final statistics.
            Err(_) => self.stats(),
        }
    }

    /// Closes the connection with a DTLS `close_notify`. Returns the final statistics.
    pub async fn close(mut self) -> ConnectionStats {
        self.stop.notify_one();
        // The task publishes the final statistics before it ends.
        let _ = (&mut self.task).await;
        self.stats()
    }
}

impl Drop for MediaTransport {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Drives a peer connection until it is closed.
async fn run(
    mut peer_connection: PeerConnection,
    socket: UdpSocket,
    mut packets: Option<mpsc::Receiver<LivePacket>>,
    publish: watch::Sender<ConnectionStats>,
    stop: Arc<Notify>,
) {
    let mut bytes = [0; MAX_DATAGRAM_BYTES];
    let mut batch = Vec::with_capacity(LIVE_BATCH);
    let mut published = (Instant::now(), State::Connecting);
    let ended = loop {
        let wait = match send(&mut peer_connection, &socket).await {
            Ok(wait) => wait,
            Err(error) => break Err(error),
        };
        let now = Instant::now();
        if published.1 != peer_connection.stats().state || now - published.0 >= STATS_INTERVAL {
            published = (now, peer_connection.stats().state);
            publish.send_replace(peer_connection.stats().clone());
        }
        if peer_connection.is_closed() {
            break Ok(());
        }
        let done = tokio::select! {
            biased;
            () = stop.notified() => {
                let closed = peer_connection.close(Instant::now());
                break match closed { Ok(()) => send(&mut peer_connection, &socket).await.map(drop), Err(error) => Err(error) };
            }
            ready = socket.readable() => match ready {
                Ok(()) => receive(&mut peer_connection, &socket, &mut bytes).await,
                Err(_) => Ok(()),
            },
            () = next_packets(&mut packets, &mut batch) => {
                let now = Instant::now();
                batch.drain(..).for_each(|packet| peer_connection.forward(packet, now));
                peer_connection.handle_timeout(now)
            }
            () = tokio::time::sleep_until(wait.into()) => peer_connection.handle_timeout(Instant::now()),
        };
        if let Err(error) = done {
            break Err(error);
        }
    };
    let mut last = peer_connection.stats().clone();
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "media connection failed");
        last.state = State::Failed;
    } else if !last.state.is_over() {
        last.state = State::ClosedByServer;
    }
    publish.send_replace(last);
}

/// Waits for packets of a live publisher. Cancel safe.
async fn next_packets(packets: &mut Option<mpsc::Receiver<LivePacket>>, batch: &mut Vec<LivePacket>) {
    if let Some(receiver) = packets
        && receiver.recv_many(batch, LIVE_BATCH).await > 0
    {
        return;
    }
    // There are none, or no more: the publisher is about to close the connection.
    *packets = None;
    std::future::pending().await
}

/// Sends all pending datagrams. Returns the time of the next timeout.
async fn send(peer_connection: &mut PeerConnection, socket: &UdpSocket) -> Result<Instant, PeerConnectionError> {
    loop {
        match peer_connection.poll(Instant::now())? {
            // A full buffer or an unreachable server counts as packet loss.
            Next::Send(to, bytes) => drop(socket.send_to(&bytes, to).await),
            Next::Wait(until) => return Ok(until),
        }
    }
}

/// Receives up to a batch of datagrams. str0m requires that its output is drained after each input.
async fn receive(
    peer_connection: &mut PeerConnection,
    socket: &UdpSocket,
    bytes: &mut [u8],
) -> Result<(), PeerConnectionError> {
    for _ in 0..RECEIVE_BATCH {
        match socket.try_recv_from(bytes) {
            Ok((length, source)) => peer_connection.receive(source, &bytes[..length], Instant::now())?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            // ICMP port unreachable, for a datagram sent before.
            Err(_) => continue,
        }
        send(peer_connection, socket).await?;
    }
    Ok(())
}

/// The addresses of the UDP candidates of an answer.
fn udp_candidates(answer: &str) -> Vec<SocketAddr> {
    let candidates = answer.lines().filter_map(|line| line.trim_end().strip_prefix("a=candidate:"));
    let parse = |candidate: &str| {
        // Foundation, component, protocol, priority, address, port.
        let fields: Vec<_> = candidate.split_ascii_whitespace().collect();
        let [_, _, protocol, _, address, port, ..] = fields[..] else { return None };
        let udp = protocol.eq_ignore_ascii_case("udp");
        udp.then(|| Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?))).flatten()
    };
    candidates.filter_map(parse).collect()
}

/// The preferred address: that of the signaling server, then one of the same scope (loopback or not).
fn preferred(addresses: &[SocketAddr], server_ip: IpAddr) -> Option<SocketAddr> {
    let rank = |address: &&SocketAddr| match address.ip() {
        ip if ip == server_ip => 0,
        ip if ip.is_loopback() == server_ip.is_loopback() => 1,
        _ => 2,
    };
    addresses.iter().min_by_key(rank).copied()
}

/// The local address of datagrams to `server`, by the routing table; nothing is sent.
async fn local_ip(server: SocketAddr) -> std::io::Result<IpAddr> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let probe = UdpSocket::bind((any, 0)).await?;
    probe.connect(server).await?;
    Ok(probe.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "v=0\r\na=candidate:1 1 udp 2130706431 127.0.0.1 4601 typ host\r\n\
        a=candidate:2 1 tcp 99 192.0.2.9 9 typ host tcptype active\r\n\
        a=candidate:3 1 UDP 2130706175 192.0.2.1 4601 typ host\r\na=candidate:4 1 udp 1 x.local 4601 typ host\r\n";

    #[test]
    fn the_address_of_the_signaling_server_is_preferred_and_loopback_of_another_machine_comes_last() {
        let all = udp_candidates(ANSWER);
        assert_eq!(all.len(), 2);
        for (server_ip, found) in [
            ("127.0.0.1", "127.0.0.1:4601"),
            ("192.0.2.1", "192.0.2.1:4601"),
            ("198.51.100.7", "192.0.2.1:4601"),
            ("::1", "127.0.0.1:4601"),
        ] {
            assert_eq!(preferred(&all, server_ip.parse().unwrap()), Some(found.parse().unwrap()), "{server_ip}");
        }
        assert_eq!(preferred(&udp_candidates("v=0\r\n"), Ipv4Addr::LOCALHOST.into()), None);
    }

    #[tokio::test]
    async fn a_loopback_server_is_reached_from_loopback() {
        assert_eq!(local_ip("127.0.0.1:4601".parse().unwrap()).await.unwrap(), Ipv4Addr::LOCALHOST);
    }
}
