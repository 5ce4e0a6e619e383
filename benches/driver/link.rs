//! An HTTP connection and a parser of responses that reads only status and length.

use mio::net::TcpStream;
use mio::{Interest, Poll, Token};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Instant;

/// A connection and the state of its response.
pub struct Link {
    pub stream: TcpStream,
    pub busy: bool,
    /// What of the request is still to be sent: its index, and the offset.
    pub unsent: Option<(usize, usize)>,
    /// When the request was sent.
    pub since: Instant,
    /// A partial head.
    pub head: Vec<u8>,
    /// A head that is complete, with the bytes of the body so far.
    pub begun: Option<Answer>,
}

/// The parsed head of a response, and how much of its body is still to come.
pub struct Answer {
    pub status: u16,
    pub missing: usize,
    pub closes: bool,
    pub length: usize,
}

/// A new connection without a request.
pub fn connect(poll: &Poll, target: SocketAddr, n: usize) -> std::io::Result<Link> {
    let stream = std::net::TcpStream::connect(target)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let mut stream = TcpStream::from_std(stream);
    poll.registry().register(&mut stream, Token(n), Interest::READABLE | Interest::WRITABLE)?;
    Ok(Link { stream, busy: false, unsent: None, since: Instant::now(), head: Vec::new(), begun: None })
}

/// A response that cannot be parsed.
pub fn strange(what: &str) -> std::io::Error {
    std::io::Error::new(ErrorKind::InvalidData, format!("an answer that is not understood: {what}"))
}

/// Status, length and end of a head, if it is complete.
pub fn head(bytes: &[u8]) -> std::io::Result<Option<(Answer, usize)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| strange("no text"))?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.get(9..12)?.parse().ok()).ok_or_else(|| strange("no status"))?;
    let (mut length, mut closes) = (None, text.starts_with("HTTP/1.0"));
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        match name.len() {
            14 if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok(),
            10 if name.eq_ignore_ascii_case("connection") => closes = value.trim().eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    let length = length.ok_or_else(|| strange("no content-length"))?;
    Ok(Some((Answer { status, missing: length, closes, length }, end + 4)))
}
