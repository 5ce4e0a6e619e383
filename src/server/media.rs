//! The media sockets and the participants' connections, as the operator has set them.

use super::ServerError;
use super::error::bind_failure;
use super::settings::seconds;
use crate::api::MediaReader;
use crate::app::App;
use crate::config::{IceArgs, MediaLimitArgs, OptionalListener, ParticipantArgs, PublicHost, ServeArgs, Switch};
use crate::connections::{Connections, Limits, Maintenance, Settings};
use crate::recording::Recordings;
use crate::signaling;
use greenroom_media::{TcpLimits, TcpSource};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// Maximum ports that are tried for UDP and TCP, if any port will do.
const MAX_PORT_ATTEMPTS: usize = 64;
/// Time limit of resolving a name of `--media-public-ip`.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// The sockets of media.
pub struct MediaSockets {
    pub udp: UdpSocket,
    /// The address of `udp`.
    pub address: SocketAddr,
    pub tcp: TcpSource,
}

impl MediaSockets {
    /// The address of media over TCP.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.tcp {
            TcpSource::None => None,
            TcpSource::Listener(listener) => listener.local_addr().ok(),
            TcpSource::HandedOver(address) => Some(*address),
        }
    }
}

/// Binds the sockets of media. The default UDP port is the one after the API's, and the default TCP port is the same.
pub fn bind(args: &ServeArgs, listen: SocketAddr) -> Result<MediaSockets, ServerError> {
    let next = if args.listen.port() == 0 { 0 } else { listen.port().checked_add(1).unwrap_or(0) };
    let wanted = args.participants.media_addr.unwrap_or(SocketAddr::new(listen.ip(), next));
    // With port 0, the system chooses a UDP port that may be in use for TCP.
    let mut others = Vec::new();
    loop {
        let failed = |error| ServerError::Media(wanted, error);
        let udp = greenroom_media::bind(wanted).map_err(failed)?;
        let address = udp.local_addr().map_err(failed)?;
        let tcp = match args.participants.media_tcp_addr {
            Some(OptionalListener::Off) => Ok(TcpSource::None),
            Some(OptionalListener::At(at)) => {
                return listen_on(at, listen)
                    .map(|tcp| MediaSockets { udp, address, tcp })
                    .map_err(|error| ServerError::MediaTcp(at, error));
            }
            None => listen_on(address, listen),
        };
        match tcp {
            Ok(tcp) => return Ok(MediaSockets { udp, address, tcp }),
            Err(_) if wanted.port() == 0 && others.len() < MAX_PORT_ATTEMPTS => others.push(udp),
            Err(error) => {
                let setting = "--media-tcp-addr";
                tracing::warn!(%address, error = bind_failure(&error), setting, "media over TCP is off");
                return Ok(MediaSockets { udp, address, tcp: TcpSource::None });
            }
        }
    }
}

/// A listener for media, unless the address is that of the API, which shares its port.
fn listen_on(address: SocketAddr, api: SocketAddr) -> std::io::Result<TcpSource> {
    let is_same_ip = address.ip() == api.ip() || address.ip().is_unspecified() || api.ip().is_unspecified();
    match is_same_ip && address.port() == api.port() {
        true => Ok(TcpSource::HandedOver(api)),
        false => TcpListener::bind(address).map(TcpSource::Listener),
    }
}

/// The addresses of the network interfaces that a socket on all addresses advertises.
pub fn interface_addresses(socket: IpAddr) -> Vec<IpAddr> {
    greenroom_media::interface_addresses(true, socket.is_ipv6()).unwrap_or_default()
}

/// The settings of signaling. Warns about TURN servers without credentials.
pub fn signaling_settings(args: &ParticipantArgs) -> signaling::Settings {
    warn_of_open_relays(&args.ice);
    signaling::Settings { events_timeout: seconds(args.events_timeout_seconds), ice: args.ice.clone() }
}

/// The addresses of `--media-public-ip`: names are resolved, to addresses of the families of the media address.
pub async fn resolve(hosts: &[PublicHost], media: IpAddr) -> Result<Vec<IpAddr>, ServerError> {
    let mut ips = Vec::new();
    for host in hosts {
        match host {
            PublicHost::Ip(ip) => ips.push(*ip),
            PublicHost::Name(name) => {
                let found = lookup(name, media).await.map_err(|cause| ServerError::MediaName(name.clone(), cause))?;
                tracing::info!(name, addresses = ?found, "public media address resolved");
                ips.extend(found);
            }
        }
    }
    Ok(ips)
}

async fn lookup(name: &str, media: IpAddr) -> Result<Vec<IpAddr>, String> {
    let lookup = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((name, 0))).await;
    let lookup = lookup.map_err(|_| format!("no response within {} s", LOOKUP_TIMEOUT.as_secs()))?;
    let found: Vec<_> = lookup.map_err(|error| error.to_string())?.map(|address| address.ip().to_canonical()).collect();
    let mut ips: Vec<IpAddr> = Vec::new();
    // An IPv6 socket on all addresses receives IPv4 too.
    let is_served = |ip: &IpAddr| ip.is_ipv4() == media.is_ipv4() || (media.is_ipv6() && media.is_unspecified());
    for ip in found.into_iter().filter(is_served) {
        if !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    match ips.is_empty() {
        true => Err(format!("it has no {} address", if media.is_ipv4() { "IPv4" } else { "IPv6" })),
        false => Ok(ips),
    }
}

/// Starts the media engine on its socket, and the registry of connections.
pub fn start(
    args: &ServeArgs,
    public_ips: Vec<IpAddr>,
    sockets: MediaSockets,
    app: &Arc<App>,
    recordings: Recordings,
) -> Result<(Arc<Connections>, Maintenance), ServerError> {
    let chosen = &args.participants;
    let settings = Settings {
        max_stream_duration: seconds(chosen.stream_max_seconds),
        media: greenroom_media::MediaConfig {
            public_ips,
            timeout: seconds(chosen.ice_timeout_seconds),
            strict_ivs: chosen.strict_ivs == Switch::On,
            offer_limits: greenroom_media::OfferLimits {
                max_bytes: chosen.max_offer_bytes as usize,
                max_media_sections: chosen.max_offer_sections as usize,
            },
            tcp_limits: tcp_limits(args),
        },
        limits: limits(&chosen.limits),
    };
    let MediaSockets { udp, address, tcp } = sockets;
    Connections::start(app.clone(), udp, tcp, settings, recordings).map_err(|error| ServerError::Media(address, error))
}

fn tcp_limits(args: &ServeArgs) -> TcpLimits {
    let connections = args.participants.limits.max_media_tcp_connections as usize;
    let per_client = (connections * args.listener.max_client_share as usize / 100).max(1);
    TcpLimits { connections, per_client }
}

/// The API's access to the statistics of the connections.
pub fn reader(connections: &Arc<Connections>) -> MediaReader {
    let connections = connections.clone();
    MediaReader::new(move |query| {
        let connections = connections.clone();
        Box::pin(async move { connections.media_stats(query).await })
    })
}

fn limits(args: &MediaLimitArgs) -> Limits {
    let count = |number| usize::try_from(number).unwrap_or(usize::MAX);
    Limits {
        offers_per_minute: args.max_offers_per_minute,
        patches_per_minute: args.max_patches_per_minute,
        per_participant: count(args.max_media_per_participant),
        per_stage: count(args.max_media_per_stage),
        per_node: count(args.max_media_per_node),
    }
}

/// Browsers refuse TURN servers without credentials.
fn warn_of_open_relays(ice: &IceArgs) {
    for server in ice.ice_servers.iter().filter(|server| server.is_turn() && !ice.needs_credentials(server)) {
        tracing::warn!(
            server = server.url(),
            "TURN server without credentials: browsers do not use it; set --turn-secret, or turn:USER:PASSWORD@HOST"
        );
    }
}
