//! Settings of the listeners for encoders, which publish over RTMP and RTMPS.

use super::{OptionalListener, group, optional_address};
use clap::Args;
use std::path::PathBuf;

/// Path of the stage endpoints for encoders, as AWS has it.
const PATH: &str = "/app/";
/// Default port of RTMP.
const RTMP_PORT: u16 = 1935;
/// Default port of RTMPS.
const RTMPS_PORT: u16 = 443;

/// Settings of the listeners for encoders.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = group::NETWORK)]
pub struct IngestArgs {
    /// TCP address for encoders over RTMP, or off (default: the address of --listen, its port + 2)
    ///
    /// A default address that is in use is logged, and RTMP is off.
    #[arg(long, env = "GREENROOM_RTMP_LISTEN", value_name = "ADDRESS", value_parser = optional_address)]
    pub rtmp_listen: Option<OptionalListener>,
    /// TCP address for encoders over RTMPS, or off (default: the address of --listen, its port + 3)
    ///
    /// Without a certificate, a loopback address gets a self-signed one, and the default is off on other addresses. A default
    /// address that is in use is logged, and RTMPS is off.
    #[arg(long, env = "GREENROOM_RTMPS_LISTEN", value_name = "ADDRESS", value_parser = optional_address)]
    pub rtmps_listen: Option<OptionalListener>,
    /// Certificate chain to serve RTMPS with: PEM; reloaded with its key at SIGHUP (default: --tls-cert)
    #[arg(long, env = "GREENROOM_RTMPS_TLS_CERT", value_name = "FILE", requires = "rtmps_tls_key")]
    pub rtmps_tls_cert: Option<PathBuf>,
    /// Private key of the certificate for RTMPS: PEM (default: --tls-key)
    #[arg(long, env = "GREENROOM_RTMPS_TLS_KEY", value_name = "FILE", requires = "rtmps_tls_cert")]
    pub rtmps_tls_key: Option<PathBuf>,
    /// RTMP URL of the server in stage endpoints: rtmp://HOST:PORT/app/ (default: the public host, and the port of --rtmp-listen)
    #[arg(long, env = "GREENROOM_RTMP_PUBLIC_URL", value_name = "URL", value_parser = IngestUrl::rtmp)]
    pub rtmp_public_url: Option<IngestUrl>,
    /// RTMPS URL of the server in stage endpoints: rtmps://HOST:PORT/app/ (default: the public host, and the port of --rtmps-listen)
    #[arg(long, env = "GREENROOM_RTMPS_PUBLIC_URL", value_name = "URL", value_parser = IngestUrl::rtmps)]
    pub rtmps_public_url: Option<IngestUrl>,
    /// Maximum concurrent connections of encoders; further ones are closed immediately
    ///
    /// --max-client-share limits those of one client address.
    #[arg(long, env = "GREENROOM_MAX_RTMP_CONNECTIONS", default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = group::LIMITS)]
    pub max_rtmp_connections: u32,
    /// Timeout of an encoder until it publishes, and while it sends no media, in seconds; then it is disconnected
    ///
    /// The time until it publishes includes the TLS handshake.
    #[arg(long, env = "GREENROOM_RTMP_TIMEOUT_SECONDS", default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=3600), help_heading = group::LIMITS)]
    pub rtmp_timeout_seconds: u32,
}

/// Public URL of a listener for encoders, which ends in `/app/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestUrl(String);

impl IngestUrl {
    /// The URL of RTMP at a host, which is a name or an IP address (IPv6 in brackets). The default port is left out.
    pub fn of_rtmp(host: &str, port: u16) -> Self {
        match port {
            RTMP_PORT => IngestUrl(format!("rtmp://{host}{PATH}")),
            port => IngestUrl(format!("rtmp://{host}:{port}{PATH}")),
        }
    }

    /// The URL of RTMPS at a host. It has always a port, as AWS's have.
    pub fn of_rtmps(host: &str, port: u16) -> Self {
        IngestUrl(format!("rtmps://{host}:{port}{PATH}"))
    }

    /// Parses `rtmp://HOST[:PORT][/app/]`.
    fn rtmp(text: &str) -> Result<Self, String> {
        let (host, port) = parse(text, "rtmp")?;
        Ok(IngestUrl::of_rtmp(&host, port.unwrap_or(RTMP_PORT)))
    }

    /// Parses `rtmps://HOST[:PORT][/app/]`.
    fn rtmps(text: &str) -> Result<Self, String> {
        let (host, port) = parse(text, "rtmps")?;
        Ok(IngestUrl::of_rtmps(&host, port.unwrap_or(RTMPS_PORT)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        let authority = self.0.split('/').nth(2).unwrap_or_default();
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        };
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

/// Host and port of a URL of this scheme with the path `/app/`.
fn parse(text: &str, scheme: &str) -> Result<(String, Option<u16>), String> {
    let wrong = || format!("use {scheme}://HOST:PORT{PATH}");
    let uri: axum::http::Uri = text.parse().map_err(|_| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?;
    let port = match authority.as_str().strip_prefix(authority.host()).ok_or_else(wrong)? {
        "" => None,
        port => {
            Some(port.strip_prefix(':').and_then(|port| port.parse().ok()).filter(|port| *port > 0).ok_or_else(wrong)?)
        }
    };
    // Every URL must fit the 2,048 characters of a stage endpoint.
    let is_valid = uri.scheme_str() == Some(scheme)
        && !authority.host().is_empty()
        && uri.query().is_none()
        && ["", "/app"].contains(&uri.path().trim_end_matches('/'))
        && text.len() <= 1024;
    if is_valid { Ok((authority.host().to_owned(), port)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_urls_end_in_app() {
        for (text, url) in [
            ("rtmp://ingest.example.org", "rtmp://ingest.example.org/app/"),
            ("rtmp://ingest.example.org:1935/", "rtmp://ingest.example.org/app/"),
            ("rtmp://ingest.example.org:19350/app", "rtmp://ingest.example.org:19350/app/"),
            ("rtmp://[2001:db8::1]:4602/app/", "rtmp://[2001:db8::1]:4602/app/"),
            ("rtmp://[2001:db8::1]", "rtmp://[2001:db8::1]/app/"),
        ] {
            assert_eq!(IngestUrl::rtmp(text).as_ref().map(IngestUrl::as_str), Ok(url), "{text}");
        }
    }

    #[test]
    fn urls_of_rtmps_have_a_port() {
        for (text, url) in [
            ("rtmps://ingest.example.org", "rtmps://ingest.example.org:443/app/"),
            ("rtmps://192.0.2.1:4603/app/", "rtmps://192.0.2.1:4603/app/"),
        ] {
            assert_eq!(IngestUrl::rtmps(text).as_ref().map(IngestUrl::as_str), Ok(url), "{text}");
        }
    }

    #[test]
    fn other_schemes_paths_and_ports_are_refused() {
        for bad in [
            "",
            "ingest.example.org",
            "rtmps://ingest.example.org/app/",
            "http://ingest.example.org/app/",
            "rtmp://",
            "rtmp:///app/",
            "rtmp://user:secret@ingest.example.org/app/",
            "rtmp://ingest.example.org:0/app/",
            "rtmp://ingest.example.org:65536/app/",
            "rtmp://ingest.example.org:/app/",
            "rtmp://ingest.example.org/live/",
            "rtmp://ingest.example.org/app/key",
            "rtmp://ingest.example.org/app/?key=1",
        ] {
            assert_eq!(IngestUrl::rtmp(bad), Err("use rtmp://HOST:PORT/app/".into()), "{bad}");
        }
    }

    #[test]
    fn the_host_is_without_port_and_brackets() {
        for (url, host) in [
            (IngestUrl::of_rtmps("ingest.example.org", 443), "ingest.example.org"),
            (IngestUrl::of_rtmps("[::1]", 443), "::1"),
            (IngestUrl::of_rtmp("[2001:db8::1]", 1935), "2001:db8::1"),
            (IngestUrl::of_rtmp("192.0.2.1", 4602), "192.0.2.1"),
        ] {
            assert_eq!(url.host(), host, "{url:?}");
        }
    }
}
