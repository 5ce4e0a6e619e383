//! `greenroom health`: a liveness probe for containers, which have no other HTTP client.

use super::args::HealthArgs;
use super::error::CommandError;
use crate::http::tls;
use crate::server::reachable;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(3);
const MAX_RESPONSE_BYTES: u64 = 64 * 1024;

pub(super) async fn run(args: &HealthArgs) -> Result<String, CommandError> {
    let ask = async {
        let address = reachable(args.listen);
        let stream = TcpStream::connect(address).await?;
        match args.tls_cert {
            None => get(stream, address).await,
            Some(_) => get(tls::connect_unverified(stream, address.ip()).await?, address).await,
        }
    };
    let failed = |text: String| Err(CommandError::Health(args.listen, text));
    match tokio::time::timeout(TIMEOUT, ask).await {
        Ok(Ok(response)) if response.starts_with(b"HTTP/1.1 200") => Ok(String::new()),
        Ok(Ok(_)) => failed("the server there is not a healthy greenroom".into()),
        Ok(Err(error)) => failed(error.to_string()),
        Err(_) => failed(format!("no response within {} s", TIMEOUT.as_secs())),
    }
}

/// The response of the server to `GET /_greenroom/health`, as it came.
pub(super) async fn get(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    address: SocketAddr,
) -> std::io::Result<Vec<u8>> {
    let request = format!("GET /_greenroom/health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    stream.take(MAX_RESPONSE_BYTES).read_to_end(&mut response).await?;
    Ok(response)
}
