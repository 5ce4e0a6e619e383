//! The listeners for encoders, as the operator has set them.

use super::error::bind_failure;
use super::settings::{public_url, seconds};
use super::{ServerError, reachable};
use crate::app::App;
use crate::config::{IngestUrl, OptionalListener, ServeArgs, Switch};
use crate::connections::Connections;
use crate::http::tls::{Alpn, Tls};
use crate::ingest::{IngestServer, NodeAdmission, Settings, Transport};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;

/// Offsets of the default ports from the API's; the next one is that of media.
const RTMP_PORT_OFFSET: u16 = 2;
const RTMPS_PORT_OFFSET: u16 = 3;

/// A bound socket with its address.
type Bound = (TcpListener, SocketAddr);

/// The sockets of encoders. A listener that is off has none.
pub struct IngestSockets {
    rtmp: Option<Bound>,
    rtmps: Option<(Bound, Arc<Tls>)>,
}

/// The addresses at which encoders are served.
#[derive(Clone, Debug, Default)]
pub struct IngestAddresses {
    pub rtmp: Option<SocketAddr>,
    pub rtmps: Option<SocketAddr>,
    /// Whether the certificate of RTMPS is self-signed.
    pub is_self_signed: bool,
}

impl IngestAddresses {
    /// The listeners, as this machine reaches them; `None` without any.
    pub fn summary(&self) -> Option<String> {
        let url = |address: SocketAddr, of: fn(&str, u16) -> IngestUrl| {
            let address = reachable(address);
            of(&bracketed(address.ip()), address.port()).as_str().to_owned()
        };
        let note = if self.is_self_signed {
            " (self-signed certificate; encoders that verify certificates refuse it)"
        } else {
            ""
        };
        let rtmp = self.rtmp.map(|address| url(address, IngestUrl::of_rtmp));
        let rtmps = self.rtmps.map(|address| url(address, IngestUrl::of_rtmps) + note);
        let urls: Vec<_> = rtmp.into_iter().chain(rtmps).collect();
        (!urls.is_empty()).then(|| urls.join(", "))
    }
}

/// The address of RTMP, and whether it is the default; `None` if it is off. `api` is the address of the API.
pub fn rtmp_address(args: &ServeArgs, api: SocketAddr) -> Option<(SocketAddr, bool)> {
    chosen(args.ingest.rtmp_listen, default_address(args, api, RTMP_PORT_OFFSET))
}

/// The address of RTMPS, and whether it is the default; `None` if it is off. `api` is the address of the API.
pub fn rtmps_address(args: &ServeArgs, api: SocketAddr) -> Option<(SocketAddr, bool)> {
    chosen(args.ingest.rtmps_listen, default_address(args, api, RTMPS_PORT_OFFSET))
}

fn chosen(setting: Option<OptionalListener>, default: SocketAddr) -> Option<(SocketAddr, bool)> {
    match setting {
        Some(OptionalListener::Off) => None,
        Some(OptionalListener::At(address)) => Some((address, false)),
        None => Some((default, true)),
    }
}

/// The default address of a listener: that of the API with another port. If any port will do for the API, any will do here.
fn default_address(args: &ServeArgs, api: SocketAddr, offset: u16) -> SocketAddr {
    let port = if args.listen.port() == 0 { 0 } else { next_port(api, offset) };
    SocketAddr::new(api.ip(), port)
}

/// The port at this offset from the API's; 0 if there is none.
fn next_port(api: SocketAddr, offset: u16) -> u16 {
    api.port().checked_add(offset).unwrap_or(0)
}

/// The certificate of RTMPS; `None` if RTMPS is off. Errors: a certificate that cannot be used, or none for a chosen address
/// that is not loopback.
pub fn open_tls(args: &ServeArgs) -> Result<Option<Arc<Tls>>, ServerError> {
    let Some((address, is_default)) = rtmps_address(args, args.listen) else { return Ok(None) };
    let own = args.ingest.rtmps_tls_cert.as_ref().zip(args.ingest.rtmps_tls_key.as_ref());
    let shared = args.listener.tls_cert.as_ref().zip(args.listener.tls_key.as_ref());
    if let Some((certificate, key)) = own.or(shared) {
        return Ok(Some(Arc::new(Tls::open(certificate, key, Alpn::Off)?)));
    }
    match (address.ip().is_loopback(), is_default) {
        (true, _) => Ok(Some(Arc::new(Tls::self_signed(certificate_names(args, address), Alpn::Off)?))),
        (false, true) => Ok(None),
        (false, false) => Err(ServerError::NoRtmpsCertificate(address)),
    }
}

/// The names of a self-signed certificate: those of this machine, and the public host.
fn certificate_names(args: &ServeArgs, address: SocketAddr) -> Vec<String> {
    let mut names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let host = public_rtmps_url(args, address, args.listen).host().to_owned();
    if host.is_ascii() && !names.contains(&host) {
        names.push(host);
    }
    names
}

/// Binds the sockets. A default address that is in use is no error: the listener is off.
pub async fn bind(args: &ServeArgs, api: SocketAddr, tls: Option<Arc<Tls>>) -> Result<IngestSockets, ServerError> {
    let rtmp = match rtmp_address(args, api) {
        None => None,
        Some((address, is_default)) => match bind_one(address).await {
            Err(error) if is_default => off(address, &error, "--rtmp-listen", "RTMP is off"),
            bound => Some(bound.map_err(|error| ServerError::Rtmp(address, error))?),
        },
    };
    let rtmps = match (rtmps_address(args, api), tls) {
        (None, _) => None,
        (Some((address, _)), None) => {
            tracing::info!(%address, reason = "no certificate", setting = "--rtmps-tls-cert", "RTMPS is off");
            None
        }
        (Some((address, is_default)), Some(tls)) => match bind_one(address).await {
            Err(error) if is_default => off(address, &error, "--rtmps-listen", "RTMPS is off"),
            bound => Some((bound.map_err(|error| ServerError::Rtmps(address, error))?, tls)),
        },
    };
    Ok(IngestSockets { rtmp, rtmps })
}

async fn bind_one(address: SocketAddr) -> std::io::Result<Bound> {
    let socket = TcpListener::bind(address).await?;
    let bound = socket.local_addr()?;
    Ok((socket, bound))
}

/// Logs that a listener is off.
fn off<T>(address: SocketAddr, error: &std::io::Error, setting: &str, message: &str) -> Option<T> {
    tracing::warn!(%address, error = bind_failure(error), setting, "{message}");
    None
}

impl IngestSockets {
    pub fn addresses(&self) -> IngestAddresses {
        IngestAddresses {
            rtmp: self.rtmp.as_ref().map(|(_, address)| *address),
            rtmps: self.rtmps.as_ref().map(|((_, address), _)| *address),
            is_self_signed: self.rtmps.as_ref().is_some_and(|(_, tls)| tls.file().is_none()),
        }
    }

    /// The server on these sockets.
    pub fn server(self, args: &ServeArgs, app: &App, connections: &Arc<Connections>) -> IngestServer {
        let settings = Settings {
            timeout: seconds(args.ingest.rtmp_timeout_seconds),
            strict_ivs: args.participants.strict_ivs == Switch::On,
            max_connections: args.ingest.max_rtmp_connections,
            max_client_share: args.listener.max_client_share,
        };
        let rtmp = self.rtmp.map(|(socket, _)| (socket, Transport::Rtmp));
        let rtmps = self.rtmps.map(|((socket, _), tls)| (socket, Transport::Rtmps(tls)));
        let admission = Box::new(NodeAdmission::new(connections.clone()));
        let sockets = rtmp.into_iter().chain(rtmps).collect();
        IngestServer::new(sockets, settings, admission, app.metrics().clone(), app.ids().clone())
    }
}

/// The URLs of RTMP and RTMPS in stage endpoints. A listener that is off has the URL of its default port, as AWS's stages have
/// always both.
pub fn public_urls(args: &ServeArgs, api: SocketAddr, addresses: &IngestAddresses) -> (IngestUrl, IngestUrl) {
    let rtmp = addresses.rtmp.unwrap_or(SocketAddr::new(api.ip(), next_port(api, RTMP_PORT_OFFSET)));
    let rtmps = addresses.rtmps.unwrap_or(SocketAddr::new(api.ip(), next_port(api, RTMPS_PORT_OFFSET)));
    let of_rtmp = || IngestUrl::of_rtmp(&public_host(args, rtmp, api), rtmp.port());
    (args.ingest.rtmp_public_url.clone().unwrap_or_else(of_rtmp), public_rtmps_url(args, rtmps, api))
}

/// The URL of RTMPS for encoders. `api` is the address of the API.
pub fn public_rtmps_url(args: &ServeArgs, listener: SocketAddr, api: SocketAddr) -> IngestUrl {
    let of_rtmps = || IngestUrl::of_rtmps(&public_host(args, listener, api), listener.port());
    args.ingest.rtmps_public_url.clone().unwrap_or_else(of_rtmps)
}

/// The host at which encoders reach a listener: that of `--public-url`, or else its own address.
fn public_host(args: &ServeArgs, listener: SocketAddr, api: SocketAddr) -> String {
    match &args.public_url {
        None if !listener.ip().is_unspecified() => bracketed(listener.ip()),
        _ => public_url(args, api).host().to_owned(),
    }
}

/// An IP address as URLs have it.
fn bracketed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests;
