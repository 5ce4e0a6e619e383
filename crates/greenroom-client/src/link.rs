//! A peer connection and the socket beneath it, in a task of their own.
//!
//! Each connection has a socket: a server tells connections apart by the addresses that datagrams come from, as only the
//! first of them name the connection that they belong to.

use super::figures::{Figures, State};
use super::peer::{Next, Peer, PeerError};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// How often others see new figures of a connection whose state does not change.
const SHOW_EVERY: Duration = Duration::from_millis(100);
/// Most datagrams that are taken before time is looked at again.
const BATCH: usize = 32;
/// More than any datagram of WebRTC has.
const DATAGRAM: usize = 2048;

/// Why a connection does not begin.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The answer, or the library.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// An answer that names no address.
    #[error("the answer names no UDP address to send media to")]
    NoAddress,
    /// No socket.
    #[error("cannot open a UDP socket towards {0}: {1}")]
    Socket(SocketAddr, std::io::Error),
}

/// The figures of a connection as they are a moment later, even when it is gone.
pub type Watch = watch::Receiver<Figures>;

/// A connection that runs by itself until it is over, or this is dropped.
#[derive(Debug)]
pub struct Link {
    figures: Watch,
    stop: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Link {
    /// Takes the server's answer and lets the connection begin. `door` is where the answer came from.
    pub async fn start(mut peer: Peer, answer: &str, door: IpAddr) -> Result<Link, LinkError> {
        peer.accept(answer)?;
        let server = preferred(&addresses(answer), door).ok_or(LinkError::NoAddress)?;
        let failed = |error| LinkError::Socket(server, error);
        let local = local_ip(server).await.map_err(failed)?;
        let socket = UdpSocket::bind((local, 0)).await.map_err(failed)?;
        peer.bound(socket.local_addr().map_err(failed)?)?;
        let (show, figures) = watch::channel(peer.figures().clone());
        let stop = Arc::new(Notify::new());
        let task = tokio::spawn(run(peer, socket, show, stop.clone()));
        Ok(Link { figures, stop, task })
    }

    /// Its figures as they were a moment ago.
    pub fn figures(&self) -> Figures {
        self.figures.borrow().clone()
    }

    /// Where its figures can be seen from now on.
    pub fn watch(&self) -> Watch {
        self.figures.clone()
    }

    /// Done when its figures are as wished, or it is over.
    pub async fn until(&self, wish: impl Fn(&Figures) -> bool) -> Figures {
        let mut figures = self.figures.clone();
        match figures.wait_for(|now| now.state.is_over() || wish(now)).await {
            Ok(now) => now.clone(),
            // The task has gone; what it left is the last.
            Err(_) => self.figures(),
        }
    }

    /// Ends it, and says so to the server. Its last figures.
    pub async fn close(mut self) -> Figures {
        self.stop.notify_one();
        // A task that was ended has shown its figures before.
        let _ = (&mut self.task).await;
        self.figures()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Feeds a peer until it is over.
async fn run(mut peer: Peer, socket: UdpSocket, show: watch::Sender<Figures>, stop: Arc<Notify>) {
    let mut bytes = [0; DATAGRAM];
    let mut shown = (Instant::now(), State::Connecting);
    let ended = loop {
        let wait = match send(&mut peer, &socket).await {
            Ok(wait) => wait,
            Err(error) => break Err(error),
        };
        let now = Instant::now();
        if shown.1 != peer.figures().state || now - shown.0 >= SHOW_EVERY {
            shown = (now, peer.figures().state);
            show.send_replace(peer.figures().clone());
        }
        if peer.is_over() {
            break Ok(());
        }
        let done = tokio::select! {
            biased;
            () = stop.notified() => {
                let closed = peer.close(Instant::now());
                break match closed { Ok(()) => send(&mut peer, &socket).await.map(drop), Err(error) => Err(error) };
            }
            ready = socket.readable() => match ready {
                Ok(()) => receive(&mut peer, &socket, &mut bytes).await,
                Err(_) => Ok(()),
            },
            () = tokio::time::sleep_until(wait.into()) => peer.wait_over(Instant::now()),
        };
        if let Err(error) = done {
            break Err(error);
        }
    };
    let mut last = peer.figures().clone();
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection has failed");
        last.state = State::Failed;
    } else if !last.state.is_over() {
        last.state = State::ClosedByServer;
    }
    show.send_replace(last);
}

/// Sends all that there is to send; until when to wait then.
async fn send(peer: &mut Peer, socket: &UdpSocket) -> Result<Instant, PeerError> {
    loop {
        match peer.poll(Instant::now())? {
            // UDP may lose it, and a full buffer, or a server that is not there, is a loss like others.
            Next::Send(to, bytes) => drop(socket.send_to(&bytes, to).await),
            Next::Wait(until) => return Ok(until),
        }
    }
}

/// Takes what has come, a batch at most. After each datagram, the peer is let to work it off.
async fn receive(peer: &mut Peer, socket: &UdpSocket, bytes: &mut [u8]) -> Result<(), PeerError> {
    for _ in 0..BATCH {
        match socket.try_recv_from(bytes) {
            Ok((length, source)) => peer.receive(source, &bytes[..length], Instant::now())?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            // An echo of something sent to a closed port.
            Err(_) => continue,
        }
        send(peer, socket).await?;
    }
    Ok(())
}

/// The UDP addresses that an answer names.
fn addresses(answer: &str) -> Vec<SocketAddr> {
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

/// The address to prefer: that of the door, then one that is not this machine's own.
fn preferred(addresses: &[SocketAddr], door: IpAddr) -> Option<SocketAddr> {
    let rank = |address: &&SocketAddr| match address.ip() {
        ip if ip == door => 0,
        ip if ip.is_loopback() == door.is_loopback() => 1,
        _ => 2,
    };
    addresses.iter().min_by_key(rank).copied()
}

/// The address of this machine that datagrams to `server` leave from; nothing is sent to find it out.
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
    fn the_address_of_the_door_is_preferred_and_others_own_loopback_is_the_last() {
        let all = addresses(ANSWER);
        assert_eq!(all.len(), 2);
        for (door, found) in [
            ("127.0.0.1", "127.0.0.1:4601"),
            ("192.0.2.1", "192.0.2.1:4601"),
            ("198.51.100.7", "192.0.2.1:4601"),
            ("::1", "127.0.0.1:4601"),
        ] {
            assert_eq!(preferred(&all, door.parse().unwrap()), Some(found.parse().unwrap()), "{door}");
        }
        assert_eq!(preferred(&addresses("v=0\r\n"), Ipv4Addr::LOCALHOST.into()), None);
    }

    #[tokio::test]
    async fn a_loopback_server_is_reached_from_loopback() {
        assert_eq!(local_ip("127.0.0.1:4601".parse().unwrap()).await.unwrap(), Ipv4Addr::LOCALHOST);
    }
}
