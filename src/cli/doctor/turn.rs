//! Checks of STUN and TURN servers: a Binding, or an Allocate with the credentials that participants get.

use super::stun::{self, Message};
use crate::config::{IceServer, TurnCredentials};
use crate::http::client::{self, Stream};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

/// Time limit of the check of one server.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Interval of retransmission over UDP.
const RETRANSMIT: Duration = Duration::from_millis(400);

/// Why the check of a server failed.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    #[error("'{0}' cannot be resolved; check the name")]
    Name(String),
    #[error("cannot connect to {0}: {1}")]
    Connect(String, std::io::Error),
    #[error("no response within {} s; check address, port, transport and firewalls", TIMEOUT.as_secs())]
    Silent,
    #[error("connection lost: {0}")]
    Broken(#[from] std::io::Error),
    #[error("it rejects the credentials ({0} {1}); check user and password, or --turn-secret and both clocks")]
    Credentials(u16, String),
    #[error("it refuses an allocation: {0} {1}")]
    Refused(u16, String),
    #[error("it does not respond as a TURN server; check address and port")]
    Odd,
    #[error("DTLS is not checked here; browsers do not use it either")]
    Dtls,
}

/// The parts of a STUN or TURN URL.
struct Address {
    host: String,
    port: u16,
    secure: bool,
    tcp: bool,
}

impl Address {
    fn of(url: &str) -> Address {
        let (scheme, rest) = url.split_once(':').unwrap_or(("stun", url));
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let secure = scheme.ends_with('s');
        let usual = if secure { 5349 } else { 3478 };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(usual)),
            _ => (place, usual),
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        let tcp = if secure { query != "transport=udp" } else { query == "transport=tcp" };
        Address { host, port, secure, tcp }
    }
}

/// A connection to a server.
enum Channel {
    Udp(UdpSocket),
    Stream(Box<dyn Stream>),
}

impl Channel {
    async fn open(address: &Address) -> Result<Channel, TurnError> {
        let Address { host, port, secure, tcp } = address;
        if *secure && !tcp {
            return Err(TurnError::Dtls);
        }
        if *tcp {
            let stream = client::connect(host, *port, *secure).await;
            let stream = stream.map_err(|error| TurnError::Connect(format!("{host}:{port}"), error))?;
            return Ok(Channel::Stream(stream));
        }
        let unknown = || TurnError::Name(host.clone());
        let server =
            lookup_host((host.as_str(), *port)).await.ok().and_then(|mut all| all.next()).ok_or_else(unknown)?;
        let socket = UdpSocket::bind(unspecified(server)).await?;
        socket.connect(server).await?;
        Ok(Channel::Udp(socket))
    }

    async fn ask(&mut self, request: &[u8]) -> Result<Message, TurnError> {
        match self {
            Channel::Udp(socket) => loop {
                socket.send(request).await?;
                if let Ok(answer) = timeout(RETRANSMIT, answer_to(request, socket)).await {
                    return answer;
                }
            },
            Channel::Stream(stream) => {
                stream.write_all(request).await?;
                stream.flush().await?;
                let mut bytes = vec![0; stun::HEADER];
                stream.read_exact(&mut bytes).await?;
                bytes.resize(stun::HEADER + stun::body_length(&bytes), 0);
                stream.read_exact(&mut bytes[stun::HEADER..]).await?;
                Message::decode(&bytes).ok_or(TurnError::Odd)
            }
        }
    }
}

async fn answer_to(request: &[u8], socket: &UdpSocket) -> Result<Message, TurnError> {
    let mut buffer = [0; 1500];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match Message::decode(&buffer[..length]) {
            Some(message) if message.transaction == request[8..20] => return Ok(message),
            _ => {}
        }
    }
}

/// Every address of the family of another.
pub fn unspecified(like: SocketAddr) -> SocketAddr {
    if like.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() }
}

/// The address of this machine, as a STUN server sees it.
pub async fn binding(server: &IceServer, transaction: [u8; 12]) -> Result<SocketAddr, TurnError> {
    let asking = async {
        let mut channel = Channel::open(&Address::of(server.url())).await?;
        let answer = channel.ask(&Message::new(stun::BINDING, transaction).encode()).await?;
        answer.address(stun::XOR_MAPPED_ADDRESS).ok_or(TurnError::Odd)
    };
    timeout(TIMEOUT, asking).await.unwrap_or(Err(TurnError::Silent))
}

/// Creates an allocation and releases it. Returns the relayed address.
pub async fn allocation(
    server: &IceServer,
    credentials: &TurnCredentials,
    transactions: impl FnMut() -> [u8; 12],
) -> Result<SocketAddr, TurnError> {
    timeout(TIMEOUT, allocate(server, credentials, transactions)).await.unwrap_or(Err(TurnError::Silent))
}

async fn allocate(
    server: &IceServer,
    credentials: &TurnCredentials,
    mut transactions: impl FnMut() -> [u8; 12],
) -> Result<SocketAddr, TurnError> {
    const UDP: [u8; 4] = [17, 0, 0, 0];
    let mut channel = Channel::open(&Address::of(server.url())).await?;
    let mut request = || Message::new(stun::ALLOCATE, transactions()).with(stun::REQUESTED_TRANSPORT, UDP);
    // The first response has realm and nonce.
    let challenge = channel.ask(&request().encode()).await?;
    let (Some(realm), Some(nonce)) = (challenge.attribute(stun::REALM), challenge.attribute(stun::NONCE)) else {
        return relayed(&challenge);
    };
    let answer = channel.ask(&request().encode_authenticated(credentials, realm, nonce)).await?;
    let address = relayed(&answer)?;
    let done = Message::new(stun::REFRESH, transactions()).with(stun::LIFETIME, [0; 4]);
    channel.ask(&done.encode_authenticated(credentials, realm, nonce)).await?;
    Ok(address)
}

fn relayed(answer: &Message) -> Result<SocketAddr, TurnError> {
    if answer.kind == stun::ALLOCATE | stun::SUCCESS {
        return answer.address(stun::XOR_RELAYED_ADDRESS).ok_or(TurnError::Odd);
    }
    match answer.error() {
        Some((code @ (401 | 441), text)) => Err(TurnError::Credentials(code, text)),
        Some((code, text)) if answer.kind == stun::ALLOCATE | stun::ERROR => Err(TurnError::Refused(code, text)),
        _ => Err(TurnError::Odd),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_host_port_and_transport() {
        for (url, host, port, secure, tcp) in [
            ("stun:a.example", "a.example", 3478, false, false),
            ("turn:a.example:443?transport=tcp", "a.example", 443, false, true),
            ("turns:a.example", "a.example", 5349, true, true),
            ("turn:[2001:db8::1]:99", "2001:db8::1", 99, false, false),
            ("turn:[2001:db8::1]", "2001:db8::1", 3478, false, false),
        ] {
            let address = Address::of(url);
            assert_eq!(
                (address.host.as_str(), address.port, address.secure, address.tcp),
                (host, port, secure, tcp),
                "{url}"
            );
        }
        assert!(!Address::of("turns:a?transport=udp").tcp);
    }
}
