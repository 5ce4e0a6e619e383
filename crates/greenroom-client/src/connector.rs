//! Connections to the doors: TCP, with TLS where the URL says so.

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

/// Why a connection does not come about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL.
    #[error("'{0}' is not a URL to connect to: use http://, https://, ws:// or wss://, and a host")]
    Url(String),
    /// The network.
    #[error("cannot connect to {0}: {1}")]
    Connect(String, std::io::Error),
    /// The certificates.
    #[error("cannot read certificates in {0}: {1}")]
    Ca(PathBuf, pem::Error),
    /// No certificates.
    #[error("there is no certificate in {0}; it must have at least one, in PEM")]
    NoCa(PathBuf),
    /// One that cannot be used.
    #[error("a certificate in {0} cannot be used: {1}")]
    BadCa(PathBuf, rustls::Error),
    /// TLS cannot be set up at all.
    #[error("TLS cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

/// A connection, plain or inside TLS.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Makes connections.
#[derive(Clone, Default)]
pub struct Connector {
    /// Certificates to trust besides the system's.
    extra: Vec<CertificateDer<'static>>,
    tls: Arc<OnceLock<TlsConnector>>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net").finish_non_exhaustive()
    }
}

/// Where a URL leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whether inside TLS.
    pub secure: bool,
    /// The name or the address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Origin {
    /// Reads a URL.
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
    /// Connections that trust the system's certificates, and those in a file.
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

    /// Connects, and tells who is at the other end.
    pub async fn connect(&self, target: &Origin) -> Result<(Box<dyn Stream>, IpAddr), ConnectError> {
        let failed = |error| ConnectError::Connect(format!("{}:{}", target.host, target.port), error);
        let tcp = TcpStream::connect((target.host.as_str(), target.port)).await.map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        let peer = tcp.peer_addr().map_err(failed)?.ip();
        if !target.secure {
            return Ok((Box::new(tcp), peer));
        }
        let name = ServerName::try_from(target.host.clone()).map_err(|_| ConnectError::Url(target.host.clone()))?;
        let tls = self.connector()?.connect(name, tcp).await.map_err(failed)?;
        Ok((Box::new(tls), peer))
    }

    /// The system's certificates are read when TLS is first needed: it takes a while.
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
    fn urls_say_where_and_whether_inside_tls() {
        let target = |url: &str| Origin::of(&url.parse().unwrap());
        for (url, secure, host, port) in [
            ("http://127.0.0.1:4600/whip", false, "127.0.0.1", 4600),
            ("https://ivs.example.com/whip", true, "ivs.example.com", 443),
            ("ws://[::1]:4600/events/x", false, "::1", 4600),
            ("wss://ivs.example.com", true, "ivs.example.com", 443),
        ] {
            assert_eq!(target(url).unwrap(), Origin { secure, host: host.into(), port }, "{url}");
        }
        for bad in ["ftp://x/", "/whip", "x:80"] {
            assert!(matches!(target(bad), Err(ConnectError::Url(_))), "{bad}");
        }
    }
}
