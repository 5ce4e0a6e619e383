//! The bytes of a connection: reading, writing, closing.

use super::end::End;
use greenroom_rtmp::{Limits, ServerConnection};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// Bytes of the buffer for received bytes until the encoder publishes: idle connections are cheap.
const SETUP_BUFFER: usize = 2 << 10;
/// Bytes of that buffer while the encoder publishes.
const MEDIA_BUFFER: usize = 16 << 10;
/// Time for the encoder to read why it is disconnected. If the connection were closed with bytes that are not read, the
/// system would reset it, and the encoder would lose what it has not read.
pub const LINGER: Duration = Duration::from_secs(2);

/// A connection with the state of its protocol.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    pub rtmp: ServerConnection,
    buffer: Vec<u8>,
    /// Time limit of a write.
    write_timeout: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub fn new(stream: S, random: [u8; 32], write_timeout: Duration) -> Self {
        let rtmp = ServerConnection::new(Limits::default(), random);
        Connection { stream, rtmp, buffer: vec![0; SETUP_BUFFER], write_timeout }
    }

    /// Provides for the amount of media.
    pub fn enlarge_buffer(&mut self) {
        self.buffer.resize(MEDIA_BUFFER, 0);
    }

    /// Receives what is there, at least one byte, and hands it to the protocol. Cancel safe.
    pub async fn receive(&mut self) -> Result<(), End> {
        let count = self.stream.read(&mut self.buffer).await.map_err(|error| End::Closed(Some(error)))?;
        match self.buffer.get(..count) {
            None | Some([]) => Err(End::Closed(None)),
            Some(received) => Ok(self.rtmp.receive(received)?),
        }
    }

    /// Sends what the protocol has to send.
    pub async fn flush(&mut self) -> Result<(), End> {
        let mut written = false;
        while let Some(bytes) = self.rtmp.poll_transmit() {
            self.write(&bytes).await?;
            written = true;
        }
        if written { self.limited(async |stream: &mut S| stream.flush().await).await } else { Ok(()) }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.limited(async |stream: &mut S| stream.write_all(bytes).await).await
    }

    async fn limited(&mut self, write: impl AsyncFnOnce(&mut S) -> std::io::Result<()>) -> Result<(), End> {
        match timeout(self.write_timeout, write(&mut self.stream)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::Closed(Some(error))),
            Err(_) => Err(End::Unread),
        }
    }

    /// Sends the rest, and closes the sending direction.
    pub async fn finish(&mut self) {
        let rest = async {
            let _ = self.flush().await;
            let _ = self.stream.shutdown().await;
        };
        // Failures do not matter: the connection ends in any case.
        let _ = timeout(LINGER, rest).await;
    }

    /// Sends the rest, waits a moment for the encoder to read it and to close the connection, and closes it. Some encoders fail if
    /// the server is the first to close.
    pub async fn linger(&mut self) {
        let rest = async {
            let _ = self.flush().await;
            while self.stream.read(&mut self.buffer).await.is_ok_and(|count| count > 0) {}
        };
        let _ = timeout(LINGER, rest).await;
        self.finish().await;
    }
}
