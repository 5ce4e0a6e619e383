//! TCP connections, with TLS for `https` and `wss` URLs.

use hyper::Uri;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// Why a connection cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("'{0}' is not a URL to connect to: use http://, https://, ws:// or wss://, and a host")]
    Url(String),
    #[error("cannot connect to {0}: {1}")]
    Connect(String, std::io::Error),
    #[error("cannot read certificates in {0}: {1}")]
    Ca(PathBuf, pem::Error),
    #[error("no certificate in {0}; at least one is required, in PEM form")]
    NoCa(PathBuf),
    #[error("a certificate in {0} cannot be used: {1}")]
    BadCa(PathBuf, rustls::Error),
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A TCP or TLS connection.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Opens connections.
#[derive(Clone, Default)]
pub struct Connector {
    /// Trusted certificates besides the system's.
    extra: Vec<CertificateDer<'static>>,
    tls: Arc<OnceLock<TlsConnector>>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net").finish_non_exhaustive()
    }
}

/// The origin of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub secure: bool,
    /// Host name or IP address, without brackets.
    pub host: String,
    pub port: u16,
}

impl Origin {
    /// The origin of a URL with the scheme `http`, `https`, `ws` or `wss`.
    pub fn of(url: &Uri) -> Result<Origin, ConnectError> {
        let wrong = || ConnectError::Url(url.to_string());
        let secure = match url.scheme_str() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            _ => return Err(wrong()),
        };
        let host = url.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Origin { secure, host: host.trim_matches(['[', ']']).to_owned(), port })
    }
}

impl Connector {
    /// Trusts the system's certificates, and those in the PEM file `ca`.
    pub fn new(ca: Option<&Path>) -> Result<Connector, ConnectError> {
        let Some(path) = ca else { return Ok(Connector::default()) };
        let extra = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let extra = extra.map_err(|error| ConnectError::Ca(path.to_owned(), error))?;
        if extra.is_empty() {
            return Err(ConnectError::NoCa(path.to_owned()));
        }
        for certificate in &extra {
            let fits = RootCertStore::empty().add(certificate.clone());
            fits.map_err(|error| ConnectError::BadCa(path.to_owned(), error))?;
        }
        Ok(Connector { extra, tls: Arc::default() })
    }

    /// Opens a connection. Also returns the IP address of the other end.
    pub async fn connect(&self, origin: &Origin) -> Result<(Box<dyn Stream>, IpAddr), ConnectError> {
        let failed = |error| ConnectError::Connect(format!("{}:{}", origin.host, origin.port), error);
        let tcp = TcpStream::connect((origin.host.as_str(), origin.port)).await.map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        let remote_ip = tcp.peer_addr().map_err(failed)?.ip();
        if !origin.secure {
            return Ok((Box::new(tcp), remote_ip));
        }
        let name = ServerName::try_from(origin.host.clone()).map_err(|_| ConnectError::Url(origin.host.clone()))?;
        let tls = self.connector()?.connect(name, tcp).await.map_err(failed)?;
        Ok((Box::new(tls), remote_ip))
    }

    /// The system's certificates are read at the first use of TLS: that is slow.
    fn connector(&self) -> Result<&TlsConnector, ConnectError> {
        if let Some(connector) = self.tls.get() {
            return Ok(connector);
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots.add_parsable_certificates(self.extra.iter().cloned());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Ok(self.tls.get_or_init(|| TlsConnector::from(Arc::new(config))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_parsed_from_urls() {
        let origin = |url: &str| Origin::of(&url.parse().unwrap());
        for (url, secure, host, port) in [
            ("http://127.0.0.1:4600/whip", false, "127.0.0.1", 4600),
            ("https://ivs.example.com/whip", true, "ivs.example.com", 443),
            ("ws://[::1]:4600/events/x", false, "::1", 4600),
            ("wss://ivs.example.com", true, "ivs.example.com", 443),
        ] {
            assert_eq!(origin(url).unwrap(), Origin { secure, host: host.into(), port }, "{url}");
        }
        for bad in ["ftp://x/", "/whip", "x:80"] {
            assert!(matches!(origin(bad), Err(ConnectError::Url(_))), "{bad}");
        }
    }
}
