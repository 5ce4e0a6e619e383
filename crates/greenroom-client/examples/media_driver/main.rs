//! Media clients of `benches/media`: publishers of synthetic media and light receivers, without signaling.
//!
//! `media_driver ADDRESS`: the local address of all sockets.
//!
//! Commands are JSON lines on standard input, answered in order by JSON lines on standard output; the caller exchanges SDP
//! with the server. One thread drives all connections, each on its own UDP socket, with str0m in RTP mode: receivers decrypt
//! packets and send receiver reports, NACKs and transport-wide feedback as negotiated, but do not depacketize.
//!
//! | command | members | reply |
//! |---|---|---|
//! | `publish` | `id`, `layers` (`kbit`, and `rid` for simulcast; best first), `burst` | `sdp`: an offer |
//! | `subscribe` | `id` | `sdp`: an offer |
//! | `answer` | `id`, `sdp` | |
//! | `accept` | `id`, `sdp`: an offer of the server | `sdp`: an answer |
//! | `counters` | | [`Totals`] |

mod peer;
mod publisher;

use mio::{Events, Poll, Token, Waker};
use peer::{Counters, Identity, Peer, Totals};
use publisher::Layer;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Maximum time without a look at timers.
const MAX_WAIT: Duration = Duration::from_millis(20);
/// Of the waker; connections are numbered from 0.
const WAKER: Token = Token(usize::MAX);

#[derive(Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
enum Command {
    Publish { id: String, layers: Vec<Layer>, burst: bool },
    Subscribe { id: String },
    Answer { id: String, sdp: String },
    Accept { id: String, sdp: String },
    Counters,
}

fn main() {
    if let Err(error) = run() {
        eprintln!("media_driver: {error}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), Error> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let (sender, commands) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
            let _ = waker.wake();
        }
        drop(sender);
        let _ = waker.wake();
    });
    let address = std::env::args().nth(1).ok_or("usage: media_driver ADDRESS")?.parse()?;
    Driver { poll, identity: Identity::new(address)?, peers: Vec::new(), numbers: HashMap::new() }.run(&commands)
}

struct Driver {
    poll: Poll,
    identity: Identity,
    peers: Vec<Peer>,
    /// Indexes of `peers` by id.
    numbers: HashMap<String, usize>,
}

impl Driver {
    /// Runs until standard input ends.
    fn run(mut self, commands: &Receiver<String>) -> Result<(), Error> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; 2048];
        loop {
            let now = Instant::now();
            let due = self.peers.iter().map(|peer| peer.due).min();
            let wait = due.map_or(MAX_WAIT, |due| due.saturating_duration_since(now).min(MAX_WAIT));
            if let Err(error) = self.poll.poll(&mut events, Some(wait))
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                return Err(error.into());
            }
            for event in &events {
                if let Some(peer) = self.peers.get_mut(event.token().0) {
                    let done = peer.receive(&mut buffer);
                    peer.end_on_error(done);
                }
            }
            let now = Instant::now();
            for peer in self.peers.iter_mut().filter(|peer| peer.due <= now) {
                let done = peer.handle_timeout(now);
                peer.end_on_error(done);
            }
            loop {
                let line = match commands.try_recv() {
                    Ok(line) => line,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                };
                let reply = self.execute(&line).unwrap_or_else(|error| json!({"error": error.to_string()}));
                let mut out = std::io::stdout().lock();
                writeln!(out, "{reply}")?;
                out.flush()?;
            }
        }
    }

    fn execute(&mut self, line: &str) -> Result<Value, Error> {
        match serde_json::from_str(line)? {
            Command::Publish { id, layers, burst } => {
                let (peer, offer) = Peer::publish(&self.identity, layers, burst)?;
                self.add(id, peer)?;
                Ok(json!({"sdp": offer}))
            }
            Command::Subscribe { id } => {
                let (peer, offer) = Peer::subscribe(&self.identity)?;
                self.add(id, peer)?;
                Ok(json!({"sdp": offer}))
            }
            Command::Answer { id, sdp } => {
                let number = *self.numbers.get(&id).ok_or("unknown id")?;
                self.peers[number].answer(&sdp)?;
                Ok(json!({}))
            }
            Command::Accept { id, sdp } => {
                let (peer, answer) = Peer::accept(&self.identity, &sdp)?;
                self.add(id, peer)?;
                Ok(json!({"sdp": answer}))
            }
            Command::Counters => {
                let mut totals = Totals::default();
                let each: Vec<Counters> = self.peers.iter().map(Peer::counters).collect();
                for counters in &each {
                    totals.add(counters);
                }
                Ok(serde_json::to_value(totals)?)
            }
        }
    }

    fn add(&mut self, id: String, mut peer: Peer) -> Result<(), Error> {
        peer.register(self.poll.registry(), Token(self.peers.len()))?;
        self.numbers.insert(id, self.peers.len());
        self.peers.push(peer);
        Ok(())
    }
}
