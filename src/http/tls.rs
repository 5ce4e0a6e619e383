//! TLS: the certificate of the server, which can be reloaded while it runs, and the configurations of clients.

use rcgen::{CertificateParams, CertifiedKey, DnType, KeyPair};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
};
use tokio_rustls::server::TlsStream;

/// The application protocols that a server negotiates (ALPN).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/2 and HTTP/1.1.
    Http,
    /// None: no protocol is registered for RTMP.
    Off,
}

impl Alpn {
    /// The protocols, in order of preference.
    fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Alpn::Http => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Alpn::Off => Vec::new(),
        }
    }
}

/// Why a certificate and its key cannot be used; each message names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read a certificate in {0}: {1}")]
    Certificate(PathBuf, pem::Error),
    #[error("there is no certificate in {0}; it must have at least one, in PEM")]
    NoCertificate(PathBuf),
    #[error("cannot read a private key in {0}: {1}")]
    Key(PathBuf, pem::Error),
    /// The two do not match, or are of an unsupported kind.
    #[error("cannot use the certificate in {0} with the key in {1}: {2}")]
    Pair(PathBuf, PathBuf, rustls::Error),
    #[error("cannot make a self-signed certificate: {0}")]
    SelfSigned(rcgen::Error),
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// The files of a certificate chain and of its private key, both PEM.
#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    alpn: Alpn,
}

/// The TLS configuration of a server.
#[derive(Debug)]
pub struct Tls {
    /// `None` for a self-signed certificate.
    files: Option<Files>,
    current: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads a certificate chain and its private key, both PEM files.
    pub fn open(certificate: &Path, key: &Path, alpn: Alpn) -> Result<Tls, TlsError> {
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned(), alpn };
        let current = RwLock::new(Arc::new(read(&files)?));
        Ok(Tls { files: Some(files), current })
    }

    /// Makes a self-signed certificate for these names and IP addresses, and its private key, which are never stored.
    pub fn self_signed(names: Vec<String>, alpn: Alpn) -> Result<Tls, TlsError> {
        let made = self_sign(names).map_err(TlsError::SelfSigned)?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let current = RwLock::new(Arc::new(server_config(vec![made.cert.der().clone()], key, alpn)?));
        Ok(Tls { files: None, current })
    }

    /// The file of the certificate; `None` if it is self-signed, made at start.
    pub fn file(&self) -> Option<&Path> {
        Some(&self.files.as_ref()?.certificate)
    }

    /// Reads the files again, for new connections. After an error the old certificate stays in use. A self-signed certificate
    /// is kept.
    pub fn reload(&self) -> Result<(), TlsError> {
        let Some(files) = &self.files else { return Ok(()) };
        let new = Arc::new(read(files)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Accepts a TLS connection.
    pub async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let config = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        TlsAcceptor::from(config).accept(stream).await
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn self_sign(names: Vec<String>) -> Result<CertifiedKey<KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "greenroom");
    let signing_key = KeyPair::generate()?;
    Ok(CertifiedKey { cert: params.self_signed(&signing_key)?, signing_key })
}

fn read(files: &Files) -> Result<ServerConfig, TlsError> {
    let Files { certificate, key, alpn } = files;
    let chain = read_certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::Key(key.clone(), error))?;
    server_config(chain, secret, *alpn).map_err(|error| TlsError::Pair(certificate.clone(), key.clone(), error))
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    alpn: Alpn,
) -> Result<ServerConfig, rustls::Error> {
    let config = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13, &TLS12])?;
    let mut config = config.with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = alpn.protocols();
    Ok(config)
}

/// The certificates in a PEM file, at least one.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| TlsError::Certificate(path.to_owned(), error))?;
    match certificates.is_empty() {
        true => Err(TlsError::NoCertificate(path.to_owned())),
        false => Ok(certificates),
    }
}

/// Why clients do not trust a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untrusted {
    /// It has expired, or is not valid yet.
    OutOfDate(String),
    /// It is for another host, or of an issuer that this machine does not trust.
    Unknown(String),
}

/// Checks whether a client that trusts the system's root certificates trusts a certificate chain for a host, at `now` in Unix
/// seconds.
pub fn verify(certificate: &Path, host: &str, now: u64) -> Result<Result<(), Untrusted>, TlsError> {
    let chain = read_certificates(certificate)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(system_roots()), provider()).build();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| Untrusted::Unknown(error.to_string()));
    let verified = verifier.map_err(|error| Untrusted::Unknown(error.to_string())).and_then(|verifier| {
        let (name, now) = (name?, UnixTime::since_unix_epoch(Duration::from_secs(now)));
        let (leaf, intermediates) = chain.split_first().ok_or_else(|| Untrusted::Unknown("no certificate".into()))?;
        verifier.verify_server_cert(leaf, intermediates, &name, &[], now).map(drop).map_err(untrusted)
    });
    Ok(verified)
}

fn untrusted(error: rustls::Error) -> Untrusted {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    match &error {
        rustls::Error::InvalidCertificate(
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. },
        ) => Untrusted::OutOfDate(error.to_string()),
        _ => Untrusted::Unknown(error.to_string()),
    }
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// A client configuration that trusts the system's root certificates, and `extra_roots`.
pub fn client_config(extra_roots: &[CertificateDer<'static>]) -> Result<ClientConfig, TlsError> {
    let mut roots = system_roots();
    roots.add_parsable_certificates(extra_roots.iter().cloned());
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// A client configuration that accepts every certificate. Only for health checks of a server on this machine, which
/// neither send nor trust anything but the status.
pub(super) fn unverified_client_config() -> Result<ClientConfig, TlsError> {
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?.dangerous();
    Ok(config.with_custom_certificate_verifier(Arc::new(AcceptAny(provider()))).with_no_client_auth())
}

/// Accepts every certificate; the proof that the server has its private key is still verified.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// 2031-01-01.
    const LATER: u64 = 1_924_992_000;

    #[test]
    fn certificates_that_are_out_of_date_are_distinguished_from_unknown_ones() {
        let folder = std::env::temp_dir().join(format!("greenroom-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (file, key) = (folder.join("cert.pem"), KeyPair::generate().unwrap());
        let mut params = CertificateParams::new(["ivs.example.org".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        let verified = |host: &str, now| verify(&file, host, now).unwrap().unwrap_err();
        assert!(matches!(verified("ivs.example.org", LATER), Untrusted::OutOfDate(_)));
        assert!(matches!(verified("ivs.example.org", LATER - (2 << 25)), Untrusted::Unknown(_)));
        assert!(matches!(verified("no host", LATER), Untrusted::Unknown(_)));
        std::fs::write(&file, "no certificate").unwrap();
        assert!(matches!(verify(&file, "ivs.example.org", LATER), Err(TlsError::NoCertificate(_))));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_self_signed_certificate_has_no_file_and_is_kept_at_a_reload() {
        let tls = Tls::self_signed(vec!["localhost".into(), "::1".into()], Alpn::Off).unwrap();
        let before = tls.current.read().unwrap().clone();
        tls.reload().unwrap();
        assert!(tls.file().is_none() && Arc::ptr_eq(&before, &tls.current.read().unwrap()));
    }
}
