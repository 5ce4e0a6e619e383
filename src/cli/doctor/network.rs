//! Checks of addresses and ports.

use super::finding::Finding;
use super::stun::{self, Message};
use super::turn::unspecified;
use crate::config::{OptionalListener, ServeArgs, Switch};
use crate::http::client;
use crate::ids::Ids;
use crate::server::{interface_addresses, reachable, resolve_media_hosts};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::timeout;

/// Time limit of a probe of an address of this machine.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Interval of retransmission of a probe.
const RETRANSMIT: Duration = Duration::from_millis(200);

/// Settings that matter if other machines can connect.
pub fn exposure(args: &ServeArgs) -> Vec<Finding> {
    let mut found = Vec::new();
    if args.listen.ip().is_loopback() {
        found.push(Finding::ok(
            "exposure",
            "the API is reachable from this machine only, or through a proxy on it".into(),
        ));
        return found;
    }
    if args.dev_credentials == Switch::On {
        let text = "development keys are on, and --listen is not a loopback address: set --dev-credentials=off, and create keys with greenroom credentials create";
        found.push(Finding::failed("exposure", text.into()));
    }
    if args.public_url.is_none() && args.listen.ip().is_unspecified() {
        let text = "tokens and stage endpoints contain 127.0.0.1: set --public-url to the URL that clients use";
        found.push(Finding::warning("exposure", text.into()));
    }
    if found.is_empty() {
        found.push(Finding::ok("exposure", "development keys are off, and the public URL is set".into()));
    }
    found
}

/// Whether the address of the API is free; the flag is whether a greenroom serves there already.
pub async fn api(args: &ServeArgs) -> (Finding, bool) {
    let address = args.listen;
    let error = match TcpListener::bind(address).await {
        Ok(_) => return (Finding::ok("api", format!("TCP {address} is free")), false),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::AddrInUse => match timeout(TIMEOUT, version(args)).await.ok().flatten() {
            Some(version) => (Finding::ok("api", format!("greenroom {version} answers on {address}")), true),
            None => {
                let text =
                    format!("another program uses TCP {address}: stop it, or choose another address with --listen");
                (Finding::failed("api", text), false)
            }
        },
        ErrorKind::AddrNotAvailable => {
            (Finding::failed("api", format!("this machine does not have the address {}", address.ip())), false)
        }
        _ => (Finding::failed("api", format!("cannot listen on {address}: {error}")), false),
    }
}

/// The version of the greenroom that listens on the address of the API.
async fn version(args: &ServeArgs) -> Option<String> {
    let (address, is_tls) = (reachable(args.listen), args.listener.tls_cert.is_some());
    let (_, body) = client::get_unverified(address, is_tls, "/_greenroom/health").await.ok()?;
    let health: serde_json::Value = serde_json::from_slice(&body).ok()?;
    Some(health["version"].as_str()?.to_owned())
}

/// The port and the advertised addresses of media. `running` is whether a greenroom serves on the address of the API.
pub async fn media(args: &ServeArgs, running: bool, ids: &Ids) -> Vec<Finding> {
    let next = args.listen.port().checked_add(1).filter(|next| *next != 1).unwrap_or(0);
    let address = args.participants.media_addr.unwrap_or(SocketAddr::new(args.listen.ip(), next));
    let (socket, port) = match UdpSocket::bind(address).await {
        Ok(socket) => (Some(socket), Finding::ok("media port", format!("UDP {address} is free"))),
        Err(error) if error.kind() == ErrorKind::AddrInUse && running => {
            let text = format!(
                "UDP {address} is in use, probably by the running server, and cannot be probed: stop the server, or try greenroom join"
            );
            (None, Finding::skipped("media port", text))
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let text =
                format!("another program uses UDP {address}: stop it, or choose another address with --media-addr");
            (None, Finding::failed("media port", text))
        }
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            (None, Finding::failed("media port", format!("this machine does not have the address {}", address.ip())))
        }
        Err(error) => (None, Finding::failed("media port", format!("cannot use UDP {address}: {error}"))),
    };
    let mut found = vec![port];
    found.extend(media_tcp(args, address, running).await);
    let hosts = &args.participants.media_public_ip;
    let mut advertised = match resolve_media_hosts(hosts, address.ip()).await {
        Ok(advertised) => advertised,
        Err(error) => {
            found.push(Finding::failed("media address", error.to_string()));
            return found;
        }
    };
    if hosts.is_empty() && address.ip().is_unspecified() {
        advertised = interface_addresses(address.ip());
        found.extend(only_local(&advertised));
    } else if hosts.is_empty() {
        advertised.push(address.ip());
    }
    for ip in advertised {
        found.push(advertised_address(ip, socket.as_ref(), args, ids).await);
    }
    found
}

/// The TCP port of media, unless it is off or that of the API.
async fn media_tcp(args: &ServeArgs, udp: SocketAddr, running: bool) -> Option<Finding> {
    const CHECK: &str = "media tcp";
    let address = match args.participants.media_tcp_addr {
        Some(OptionalListener::Off) => return None,
        Some(OptionalListener::At(address)) => address,
        None => udp,
    };
    if address.port() != 0 && address.port() == args.listen.port() {
        return Some(Finding::ok(CHECK, format!("TCP {address} is shared with the API")));
    }
    Some(match TcpListener::bind(address).await {
        Ok(_) => Finding::ok(CHECK, format!("TCP {address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse && running => {
            Finding::skipped(CHECK, format!("TCP {address} is in use, probably by the running server"))
        }
        Err(error) => Finding::warning(
            CHECK,
            format!(
                "cannot use TCP {address}: {error}. Clients whose network blocks UDP need it: stop the other program, or choose another address with --media-tcp-addr"
            ),
        ),
    })
}

/// The finding if clients on other networks cannot reach the addresses of the interfaces.
fn only_local(interfaces: &[IpAddr]) -> Option<Finding> {
    const CHECK: &str = "media address";
    if interfaces.is_empty() {
        let text = "this machine has no network address, so media work on this machine only: set --media-public-ip";
        return Some(Finding::failed(CHECK, text.into()));
    }
    let is_private = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_private(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    };
    interfaces.iter().all(is_private).then(|| {
        let text = "clients get only private addresses: set --media-public-ip if they come from other networks";
        Finding::warning(CHECK, text.into())
    })
}

/// Checks one advertised address.
async fn advertised_address(ip: IpAddr, socket: Option<&UdpSocket>, args: &ServeArgs, ids: &Ids) -> Finding {
    const CHECK: &str = "media address";
    if ip.is_unspecified() || ip.is_multicast() {
        return Finding::failed(
            CHECK,
            format!("{ip} is not an address that clients can send to: set --media-public-ip"),
        );
    }
    if ip.is_loopback() && !args.listen.ip().is_loopback() {
        let text = format!("{ip} works for clients on this machine only: set --media-public-ip for others");
        return Finding::warning(CHECK, text);
    }
    let here = UdpSocket::bind(SocketAddr::new(ip, 0)).await.is_ok();
    let Some(socket) = socket else {
        return match here {
            true => Finding::ok(CHECK, format!("{ip} is an address of this machine; its port was not probed")),
            false => {
                Finding::skipped(CHECK, format!("{ip} is not an address of this machine; its port was not probed"))
            }
        };
    };
    let port = socket.local_addr().map_or(0, |address| address.port());
    let target = SocketAddr::new(ip, port);
    match (timeout(TIMEOUT, probe(socket, target, ids)).await, here) {
        (Ok(Ok(())), true) => {
            Finding::ok(CHECK, format!("{target} is an address of this machine, and UDP comes through"))
        }
        (Ok(Ok(())), false) => Finding::ok(CHECK, format!("UDP to {target} comes back to this machine")),
        (_, true) => {
            let text = format!(
                "UDP to {target} does not come through, although it is an address of this machine: check the firewall"
            );
            Finding::failed(CHECK, text)
        }
        (_, false) => {
            let text = format!(
                "{ip} is not an address of this machine, and UDP to {target} does not come back from here. Behind NAT that is normal; check that the router forwards UDP {port} to this machine"
            );
            Finding::warning(CHECK, text)
        }
    }
}

/// Sends STUN requests to an advertised address, and responds to those that arrive on the media socket.
async fn probe(media: &UdpSocket, target: SocketAddr, ids: &Ids) -> std::io::Result<()> {
    let client = UdpSocket::bind(unspecified(target)).await?;
    client.connect(target).await?;
    let request = Message::new(stun::BINDING, transaction(ids));
    let (mut asked, mut answered) = ([0; 1500], [0; 1500]);
    let mut send = tokio::time::interval(RETRANSMIT);
    loop {
        tokio::select! {
            _ = send.tick() => { client.send(&request.encode()).await?; }
            Ok((length, source)) = media.recv_from(&mut asked) => {
                if let Some(message) = Message::decode(&asked[..length]).filter(|message| *message == request) {
                    media.send_to(&message.answer(source).encode(), source).await?;
                }
            }
            Ok(length) = client.recv(&mut answered) => {
                if Message::decode(&answered[..length]).is_some_and(|answer| answer.transaction == request.transaction) {
                    return Ok(());
                }
            }
        }
    }
}

/// A fresh transaction id.
pub fn transaction(ids: &Ids) -> [u8; 12] {
    let mut transaction = [0; 12];
    transaction.iter_mut().zip(ids.resource().bytes()).for_each(|(to, from)| *to = from);
    transaction
}
