//! The HTTP layer as the operator has set it.

use super::seconds;
use crate::config::ListenerArgs;
use crate::http::tls::{Alpn, Tls, TlsError};
use crate::http::{BodyTiming, Settings};

/// The settings of an HTTP server.
pub fn settings(args: &ListenerArgs) -> Settings {
    Settings {
        trusted_proxies: args.trusted_proxies.0.clone(),
        max_connections: args.max_connections,
        max_in_flight: args.max_in_flight,
        max_header_bytes: args.max_header_bytes,
        max_buffered_bytes: args.max_buffered_bytes,
        max_client_share: args.max_client_share,
        header_timeout: seconds(args.header_timeout_seconds),
        idle_timeout: seconds(args.idle_timeout_seconds),
        write_timeout: seconds(args.write_timeout_seconds),
        body_timing: BodyTiming { timeout: seconds(args.body_timeout_seconds), min_rate: args.min_body_rate },
    }
}

/// The certificate and its key, if they are set.
pub fn open_tls(args: &ListenerArgs) -> Result<Option<Tls>, TlsError> {
    match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => Tls::open(certificate, key, Alpn::Http).map(Some),
        _ => Ok(None),
    }
}
