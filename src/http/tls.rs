//! TLS: the certificate, which can be read again while the server runs.

use crate::config::ListenerArgs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What clients may speak inside TLS, the preferred first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why a certificate and its key cannot be used; each text names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate's file.
    #[error("cannot read a certificate in {0}: {1}")]
    Certificate(PathBuf, pem::Error),
    /// A file without a certificate.
    #[error("there is no certificate in {0}; it must have at least one, in PEM")]
    NoCertificate(PathBuf),
    /// The key's file.
    #[error("cannot read a private key in {0}: {1}")]
    Key(PathBuf, pem::Error),
    /// The two together.
    #[error("cannot use the certificate in {0} with the key in {1}: {2}")]
    Pair(PathBuf, PathBuf, rustls::Error),
}

/// The server's side of TLS.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    now: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads what the operator has named, if anything.
    pub fn open(args: &ListenerArgs) -> Result<Option<Tls>, TlsError> {
        let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) else { return Ok(None) };
        let now = RwLock::new(Arc::new(read(certificate, key)?));
        Ok(Some(Tls { certificate: certificate.clone(), key: key.clone(), now }))
    }

    /// Reads the files again, for connections that begin from now on. If they cannot be used, nothing changes.
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = Arc::new(read(&self.certificate, &self.key)?);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Does the handshake of a connection.
    pub(super) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let config = self.now.read().unwrap_or_else(PoisonError::into_inner).clone();
        TlsAcceptor::from(config).accept(stream).await
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn read(certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| TlsError::Certificate(certificate.to_owned(), error))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(certificate.to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::Key(key.to_owned(), error))?;
    let unfit = |error| TlsError::Pair(certificate.to_owned(), key.to_owned(), error);
    let config = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13, &TLS12]);
    let config = config.map_err(unfit)?.with_no_client_auth().with_single_cert(chain, secret);
    let mut config = config.map_err(unfit)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

/// A connection over TLS to a server that does not have to prove who it is. For `greenroom health` alone, which tells it
/// nothing and believes it nothing but that it lives.
pub async fn connect_unverified(
    stream: TcpStream,
    name: std::net::IpAddr,
) -> std::io::Result<impl AsyncRead + AsyncWrite + Unpin> {
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let config = config.map_err(std::io::Error::other)?.dangerous();
    let config = config.with_custom_certificate_verifier(Arc::new(Anyone(provider()))).with_no_client_auth();
    TlsConnector::from(Arc::new(config)).connect(ServerName::from(name), stream).await
}

/// Takes every certificate for good; that the server has its key is verified all the same.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
