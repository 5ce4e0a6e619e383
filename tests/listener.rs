//! The listeners through real sockets: limits, timeouts, upgrades, TLS, proxies, encoders, shutdown.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use axum::body::Bytes;
use axum::extract::Request;
use axum::response::Response;
use clap::Parser as _;
use greenroom::clock::Clock;
use greenroom::config::ServeArgs;
use greenroom::http::tls::Tls;
use greenroom::http::{ClientAddress, ConnectionPermit, HttpServer, HttpService};
use greenroom::ids::Ids;
use greenroom::server::{IngestAddresses, Server, http_settings};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io::BufRead as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// Time limit of every step of a test.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A signed request for a list, with these headers beside the usual ones and without its body, `{}`.
fn head(headers: &str) -> String {
    let now = Clock::System.now();
    let identity = Credentials::new("test", "test", None, None, "test").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("ivs")
        .time(SystemTime::UNIX_EPOCH + Duration::from_secs(now.unix_seconds() as u64))
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let uri = "http://x/ListStages";
    let request = SignableRequest::new("POST", uri, [("host", "x")].into_iter(), SignableBody::Bytes(b"{}")).unwrap();
    let (signed, _) = sign(request, &params).unwrap().into_parts();
    let mut head = String::from("POST /ListStages HTTP/1.1\r\nhost: x\r\n");
    for (name, value) in signed.headers() {
        head += &format!("{name}: {value}\r\n");
    }
    format!("{head}{headers}\r\n")
}

static LIST: LazyLock<Vec<u8>> = LazyLock::new(|| format!("{}{{}}", head("content-length: 2\r\n")).into_bytes());
/// A request without its body: the server sends `100 Continue` when it starts to read the body.
static EXPECT_CONTINUE: LazyLock<Vec<u8>> =
    LazyLock::new(|| head("expect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n").into_bytes());
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

async fn within_timeout<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, what).await.expect("timeout")
}

fn args(flags: &[&str]) -> ServeArgs {
    let base = ["greenroom", "--listen", "127.0.0.1:0", "--database-url", "sqlite::memory:"];
    ServeArgs::parse_from(base.iter().chain(flags))
}

/// A server that serves until it is stopped.
struct TestServer {
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    rtmps_tls: Option<Arc<Tls>>,
    encoders: IngestAddresses,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl TestServer {
    async fn with(flags: &[&str]) -> TestServer {
        let server = Server::start(args(flags), Clock::System, Ids::Random).await.unwrap();
        let (address, encoders) = (server.address, server.encoders.clone());
        let (tls, rtmps_tls) = (server.tls.clone(), server.rtmps_tls.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(server.run(async { drop(stopped.await) }));
        TestServer { address, tls, rtmps_tls, encoders, stop, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes on a new connection and reads the response up to the end of the connection.
    async fn exchange(&self, sent: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(sent).await.unwrap();
        read_to_end(&mut stream).await
    }

    async fn get(&self, path: &str) -> String {
        self.exchange(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await
    }
}

/// Reads up to the end of a connection, which may be a reset.
async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let _ = within_timeout(stream.read_to_end(&mut bytes)).await;
    String::from_utf8(bytes).unwrap()
}

/// Reads one response and leaves the connection open.
async fn read_response(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        text.push(char::from(within_timeout(stream.read_u8()).await.expect("an answer")));
    }
    let length = text.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    within_timeout(stream.read_exact(&mut body)).await.unwrap();
    text + &String::from_utf8(body).unwrap()
}

/// A request whose body the server waits for.
async fn waiting_for_body(server: &TestServer) -> TcpStream {
    let mut stream = server.connect().await;
    stream.write_all(&EXPECT_CONTINUE).await.unwrap();
    let mut bytes = [0; CONTINUE.len()];
    within_timeout(stream.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(bytes, CONTINUE);
    stream
}

/// Requests on an HTTP/2 connection with a flow-control window of zero: they stay in flight, as no byte of their responses
/// can be written.
async fn unread_responses(server: &TestServer, requests: usize) -> Vec<axum::http::Response<hyper::body::Incoming>> {
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(0);
    let handshake = builder.handshake(TokioIo::new(server.connect().await));
    let (mut sender, connection) = within_timeout(handshake).await.unwrap();
    tokio::spawn(connection);
    let head = head("");
    let mut answers = Vec::new();
    for _ in 0..requests {
        let mut request = axum::http::Request::post("http://x/ListStages");
        for (name, value) in head.lines().filter_map(|line| line.split_once(": ")).filter(|(name, _)| *name != "host") {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from_static(b"{}"))).unwrap();
        let answer = within_timeout(sender.send_request(request)).await.unwrap();
        assert_eq!(answer.status(), 200);
        answers.push(answer);
    }
    answers
}

// Limits

#[tokio::test]
async fn a_head_that_does_not_arrive_in_time_closes_the_connection() {
    let server = TestServer::with(&["--header-timeout-seconds", "1"]).await;
    for sent in ["", "P", "PRI * HTTP/2.0\r\n", "POST /ListStages HTTP/1.1\r\nhost: x\r\nx-slow:"] {
        assert_eq!(server.exchange(sent.as_bytes()).await, "", "{sent:?}");
    }
    let mut stream = server.connect().await;
    stream.write_all(&LIST).await.unwrap();
    read_response(&mut stream).await;
    stream.write_all(b"POST /ListSta").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "", "the second head of a connection");
}

#[tokio::test]
async fn a_head_that_trickles_closes_the_connection() {
    let server = TestServer::with(&["--header-timeout-seconds", "1"]).await;
    let mut stream = server.connect().await;
    let mut byte = [0];
    stream.write_all(b"POST /ListStages HTTP/1.1\r\nhost: ").await.unwrap();
    let ended = async {
        loop {
            let pause = tokio::time::sleep(Duration::from_millis(50));
            tokio::select! {
                read = stream.read(&mut byte) => return read.unwrap_or(0),
                () = pause => drop(stream.write_all(b"x").await),
            }
        }
    };
    assert_eq!(within_timeout(ended).await, 0);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = TestServer::with(&["--idle-timeout-seconds", "1", "--header-timeout-seconds", "3600"]).await;
    let mut stream = server.connect().await;
    for _ in 0..2 {
        stream.write_all(&LIST).await.unwrap();
        assert!(read_response(&mut stream).await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(read_to_end(&mut stream).await, "");
}

#[tokio::test]
async fn a_slow_body_gets_408() {
    let server = TestServer::with(&["--body-timeout-seconds", "1"]).await;
    let answer = server.exchange((head("content-length: 20\r\n") + "{\"name\"").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("x-amzn-errortype: RequestTimeoutException\r\n"), "{answer}");
    assert!(answer.contains("\"message\":\"The body did not arrive within 1 seconds\""), "{answer}");
}

#[tokio::test]
async fn a_head_that_is_too_large_gets_431() {
    let server = TestServer::with(&["--max-header-bytes", "8192"]).await;
    let padded = |bytes: usize| {
        format!("GET /_greenroom/health HTTP/1.1\r\nconnection: close\r\nx: {}\r\n\r\n", "y".repeat(bytes))
    };
    assert!(server.exchange(padded(7000).as_bytes()).await.starts_with("HTTP/1.1 200"));
    assert!(server.exchange(padded(9000).as_bytes()).await.starts_with("HTTP/1.1 431"));
    let server = TestServer::with(&[]).await;
    assert!(server.exchange(padded(15_000).as_bytes()).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_long_uri_gets_414() {
    let server = TestServer::with(&[]).await;
    assert!(server.get(&format!("/_greenroom/health?{}", "x".repeat(8000))).await.starts_with("HTTP/1.1 200"));
    let answer = server.get(&format!("/_greenroom/health?{}", "x".repeat(9000))).await;
    assert!(answer.starts_with("HTTP/1.1 414"), "{answer}");
    assert!(answer.contains("x-amzn-errortype: RequestUriTooLongException\r\n"), "{answer}");
}

#[tokio::test]
async fn requests_beyond_the_in_flight_limit_get_503_and_the_others_finish() {
    let server = TestServer::with(&["--max-in-flight", "2"]).await;
    let running = unread_responses(&server, 2).await;
    let mut third = server.connect().await;
    third.write_all(&LIST).await.unwrap();
    let refusal = read_response(&mut third).await;
    assert!(refusal.starts_with("HTTP/1.1 503"), "{refusal}");
    assert!(refusal.contains("retry-after: 1\r\n"), "{refusal}");
    assert!(refusal.contains("x-amzn-errortype: ServiceUnavailableException\r\n"), "{refusal}");
    assert!(refusal.contains("x-amzn-requestid: "), "{refusal}");
    for path in ["/_greenroom/health", "/_greenroom/ready"] {
        assert!(server.get(path).await.starts_with("HTTP/1.1 200"), "{path}");
    }
    drop(running);
    let served = async {
        loop {
            third.write_all(&LIST).await.unwrap();
            let answer = read_response(&mut third).await;
            if answer.starts_with("HTTP/1.1 200") {
                return;
            }
            assert!(answer.starts_with("HTTP/1.1 503"), "a refusal ends no connection: {answer}");
        }
    };
    within_timeout(served).await;
}

#[tokio::test]
async fn a_request_that_waits_for_its_body_is_not_in_flight() {
    let server = TestServer::with(&["--max-in-flight", "1"]).await;
    let mut waiting = [waiting_for_body(&server).await, waiting_for_body(&server).await];
    let mut other = server.connect().await;
    other.write_all(&LIST).await.unwrap();
    assert!(read_response(&mut other).await.starts_with("HTTP/1.1 200"));
    for stream in &mut waiting {
        stream.write_all(b"{}").await.unwrap();
        assert!(read_to_end(stream).await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn the_connection_of_a_client_that_does_not_read_is_closed() {
    let server = TestServer::with(&["--write-timeout-seconds", "1"]).await;
    let answers = unread_responses(&server, 1).await;
    for answer in answers {
        assert!(within_timeout(answer.into_body().collect()).await.is_err(), "the connection is closed");
    }
    let mut other = server.connect().await;
    other.write_all(&LIST).await.unwrap();
    assert!(read_response(&mut other).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_address_is_limited_to_its_share_of_connections_and_others_are_served() {
    let server = TestServer::with(&["--max-connections", "40", "--max-client-share", "50"]).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = server.connect().await;
        stream.write_all(&LIST).await.unwrap();
        read_response(&mut stream).await;
        streams.push(stream);
    }
    assert_eq!(read_to_end(&mut server.connect().await).await, "");
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(server.address).await.unwrap();
    other.write_all(&LIST).await.unwrap();
    assert!(read_response(&mut other).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_until_another_one_ends() {
    let server = TestServer::with(&["--max-connections", "2"]).await;
    let mut streams = [server.connect().await, server.connect().await];
    for stream in &mut streams {
        stream.write_all(&LIST).await.unwrap();
        read_response(stream).await;
    }
    assert_eq!(read_to_end(&mut server.connect().await).await, "");
    for stream in &mut streams {
        stream.write_all(&LIST).await.unwrap();
        assert!(read_response(stream).await.starts_with("HTTP/1.1 200"), "the others are served on");
    }
    drop(streams);
    let served = async {
        loop {
            let mut stream = server.connect().await;
            let mut text = String::new();
            let health = b"GET /_greenroom/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(health).await;
            if stream.read_to_string(&mut text).await.is_ok() && text.starts_with("HTTP/1.1 200") {
                return;
            }
        }
    };
    within_timeout(served).await;
}

// Upgrades

/// A handshake for a WebSocket; its token is refused in the socket.
fn handshake(key: &str) -> String {
    format!(
        "GET /events/s HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: {key}\r\nsec-websocket-protocol: a-token\r\n\r\n"
    )
}

/// Upgrades the connection to a protocol that echoes every byte and ends at a full stop.
async fn upgrade_to_echo(mut request: Request) -> Response {
    let permit = request.extensions_mut().remove::<ConnectionPermit>();
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut io = TokioIo::new(upgrade.await.unwrap());
        let mut byte = [0];
        while io.read(&mut byte).await.is_ok_and(|read| read > 0) && byte != *b"." {
            io.write_all(&byte).await.unwrap();
        }
        drop(permit);
    });
    let response = Response::builder().status(101).header("upgrade", "echo");
    response.header("connection", "upgrade").body(axum::body::Body::empty()).unwrap()
}

/// Serves [`upgrade_to_echo`] until it is stopped.
async fn serve_echo(flags: &[&str], grace: Duration) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<bool>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let settings = http_settings(&args(flags).listener);
    let service = HttpService::uniform(&settings, upgrade_to_echo);
    let server = HttpServer::new(socket, service, None, settings);
    let serving = tokio::spawn(async move { server.run(async { drop(stopped.await) }, grace).await });
    (address, stop, serving)
}

/// A connection that was upgraded.
async fn upgraded(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n").await.unwrap();
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        text.push(char::from(within_timeout(stream.read_u8()).await.expect("an answer")));
    }
    assert!(text.starts_with("HTTP/1.1 101"), "{text}");
    stream
}

async fn echoes(stream: &mut TcpStream) -> bool {
    stream.write_all(b"x").await.is_ok() && within_timeout(stream.read_u8()).await.is_ok_and(|byte| byte == b'x')
}

#[tokio::test]
async fn an_upgraded_connection_keeps_its_permit_until_it_ends() {
    let (address, _stop, _serving) = serve_echo(&["--max-connections", "1"], TIMEOUT).await;
    let mut stream = upgraded(address).await;
    assert!(echoes(&mut stream).await);
    assert_eq!(read_to_end(&mut TcpStream::connect(address).await.unwrap()).await, "", "there is one permit");
    assert!(echoes(&mut stream).await);
    stream.write_all(b".").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "");
    upgraded(address).await;
}

#[tokio::test]
async fn no_request_timeout_closes_an_upgraded_connection() {
    let flags = ["--idle-timeout-seconds", "1", "--header-timeout-seconds", "1"];
    let (address, _stop, _serving) = serve_echo(&flags, TIMEOUT).await;
    let mut stream = upgraded(address).await;
    // The timeouts of the upgraded connection would expire before those of later connections.
    assert_eq!(read_to_end(&mut TcpStream::connect(address).await.unwrap()).await, "");
    assert_eq!(read_to_end(&mut TcpStream::connect(address).await.unwrap()).await, "");
    assert!(echoes(&mut stream).await);
}

#[tokio::test]
async fn shutdown_waits_for_upgraded_connections_up_to_the_grace_period() {
    let (address, stop, serving) = serve_echo(&[], TIMEOUT).await;
    let mut stream = upgraded(address).await;
    stop.send(()).unwrap();
    assert!(echoes(&mut stream).await);
    assert!(!serving.is_finished());
    stream.write_all(b".").await.unwrap();
    assert!(within_timeout(serving).await.unwrap(), "all was finished");

    let (address, stop, serving) = serve_echo(&[], Duration::from_millis(100)).await;
    let mut stream = upgraded(address).await;
    stop.send(()).unwrap();
    assert!(!within_timeout(serving).await.unwrap(), "something was not finished");
    assert!(echoes(&mut stream).await, "the task that took the connection over still serves it");
}

#[tokio::test]
async fn websockets_are_served_with_and_without_tls_and_are_not_in_flight() {
    let files = CertificateFiles::new();
    let secure = files.flags();
    let secure: Vec<_> = secure.iter().map(String::as_str).chain(["--max-in-flight", "1"]).collect();
    for flags in [&["--max-in-flight", "1"][..], &secure] {
        let server = TestServer::with(flags).await;
        let mut sockets: Vec<Box<dyn Stream>> = Vec::new();
        for _ in 0..2 {
            sockets.push(match server.tls {
                None => Box::new(server.connect().await),
                Some(_) => {
                    let handshake_result = tls_connect(server.address, files.certificate(), "http/1.1", &TLS13).await;
                    Box::new(handshake_result.unwrap())
                }
            });
        }
        for stream in &mut sockets {
            stream.write_all(handshake("dGhlIHNhbXBsZSBub25jZQ==").as_bytes()).await.unwrap();
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                head.push(char::from(within_timeout(stream.read_u8()).await.unwrap()));
            }
            assert!(head.starts_with("HTTP/1.1 101"), "{head}");
            assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
            assert!(head.contains("sec-websocket-protocol: a-token\r\n"), "{head}");
            // A text frame: the token is invalid.
            let mut frame = [0; 4];
            within_timeout(stream.read_exact(&mut frame)).await.unwrap();
            assert_eq!(frame[0], 0x81);
        }
    }
}

#[tokio::test]
async fn http_2_has_no_websockets() {
    let server = TestServer::with(&[]).await;
    let io = TokioIo::new(server.connect().await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get("http://localhost/events/s").body(Empty::<hyper::body::Bytes>::new()).unwrap();
    let response = within_timeout(sender.send_request(request)).await.unwrap();
    assert_eq!(response.status(), 426);
    connection.abort();
}

/// A plain or TLS stream.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

// TLS

/// A directory with a certificate and its key.
struct CertificateFiles(PathBuf);

impl CertificateFiles {
    fn new() -> CertificateFiles {
        let folder = std::env::temp_dir().join(format!("greenroom-{}", Ids::Random.alphanumeric(12)));
        std::fs::create_dir(&folder).unwrap();
        let files = CertificateFiles(folder);
        files.renew();
        files
    }

    /// Puts a new files in the place of the old.
    fn renew(&self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        std::fs::write(self.cert(), made.cert.pem()).unwrap();
        std::fs::write(self.key(), made.signing_key.serialize_pem()).unwrap();
    }

    fn cert(&self) -> String {
        self.0.join("cert.pem").display().to_string()
    }

    fn key(&self) -> String {
        self.0.join("key.pem").display().to_string()
    }

    fn flags(&self) -> [String; 4] {
        ["--tls-cert".into(), self.cert(), "--tls-key".into(), self.key()]
    }

    async fn server(&self) -> TestServer {
        TestServer::with(&self.flags().each_ref().map(String::as_str)).await
    }

    fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.cert()).unwrap()
    }
}

impl Drop for CertificateFiles {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A TLS connection of a client that trusts one certificate alone.
async fn tls_connect(
    address: SocketAddr,
    trusted: CertificateDer<'static>,
    protocol: &str,
    version: &'static SupportedProtocolVersion,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_protocol_versions(&[version]).unwrap().with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await
}

/// The status of a health check over HTTP/2 with one more header.
async fn http2_status(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, header: &str) -> u16 {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get("https://localhost/_greenroom/health").header("x-more", header);
    let response =
        within_timeout(sender.send_request(request.body(Empty::<hyper::body::Bytes>::new()).unwrap())).await.unwrap();
    let status = response.status().as_u16();
    let _ = within_timeout(response.into_body().collect()).await;
    connection.abort();
    status
}

#[tokio::test]
async fn both_http_versions_are_served_on_both_tls_versions() {
    let files = CertificateFiles::new();
    let server = files.server().await;
    for version in [&TLS12, &TLS13] {
        let stream = tls_connect(server.address, files.certificate(), "h2", version).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        assert_eq!(http2_status(stream, "").await, 200);
        let mut stream = tls_connect(server.address, files.certificate(), "http/1.1", version).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        stream.write_all(&LIST).await.unwrap();
        assert!(read_response(&mut stream).await.starts_with("HTTP/1.1 200"));
        assert!(tls_connect(server.address, files.certificate(), "spdy/3", version).await.is_err());
    }
}

#[tokio::test]
async fn http_2_without_tls_has_the_same_limits() {
    let server = TestServer::with(&["--idle-timeout-seconds", "1"]).await;
    assert_eq!(http2_status(server.connect().await, "").await, 200);
    assert_eq!(http2_status(server.connect().await, &"x".repeat(20_000)).await, 431);
    let stream = TokioIo::new(server.connect().await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let request = hyper::Request::get("http://localhost/_greenroom/health");
    let request = request.body(Empty::<hyper::body::Bytes>::new()).unwrap();
    let asked = async { assert_eq!(sender.send_request(request).await.unwrap().status(), 200) };
    let (ended, ()) = within_timeout(async { tokio::join!(connection, asked) }).await;
    ended.expect("an idle connection ends in good order");
}

#[tokio::test]
async fn a_tls_handshake_that_is_not_completed_closes_the_connection() {
    let files = CertificateFiles::new();
    let flags = files.flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).chain(["--header-timeout-seconds", "1"]).collect();
    let server = TestServer::with(&flags).await;
    assert_eq!(server.exchange(b"").await, "");
    assert_eq!(server.exchange(b"\x16\x03\x01").await, "");
    let mut stream = tls_connect(server.address, files.certificate(), "http/1.1", &TLS13).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "", "after a handshake, a head");
}

#[tokio::test]
async fn a_certificate_is_reloaded_and_an_invalid_one_is_not_used() {
    let files = CertificateFiles::new();
    let (server, first) = (files.server().await, files.certificate());
    let tls = server.tls.clone().unwrap();
    let served = async |trusted: &CertificateDer<'static>| {
        let handshake_result = tls_connect(server.address, trusted.clone(), "http/1.1", &TLS13).await;
        handshake_result.is_ok_and(|stream| stream.get_ref().1.peer_certificates().unwrap().first() == Some(trusted))
    };
    let mut old = tls_connect(server.address, first.clone(), "http/1.1", &TLS13).await.unwrap();
    assert!(served(&first).await);
    files.renew();
    let second = files.certificate();
    assert!(served(&first).await, "nothing changes by itself");
    tls.reload().unwrap();
    assert!(served(&second).await);
    assert!(!served(&first).await);
    old.write_all(&LIST).await.unwrap();
    assert!(read_response(&mut old).await.starts_with("HTTP/1.1 200"), "connections stay");

    let key = std::fs::read(files.key()).unwrap();
    files.renew();
    std::fs::write(files.key(), &key).unwrap();
    assert!(tls.reload().unwrap_err().to_string().contains(&files.key()), "another's key");
    std::fs::write(files.cert(), "no certificate").unwrap();
    assert!(tls.reload().unwrap_err().to_string().contains(&files.cert()));
    std::fs::remove_file(files.key()).unwrap();
    assert!(tls.reload().is_err());
    assert!(served(&second).await);
}

// Proxies

#[tokio::test]
async fn only_a_trusted_proxy_names_the_client() {
    for (trusted, expected) in [("127.0.0.0/8", "192.0.2.7"), ("10.0.0.0/8", "127.0.0.1"), ("", "127.0.0.1")] {
        let args = args(&["--trusted-proxies", trusted]);
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let settings = http_settings(&args.listener);
        let service = HttpService::uniform(&settings, async |request: Request| {
            let ClientAddress(client) = *request.extensions().get().unwrap();
            Response::new(client.to_string().into())
        });
        let server = HttpServer::new(socket, service, None, settings);
        let serving = tokio::spawn(server.run(std::future::pending(), TIMEOUT));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let sent = b"GET / HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 198.51.100.1, 192.0.2.7\r\n\r\n";
        stream.write_all(sent).await.unwrap();
        let answered = read_response(&mut stream).await;
        assert!(answered.ends_with(&format!("\r\n\r\n{expected}")), "{trusted}: {answered}");
        serving.abort();
    }
}

// Encoders

/// Whether a server begins the RTMP handshake.
async fn answers_encoders(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> bool {
    let mut sent = [0; 1537];
    sent[0] = 3;
    let _ = stream.write_all(&sent).await;
    matches!(within_timeout(stream.read_u8()).await, Ok(3))
}

#[tokio::test]
async fn rtmps_has_the_certificate_of_https_or_its_own() {
    let (files, own) = (CertificateFiles::new(), CertificateFiles::new());
    let server = files.server().await;
    let (rtmps, tls) = (server.encoders.rtmps.unwrap(), server.rtmps_tls.clone().unwrap());
    let served = async |address, trusted| match tls_connect(address, trusted, "http/1.1", &TLS12).await {
        Ok(mut stream) => answers_encoders(&mut stream).await,
        Err(_) => false,
    };
    assert!(!server.encoders.is_self_signed && served(rtmps, files.certificate()).await);
    files.renew();
    tls.reload().unwrap();
    assert!(served(rtmps, files.certificate()).await);

    let [_, cert, _, key] = own.flags();
    let flags = [&files.flags()[..], &["--rtmps-tls-cert".into(), cert, "--rtmps-tls-key".into(), key]].concat();
    let server = TestServer::with(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let rtmps = server.encoders.rtmps.unwrap();
    assert!(served(rtmps, own.certificate()).await && !served(rtmps, files.certificate()).await);
}

#[tokio::test]
async fn connections_of_encoders_have_a_limit_of_their_own_which_clients_share() {
    for (flags, limit, reason) in [
        (["--max-rtmp-connections", "2", "--max-client-share", "100"], 2, "rtmp_connections"),
        (["--max-rtmp-connections", "64", "--max-client-share", "1"], 16, "client_rtmp_connections"),
    ] {
        let server = TestServer::with(&flags).await;
        let connect = async || {
            let mut stream = TcpStream::connect(server.encoders.rtmp.unwrap()).await.unwrap();
            answers_encoders(&mut stream).await.then_some(stream)
        };
        let mut open = Vec::new();
        for _ in 0..limit {
            open.push(connect().await.expect("accepted"));
        }
        assert!(connect().await.is_none(), "{reason}");
        let line = format!("greenroom_refused_total{{reason=\"{reason}\"}} 1");
        assert!(server.get("/metrics").await.contains(&line), "{line}");
        drop(open.pop());
        within_timeout(async {
            while connect().await.is_none() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert!(server.get("/_greenroom/health").await.starts_with("HTTP/1.1 200"), "HTTP is not affected");
    }
}

#[tokio::test]
async fn silent_encoders_are_disconnected_in_time_and_at_shutdown() {
    let server = TestServer::with(&["--rtmp-timeout-seconds", "1"]).await;
    for address in [server.encoders.rtmp.unwrap(), server.encoders.rtmps.unwrap()] {
        let mut silent = TcpStream::connect(address).await.unwrap();
        assert_eq!(read_to_end(&mut silent).await, "");
    }
    let server = TestServer::with(&[]).await;
    let mut silent = TcpStream::connect(server.encoders.rtmp.unwrap()).await.unwrap();
    assert!(answers_encoders(&mut silent).await);
    server.stop.send(()).unwrap();
    let mut rest = Vec::new();
    let _ = within_timeout(silent.read_to_end(&mut rest)).await;
    drop(silent);
    within_timeout(server.serving).await.unwrap();
}

// Shutdown

#[tokio::test]
async fn shutdown_finishes_in_flight_requests() {
    let server = TestServer::with(&[]).await;
    let mut running = waiting_for_body(&server).await;
    let mut idle = server.connect().await;
    idle.write_all(&LIST).await.unwrap();
    read_response(&mut idle).await;
    let mut silent = server.connect().await;
    server.stop.send(()).unwrap();
    assert_eq!(read_to_end(&mut idle).await, "");
    assert_eq!(read_to_end(&mut silent).await, "");
    assert!(TcpStream::connect(server.address).await.is_err(), "nothing is accepted any more");
    assert!(!server.serving.is_finished());
    running.write_all(b"{}").await.unwrap();
    let finished = read_to_end(&mut running).await;
    assert!(finished.starts_with("HTTP/1.1 200") && finished.ends_with("{\"stages\":[]}"), "{finished}");
    within_timeout(server.serving).await.unwrap();
}

#[tokio::test]
async fn shutdown_aborts_requests_after_the_grace_period() {
    let server = TestServer::with(&["--shutdown-seconds", "1"]).await;
    let mut running = waiting_for_body(&server).await;
    server.stop.send(()).unwrap();
    assert_eq!(read_to_end(&mut running).await, "");
    within_timeout(server.serving).await.unwrap();
}

// The program

/// The running program, and the endpoint that it prints.
struct Program {
    child: Child,
    address: SocketAddr,
    endpoint: String,
}

impl Program {
    fn start(command: &mut Command, flags: &[String]) -> Program {
        let mut child = command
            .args(["--listen", "127.0.0.1:0", "--database-url", "sqlite::memory:"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let endpoint = lines.find_map(|line| Some(line.unwrap().trim().strip_prefix("endpoint")?.trim().to_owned()));
        let endpoint = endpoint.expect("an endpoint");
        // The rest is read as well, so that the program never blocks on or fails at a write.
        std::thread::spawn(move || lines.for_each(drop));
        let address = endpoint.split("://").nth(1).unwrap().parse().unwrap();
        Program { child, address, endpoint }
    }

    /// Waits for a line of the log.
    fn logs(&mut self, text: &str) {
        let log = std::io::BufReader::new(self.child.stderr.as_mut().unwrap());
        assert!(log.lines().any(|line| line.unwrap().contains(text)), "the log ended without: {text}");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// The exit code of `greenroom health`.
    fn health(&self, certificate: Option<&str>) -> Option<i32> {
        let mut command = greenroom();
        command.arg("health").env("GREENROOM_LISTEN", self.address.to_string());
        if let Some(certificate) = certificate {
            command.env("GREENROOM_TLS_CERT", certificate);
        }
        command.output().unwrap().status.code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn greenroom() -> Command {
    Command::new(env!("CARGO_BIN_EXE_greenroom"))
}

#[test]
fn the_program_serves_https_and_reloads_the_certificate_on_sighup() {
    let files = CertificateFiles::new();
    let mut program = Program::start(&mut greenroom(), &files.flags());
    assert!(program.endpoint.starts_with("https://"), "{}", program.endpoint);
    assert_eq!(program.health(Some(&files.cert())), Some(0));
    assert_eq!(program.health(None), Some(1));
    files.renew();
    program.signal("HUP");
    program.logs("certificate reloaded");
    std::fs::write(files.cert(), "").unwrap();
    program.signal("HUP");
    program.logs("certificate not reloaded");
    assert_eq!(program.health(Some(&files.cert())), Some(0));
    program.signal("TERM");
    assert_eq!(program.child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_invalid_certificate_or_key_stops_the_program_with_one_line() {
    let (files, other) = (CertificateFiles::new(), CertificateFiles::new());
    let junk = files.0.join("junk").display().to_string();
    std::fs::write(&junk, "junk").unwrap();
    let (cert, key) = (files.cert(), files.key());
    for (flags, named) in [
        (vec!["--tls-cert", &cert], "--tls-key"),
        (vec!["--tls-key", &key], "--tls-cert"),
        (vec!["--tls-cert", &cert, "--tls-key", &other.key()], "key.pem"),
        (vec!["--tls-cert", &junk, "--tls-key", &key], "junk"),
        (vec!["--tls-cert", &key, "--tls-key", &key], "key.pem"),
        (vec!["--tls-cert", &cert, "--tls-key", &junk], "junk"),
        (vec!["--tls-cert", &cert, "--tls-key", &cert], "cert.pem"),
        (vec!["--tls-cert", &cert, "--tls-key", "/nowhere/key.pem"], "/nowhere/key.pem"),
    ] {
        let mut program = greenroom();
        program.env("RUST_LOG", "warn").args(["--database-url", "sqlite::memory:"]).args(&flags);
        let ended = program.output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{flags:?}: {said}");
        assert_eq!(said.trim().lines().count(), 1, "{said}");
        assert!(said.contains(named), "{flags:?}: {said}");
    }
}

#[tokio::test]
async fn the_server_recovers_from_a_lack_of_file_descriptors() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 40; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_greenroom")]);
    let mut program = Program::start(&mut shell, &[]);
    let mut streams = Vec::new();
    for _ in 0..60 {
        streams.push(TcpStream::connect(program.address).await.unwrap());
    }
    program.logs("cannot accept connections");
    drop(streams);
    let mut stream = TcpStream::connect(program.address).await.unwrap();
    stream.write_all(&LIST).await.unwrap();
    assert!(read_response(&mut stream).await.starts_with("HTTP/1.1 200"));
}
