//! The media socket and the participants' connections, as the operator has set them.

use super::settings::seconds;
use super::{ServerError, reachable};
use crate::app::App;
use crate::config::{IceArgs, MediaLimitArgs, ParticipantArgs, ServeArgs, Switch};
use crate::connections::{Connections, Limits, Maintenance, Settings};
use crate::signaling;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

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

/// Starts the media engine on its socket, and the registry of connections.
pub fn start(
    args: &ServeArgs,
    (socket, bound): (UdpSocket, SocketAddr),
    app: &Arc<App>,
) -> Result<(Arc<Connections>, Maintenance), ServerError> {
    let chosen = &args.participants;
    let mut public_ips = chosen.media_public_ip.clone();
    if public_ips.is_empty() && bound.ip().is_unspecified() {
        public_ips.push(reachable(bound).ip());
    }
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
