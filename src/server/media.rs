//! The media socket and the participants' connections, as the operator has set them.

use super::ServerError;
use super::settings::seconds;
use crate::app::App;
use crate::config::{IceArgs, MediaLimitArgs, ParticipantArgs, PublicHost, ServeArgs, Switch};
use crate::connections::{Connections, Limits, Maintenance, Settings};
use crate::signaling;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// Time limit of resolving a name of `--media-public-ip`.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Binds the UDP socket of media. Its default port is the one after the API's.
pub fn bind(args: &ServeArgs, listen: SocketAddr) -> Result<(UdpSocket, SocketAddr), ServerError> {
    let next = if args.listen.port() == 0 { 0 } else { listen.port().checked_add(1).unwrap_or(0) };
    let address = args.participants.media_addr.unwrap_or(SocketAddr::new(listen.ip(), next));
    let failed = |error| ServerError::Media(address, error);
    let socket = greenroom_media::bind(address).map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    Ok((socket, bound))
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
    (socket, bound): (UdpSocket, SocketAddr),
    app: &Arc<App>,
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
        },
        limits: limits(&chosen.limits),
    };
    Connections::start(app.clone(), socket, settings).map_err(|error| ServerError::Media(bound, error))
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
