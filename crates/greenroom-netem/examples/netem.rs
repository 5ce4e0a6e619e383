//! A UDP proxy with an emulated network, for tests with real clients. It needs no privileges: the test replaces the server's
//! candidate in the SDP answer of a client with the address of a link, and both directions pass through it.
//!
//! It reads one JSON command a line, and answers each with one line: `{"ok": …}` or `{"error": …}`. At the end of its input
//! it stops. Profiles are texts such as `delay=20ms,loss=1%,rate=1.5M` ([`Profile`]).
//!
//! | command | effect |
//! |---|---|
//! | `{"do": "open", "target": "127.0.0.1:4000"}` | opens a link to a server; returns its number and address. Optional: `listen`, `up` (to the server), `down`, `seed` |
//! | `{"do": "set", "link": 1, "down": "rate=600k"}` | changes the profile of `up`, `down` or both, now or `after` seconds |
//! | `{"do": "stats", "link": 1}` | counts packets of both directions since the start, also by SSRC of RTP |
//! | `{"do": "close", "link": 1}` | closes a link |
//!
//! All clients of a link share its rate. The server sees an address of its own for each.

use greenroom_netem::{DropReason, Link, Profile};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};

/// Maximum clients of a link; datagrams of further ones are dropped.
const MAX_CLIENTS: usize = 64;
/// Datagrams of the server that wait for their link.
const SERVER_QUEUE: usize = 1024;
const MAX_DATAGRAM: usize = 65_536;

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
enum Command {
    Open {
        target: SocketAddr,
        #[serde(default = "any_loopback_port")]
        listen: SocketAddr,
        #[serde(default)]
        up: Option<ProfileText>,
        #[serde(default)]
        down: Option<ProfileText>,
        #[serde(default)]
        seed: u64,
    },
    Set {
        link: usize,
        up: Option<ProfileText>,
        down: Option<ProfileText>,
        /// Seconds.
        #[serde(default)]
        after: f64,
    },
    Stats {
        link: usize,
    },
    Close {
        link: usize,
    },
}

fn any_loopback_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

#[derive(Clone, Copy)]
struct ProfileText(Profile);

impl<'de> Deserialize<'de> for ProfileText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ProfileText, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(ProfileText).map_err(serde::de::Error::custom)
    }
}

/// A command to a link.
enum LinkCommand {
    Set { up: Option<Profile>, down: Option<Profile>, at: Option<Instant> },
    Stats(oneshot::Sender<Value>),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let mut links = Vec::new();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match execute(&line, &mut links).await {
            Ok(value) => json!({ "ok": value }),
            Err(error) => json!({ "error": error }),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

/// Links are numbered from 1; the place of a closed one stays empty.
async fn execute(line: &str, links: &mut Vec<Option<mpsc::Sender<LinkCommand>>>) -> Result<Value, String> {
    let command = serde_json::from_str(line).map_err(|error| error.to_string())?;
    match command {
        Command::Open { target, listen, up, down, seed } => {
            let fail = |error| format!("{listen}: {error}");
            let listener = UdpSocket::bind(listen).await.map_err(fail)?;
            let address = listener.local_addr().map_err(fail)?;
            let [up, down] = [up, down].map(|profile| profile.map_or(Profile::PERFECT, |text| text.0));
            let (sender, commands) = mpsc::channel(16);
            let relay = Relay {
                listener,
                target,
                clients: BTreeMap::new(),
                up: Direction::new(up, seed),
                down: Direction::new(down, !seed),
            };
            tokio::spawn(relay.run(commands));
            links.push(Some(sender));
            Ok(json!({ "link": links.len(), "address": address }))
        }
        Command::Set { link, up, down, after } => {
            let after = Duration::try_from_secs_f64(after).map_err(|error| format!("after: {error}"))?;
            let at = (!after.is_zero()).then(|| Instant::now() + after);
            let [up, down] = [up, down].map(|profile| profile.map(|text| text.0));
            send(links, link, LinkCommand::Set { up, down, at }).await?;
            Ok(Value::Null)
        }
        Command::Stats { link } => {
            let (reply, stats) = oneshot::channel();
            send(links, link, LinkCommand::Stats(reply)).await?;
            stats.await.map_err(|_| format!("link {link} has failed"))
        }
        Command::Close { link } => {
            find(links, link)?;
            links[link - 1] = None;
            Ok(Value::Null)
        }
    }
}

fn find(links: &[Option<mpsc::Sender<LinkCommand>>], link: usize) -> Result<&mpsc::Sender<LinkCommand>, String> {
    let found = link.checked_sub(1).and_then(|place| links.get(place)?.as_ref());
    found.ok_or_else(|| format!("link {link} is not open"))
}

async fn send(links: &[Option<mpsc::Sender<LinkCommand>>], link: usize, command: LinkCommand) -> Result<(), String> {
    find(links, link)?.send(command).await.map_err(|_| format!("link {link} has failed"))
}

/// A datagram and the client that it is from or to.
type Datagram = (SocketAddr, Vec<u8>);

#[derive(Default)]
struct Counts {
    packets: u64,
    lost: u64,
    queue_full: u64,
}

impl Counts {
    fn json(&self) -> Value {
        json!({ "packets": self.packets, "lost": self.lost, "queueFull": self.queue_full })
    }
}

struct Direction {
    link: Link<Datagram>,
    all: Counts,
    bytes: u64,
    by_ssrc: BTreeMap<u32, Counts>,
}

impl Direction {
    fn new(profile: Profile, seed: u64) -> Direction {
        Direction { link: Link::new(profile, seed), all: Counts::default(), bytes: 0, by_ssrc: BTreeMap::new() }
    }

    fn push(&mut self, datagram: Datagram) {
        let (ssrc, bytes) = (rtp_ssrc(&datagram.1), datagram.1.len());
        let result = self.link.push(Instant::now(), datagram, bytes);
        self.bytes += bytes as u64;
        let of_stream = ssrc.map(|ssrc| self.by_ssrc.entry(ssrc).or_default());
        for counts in [Some(&mut self.all), of_stream].into_iter().flatten() {
            counts.packets += 1;
            counts.lost += u64::from(result == Err(DropReason::Lost));
            counts.queue_full += u64::from(result == Err(DropReason::QueueFull));
        }
    }

    fn change(&mut self, profile: Option<Profile>, at: Option<Instant>) {
        match (profile, at) {
            (Some(profile), Some(at)) => self.link.schedule(at, profile),
            (Some(profile), None) => self.link.set_profile(Instant::now(), profile),
            (None, _) => {}
        }
    }

    fn stats(&self) -> Value {
        let by_ssrc: BTreeMap<_, _> =
            self.by_ssrc.iter().map(|(ssrc, counts)| (ssrc.to_string(), counts.json())).collect();
        let mut stats = self.all.json();
        stats["bytes"] = self.bytes.into();
        stats["rtp"] = json!(by_ssrc);
        stats
    }
}

/// The SSRC of a packet of RTP or SRTP, not of RTCP (RFC 5761).
fn rtp_ssrc(datagram: &[u8]) -> Option<u32> {
    let (head, rest) = datagram.split_first_chunk::<8>()?;
    let ssrc = rest.first_chunk()?;
    ((128..192).contains(&head[0]) && !(192..224).contains(&head[1])).then(|| u32::from_be_bytes(*ssrc))
}

struct Relay {
    listener: UdpSocket,
    target: SocketAddr,
    /// The socket of each client towards the server.
    clients: BTreeMap<SocketAddr, Arc<UdpSocket>>,
    up: Direction,
    down: Direction,
}

impl Relay {
    /// Relays until the commands end.
    async fn run(mut self, mut commands: mpsc::Receiver<LinkCommand>) {
        let (to_relay, mut from_server) = mpsc::channel(SERVER_QUEUE);
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            let deadline =
                [&self.up, &self.down].into_iter().filter_map(|direction| direction.link.next_deadline()).min();
            tokio::select! {
                received = self.listener.recv_from(&mut buffer) => {
                    if let Ok((bytes, client)) = received && self.admit(client, &to_relay).await {
                        self.up.push((client, buffer[..bytes].to_vec()));
                    }
                }
                Some(datagram) = from_server.recv() => self.down.push(datagram),
                command = commands.recv() => match command {
                    Some(LinkCommand::Set { up, down, at }) => {
                        self.up.change(up, at);
                        self.down.change(down, at);
                    }
                    Some(LinkCommand::Stats(reply)) => {
                        // The command is not waiting any more if this fails.
                        let _ = reply.send(json!({ "up": self.up.stats(), "down": self.down.stats() }));
                    }
                    None => return,
                },
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => {}
            }
            self.deliver().await;
        }
    }

    /// Opens the socket of a new client.
    async fn admit(&mut self, client: SocketAddr, to_relay: &mpsc::Sender<Datagram>) -> bool {
        if self.clients.contains_key(&client) {
            return true;
        }
        if self.clients.len() >= MAX_CLIENTS {
            return false;
        }
        let any = match self.target.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let Ok(socket) = UdpSocket::bind((any, 0)).await else { return false };
        if socket.connect(self.target).await.is_err() {
            return false;
        }
        let socket = Arc::new(socket);
        self.clients.insert(client, socket.clone());
        tokio::spawn(receive(client, socket, to_relay.clone()));
        true
    }

    /// Sends what has passed the links. As on a real network, a datagram that cannot be sent is lost.
    async fn deliver(&mut self) {
        let now = Instant::now();
        while let Some((client, bytes)) = self.up.link.pop(now) {
            if let Some(socket) = self.clients.get(&client) {
                let _ = socket.send(&bytes).await;
            }
        }
        while let Some((client, bytes)) = self.down.link.pop(now) {
            let _ = self.listener.send_to(&bytes, client).await;
        }
    }
}

/// Passes the server's datagrams to a client to its link, until the link is closed.
async fn receive(client: SocketAddr, socket: Arc<UdpSocket>, to_relay: mpsc::Sender<Datagram>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        tokio::select! {
            received = socket.recv(&mut buffer) => {
                // A server that is gone answers with ICMP errors.
                let Ok(bytes) = received else { continue };
                if to_relay.send((client, buffer[..bytes].to_vec())).await.is_err() {
                    return;
                }
            }
            () = to_relay.closed() => return,
        }
    }
}
