//! Checks of the listeners for encoders.

use super::finding::Finding;
use crate::clock::Clock;
use crate::config::ServeArgs;
use crate::http::client;
use crate::http::tls::{self, Untrusted};
use crate::server::{open_rtmps_tls, public_rtmps_url, reachable, rtmp_address, rtmps_address};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

/// Time limit of a handshake with a running server.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The version of the RTMP handshake, and the bytes of C0 and C1.
const RTMP_VERSION: u8 = 3;
const HANDSHAKE_BYTES: usize = 1537;

/// A listener to check.
struct Listener {
    check: &'static str,
    setting: &'static str,
    address: SocketAddr,
    is_default: bool,
    is_tls: bool,
}

/// The ports of RTMP and RTMPS, and the certificate. `running` is whether a greenroom serves on the address of the API.
pub async fn listeners(args: &ServeArgs, running: bool, clock: &Clock) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some((address, is_default)) = rtmp_address(args, args.listen) {
        let listener = Listener { check: "rtmp port", setting: "--rtmp-listen", address, is_default, is_tls: false };
        found.push(port(&listener, running).await);
    }
    let Some((address, is_default)) = rtmps_address(args, args.listen) else { return found };
    match open_rtmps_tls(args) {
        Err(error) => found.push(Finding::failed("rtmps port", error.to_string())),
        Ok(None) => {
            let text = "RTMPS is off, as there is no certificate: set --rtmps-tls-cert and --rtmps-tls-key";
            found.push(Finding::skipped("rtmps port", text.into()));
        }
        Ok(Some(tls)) => {
            let listener =
                Listener { check: "rtmps port", setting: "--rtmps-listen", address, is_default, is_tls: true };
            found.push(port(&listener, running).await);
            found.push(certificate(&tls, public_rtmps_url(args, address, args.listen).host(), clock));
        }
    }
    found
}

/// Whether a port is free, or the running server answers there as an encoder expects it.
async fn port(listener: &Listener, running: bool) -> Finding {
    let Listener { check, setting, address, is_default, is_tls } = *listener;
    match TcpListener::bind(address).await {
        Ok(_) => Finding::ok(check, format!("TCP {address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse && running => {
            match timeout(TIMEOUT, handshake(reachable(address), is_tls)).await {
                Ok(Ok(())) => Finding::ok(check, format!("the running server answers encoders on TCP {address}")),
                Ok(Err(error)) => Finding::failed(
                    check,
                    format!(
                        "TCP {address} is in use, but not for encoders: {error}; choose another address with {setting}"
                    ),
                ),
                Err(_) => Finding::failed(check, format!("TCP {address} is in use, and no encoder is answered there")),
            }
        }
        Err(error) if is_default => Finding::warning(
            check,
            format!(
                "cannot listen on TCP {address}, so that it will be off: {error}; choose another address with {setting}"
            ),
        ),
        Err(error) => Finding::failed(
            check,
            format!("cannot listen on TCP {address}: {error}; choose another address with {setting}, or set it to off"),
        ),
    }
}

/// Begins the RTMP handshake, as far as the server's first byte.
async fn handshake(address: SocketAddr, is_tls: bool) -> std::io::Result<()> {
    let mut stream = client::connect_unverified(address, is_tls).await?;
    let mut sent = [0; HANDSHAKE_BYTES];
    sent[0] = RTMP_VERSION;
    stream.write_all(&sent).await?;
    stream.flush().await?;
    match stream.read_u8().await? {
        RTMP_VERSION => Ok(()),
        _ => Err(std::io::Error::other("another protocol is served there")),
    }
}

/// Whether encoders trust the certificate.
fn certificate(tls: &tls::Tls, host: &str, clock: &Clock) -> Finding {
    const CHECK: &str = "rtmps cert";
    let Some(file) = tls.file() else {
        let text = "self-signed, made at each start; encoders that verify certificates refuse it: set --rtmps-tls-cert and --rtmps-tls-key";
        return Finding::ok(CHECK, text.into());
    };
    let shown = file.display();
    match tls::verify(file, host, u64::try_from(clock.now().unix_seconds()).unwrap_or(0)) {
        Ok(Ok(())) => Finding::ok(CHECK, format!("{shown} is valid for {host}")),
        Ok(Err(Untrusted::OutOfDate(reason))) => Finding::failed(CHECK, format!("{shown}: {reason}")),
        Ok(Err(Untrusted::Unknown(reason))) => {
            let text = format!("{shown}: {reason}; encoders that verify certificates may refuse it for {host}");
            Finding::warning(CHECK, text)
        }
        Err(error) => Finding::failed(CHECK, error.to_string()),
    }
}
