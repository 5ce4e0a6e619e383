//! Publishes an FLV file of H.264 and AAC in real time, and prints the connection's events. With a second file, writes the bytes that the
//! server sends to it, to be replayed in tests.
//!   cargo run -p greenroom-rtmp --example publish -- VIDEO.flv rtmp://127.0.0.1:1935/app/KEY [FILE]

use greenroom_rtmp::{ClientConnection, Phase, PublishUrl};
use std::error::Error;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const SCRIPT: u8 = 18;
const AUDIO: u8 = 8;
const VIDEO: u8 = 9;

/// Bytes that may wait to be sent: more means that the network is too slow, and frames are dropped.
const MAX_QUEUED: usize = 1024 * 1024;

/// Between two tags: a jump of the timestamps is sent at once, almost.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// For the answers to each step.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(url)) = (arguments.next(), arguments.next()) else {
        return Err("usage: publish VIDEO.flv rtmp://HOST/APP/KEY [FILE]".into());
    };
    let capture = arguments.next().map(File::create).transpose()?;
    let url = PublishUrl::parse(&url)?;
    if url.is_secure() {
        return Err("this example has no TLS".into());
    }
    let flv = fs::read(file)?;
    let socket = TcpStream::connect((url.host(), url.port()))?;
    socket.set_nodelay(true)?;
    println!("connected to {url}");
    let connection = ClientConnection::new(url.options("FMLE/3.0 (compatible; greenroom)"), [7; 32]);
    Publisher { socket, connection, capture }.run(&flv)
}

struct Publisher {
    socket: TcpStream,
    connection: ClientConnection,
    capture: Option<File>,
}

impl Publisher {
    fn run(&mut self, flv: &[u8]) -> Result<(), Box<dyn Error>> {
        self.flush()?;
        while self.connection.phase() != Phase::Publishing {
            if !self.receive(SETUP_TIMEOUT)? {
                return Err(format!("no answer in phase {:?}", self.connection.phase()).into());
            }
        }
        self.publish(flv)?;
        self.connection.end();
        self.flush()
    }

    fn publish(&mut self, flv: &[u8]) -> Result<(), Box<dyn Error>> {
        let (mut due, mut previous) = (Instant::now(), 0);
        // The header has nine bytes, and the length of no tag follows.
        let mut rest = flv.get(13..).ok_or("no FLV file")?;
        while let Some(tag) = Tag::read(&mut rest) {
            due += Duration::from_millis(u64::from(tag.timestamp.saturating_sub(previous))).min(MAX_WAIT);
            previous = tag.timestamp;
            while let Some(wait) = due.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) {
                self.receive(wait)?;
            }
            if self.connection.queued_bytes() > MAX_QUEUED {
                println!("dropped a tag at {}", tag.timestamp);
                continue;
            }
            match tag.kind {
                SCRIPT => self.connection.send_metadata(tag.body)?,
                AUDIO => self.connection.send_audio(tag.timestamp, tag.body)?,
                VIDEO => self.connection.send_video(tag.timestamp, tag.body)?,
                _ => {}
            }
            self.flush()?;
        }
        Ok(())
    }

    /// Waits for bytes and handles them; false if none come in time.
    fn receive(&mut self, timeout: Duration) -> Result<bool, Box<dyn Error>> {
        let mut buffer = [0; 16 * 1024];
        self.socket.set_read_timeout(Some(timeout))?;
        let length = match self.socket.read(&mut buffer) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(false),
            Ok(0) => return Err(format!("closed by the server in phase {:?}", self.connection.phase()).into()),
            result => result?,
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        if let Some(file) = &mut self.capture {
            file.write_all(bytes)?;
        }
        self.connection.receive(bytes)?;
        while let Some(event) = self.connection.poll_event() {
            println!("{event:?}");
        }
        self.flush()?;
        if self.connection.phase() == Phase::Ended { Err("ended by the server".into()) } else { Ok(true) }
    }

    fn flush(&mut self) -> Result<(), Box<dyn Error>> {
        while let Some(bytes) = self.connection.poll_transmit() {
            self.socket.write_all(&bytes)?;
        }
        Ok(())
    }
}

struct Tag<'a> {
    kind: u8,
    timestamp: u32,
    body: &'a [u8],
}

impl<'a> Tag<'a> {
    /// Takes a tag and the length that follows it.
    fn read(rest: &mut &'a [u8]) -> Option<Tag<'a>> {
        let ([kind, l1, l2, l3, t1, t2, t3, t0, _, _, _], after) = rest.split_first_chunk()?;
        let length = u32::from_be_bytes([0, *l1, *l2, *l3]) as usize;
        let (body, after) = after.split_at_checked(length)?;
        *rest = after.get(4..).unwrap_or_default();
        Some(Tag { kind: *kind, timestamp: u32::from_be_bytes([*t0, *t1, *t2, *t3]), body })
    }
}
