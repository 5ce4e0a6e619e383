//! The cost of forwarding from one publisher to many subscribers, in packets per second of processor time, and its
//! ratio to the cost of SRTP encryption, which every packet needs.
//!
//! `cargo bench -p greenroom-media --bench forwarding` prints the medians of interleaved rounds, for several numbers of
//! subscribers, of:
//! - `srtp`: encryption only, with the negotiated ciphers, called as the WebRTC library calls them (its own type is
//!   private);
//! - `engine`: the engine with clients of the same library on a virtual clock; only the engine's time counts;
//! - `thread`: the media thread with its socket over loopback.
//!
//! Time is the thread's processor time, read from Linux; elsewhere it is wall-clock time, and `thread` is skipped. The
//! last line is JSON. Nothing is asserted: only ratios within one run are comparable.
//!
//! Environment: `SFU_ROUNDS` (number of rounds, default 7), and comma-separated lists `SFU_SUBSCRIBERS` (default
//! 1,10,50,200), `SFU_BYTES` (1200: video frames in bursts; 1000: video packets one by one; 160: audio) and `SFU_ONLY`
//! (srtp, engine, thread).

use greenroom_media::{MediaConfig, MediaHandle, OfferLimits, Sfu, TransportId, bind};
use std::collections::HashMap;
use std::hint::black_box;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::config::DtlsCert;
use str0m::crypto::{AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80, Aes128CmSha1_80Cipher, CryptoProvider};
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Input, Output, Rtc};

/// Video of 2.6 Mbit/s in bursts, video one packet at a time, and audio.
const VIDEO: Stream = Stream { kind: MediaKind::Video, bytes: 1_200, burst: 9, interval: Duration::from_millis(33) };
const SPREAD: Stream = Stream { kind: MediaKind::Video, bytes: 1_000, burst: 1, interval: Duration::from_millis(4) };
const AUDIO: Stream = Stream { kind: MediaKind::Audio, bytes: 160, burst: 1, interval: Duration::from_millis(20) };
/// Approximate packets sent per round.
const PACKETS: usize = 36_000;

/// Minimum packets per time measurement.
const MIN_MEASURED: usize = 100;

#[derive(Clone, Copy)]
struct Stream {
    kind: MediaKind,
    /// Payload bytes of a packet.
    bytes: usize,
    /// Packets of a frame.
    burst: usize,
    /// Time between frames.
    interval: Duration,
}

fn provider() -> &'static CryptoProvider {
    static PROVIDER: OnceLock<CryptoProvider> = OnceLock::new();
    PROVIDER.get_or_init(str0m::crypto::from_feature_flags)
}

fn certificate() -> DtlsCert {
    static CERTIFICATE: OnceLock<DtlsCert> = OnceLock::new();
    CERTIFICATE.get_or_init(|| provider().dtls_provider.generate_certificate().expect("a certificate")).clone()
}

/// Measures processor time of the current thread.
struct Stopwatch {
    /// Time of an empty measurement, in nanoseconds.
    overhead: u64,
}

impl Stopwatch {
    const OWN: &str = "/proc/thread-self";

    fn new() -> Stopwatch {
        let bare = Stopwatch { overhead: 0 };
        let mut samples: Vec<_> = (0..301).map(|_| bare.time(|| ()).as_nanos() as u64).collect();
        samples.sort();
        Stopwatch { overhead: samples[150] }
    }

    /// The processor time of `work`. Linux updates its counter when the thread sleeps.
    fn time<T>(&self, work: impl FnOnce() -> T) -> Duration {
        let update = || std::thread::sleep(Duration::from_micros(1));
        update();
        let (before, begun) = (spent(Self::OWN), Instant::now());
        black_box(work());
        let elapsed = begun.elapsed();
        update();
        let spent = spent(Self::OWN).zip(before).map(|(after, before)| after - before);
        spent.map_or(elapsed, |spent| Duration::from_nanos(spent.saturating_sub(self.overhead)))
    }
}

/// Processor time of a task in nanoseconds.
fn spent(task: &str) -> Option<u64> {
    std::fs::read_to_string(format!("{task}/schedstat")).ok()?.split(' ').next()?.parse().ok()
}

/// A client that has made its offer.
struct Client {
    rtc: Rtc,
    address: SocketAddr,
    mid: Mid,
    pending: Option<SdpPendingOffer>,
    connected: bool,
    due: Instant,
    number: u64,
}

impl Client {
    fn new(now: Instant, address: SocketAddr, kind: MediaKind, direction: Direction) -> (Client, String) {
        let config = Rtc::builder().set_rtp_mode(true).clear_codecs().enable_opus(true, false).enable_h264(true);
        let mut rtc = config.set_dtls_cert(certificate()).build(now);
        rtc.add_local_candidate(Candidate::host(address, "udp").expect("a candidate"));
        let mut api = rtc.sdp_api();
        let mid = api.add_media(kind, direction, None, None, None);
        let (offer, pending) = api.apply().expect("an offer");
        (
            Client { rtc, address, mid, pending: Some(pending), connected: false, due: now, number: 1 },
            offer.to_sdp_string(),
        )
    }

    fn accept(&mut self, answer: &str) {
        let answer = SdpAnswer::from_sdp_string(answer).expect("an answer");
        let pending = self.pending.take().expect("one answer");
        self.rtc.sdp_api().accept_answer(pending, answer).expect("a matching answer");
    }

    fn receive(&mut self, now: Instant, from: SocketAddr, bytes: &[u8], out: &mut Vec<Vec<u8>>) {
        let receive = Receive::new(Protocol::Udp, from, self.address, bytes).expect("a WebRTC datagram");
        self.rtc.handle_input(Input::Receive(now, receive)).expect("an accepted datagram");
        self.poll(now, out);
    }

    fn timeout(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) {
        if self.due <= now {
            self.rtc.handle_input(Input::Timeout(now)).expect("time passes");
            self.poll(now, out);
        }
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) {
        loop {
            match self.rtc.poll_output().expect("an output") {
                Output::Timeout(at) if at <= now => {
                    self.rtc.handle_input(Input::Timeout(now)).expect("time passes");
                }
                Output::Timeout(at) => return self.due = at,
                Output::Transmit(transmit) => out.push(transmit.contents.into()),
                Output::Event(str0m::Event::Connected) => self.connected = true,
                Output::Event(_) => {}
            }
        }
    }

    /// Sends a frame with arbitrary content; the first is a key frame.
    fn frame(&mut self, now: Instant, stream: Stream, out: &mut Vec<Vec<u8>>) {
        let pt: Pt = self.rtc.media(self.mid).expect("the section").remote_pts()[0];
        let time = self.number as u32 * 300;
        for index in 0..stream.burst {
            let mut payload = vec![0x11; stream.bytes];
            payload[..2].copy_from_slice(if self.number == 1 { &[0x65, 0x88] } else { &[0x41, 0xc0] });
            let write = RtpWrite::new(pt, self.number.into(), time, now, payload)
                .marker(index + 1 == stream.burst)
                .nackable(stream.kind == MediaKind::Video);
            self.rtc.direct_api().stream_tx_by_mid(self.mid, None).expect("the stream").write_rtp(write);
            self.number += 1;
        }
        self.rtc.handle_input(Input::Timeout(now)).expect("time passes");
        self.poll(now, out);
    }
}

/// One cipher per subscriber.
enum Ciphers {
    Gcm256(Vec<Box<dyn AeadAes256GcmCipher>>),
    Gcm128(Vec<Box<dyn AeadAes128GcmCipher>>),
    Cm128(Vec<Box<dyn Aes128CmSha1_80Cipher>>),
}

impl Ciphers {
    /// Chosen by the length of the authentication tag; of the two GCM ciphers the library prefers the longer key.
    fn of(tag: usize, count: usize) -> (Ciphers, &'static str) {
        let srtp = provider().srtp_provider;
        let keys = (0..count).map(|number| [number as u8; 32]);
        let short = |key: [u8; 32]| <[u8; 16]>::try_from(&key[..16]).expect("16 of 32");
        match tag {
            16 if std::env::var_os("SFU_GCM128").is_none() => {
                let ciphers = keys.map(|key| srtp.aead_aes_256_gcm().create_cipher(key, true)).collect();
                (Ciphers::Gcm256(ciphers), "AEAD_AES_256_GCM")
            }
            16 => {
                let ciphers = keys.map(|key| srtp.aead_aes_128_gcm().create_cipher(short(key), true)).collect();
                (Ciphers::Gcm128(ciphers), "AEAD_AES_128_GCM")
            }
            _ => {
                let ciphers = keys.map(|key| srtp.aes_128_cm_sha1_80().create_cipher(short(key), true)).collect();
                (Ciphers::Cm128(ciphers), "AES128_CM_HMAC_SHA1_80")
            }
        }
    }

    /// Encrypts packets for each connection in turn, as the library does.
    fn round(&mut self, length: usize, packet: &[u8], packets: usize) {
        let (header, body) = packet.split_at(length);
        let count = match self {
            Ciphers::Gcm256(ciphers) => ciphers.len(),
            Ciphers::Gcm128(ciphers) => ciphers.len(),
            Ciphers::Cm128(ciphers) => ciphers.len(),
        };
        for number in 0..packets / count {
            let (mut long, mut iv) = ([7; 16], [7; 12]);
            long[8..].copy_from_slice(&(number as u64).to_be_bytes());
            iv[4..].copy_from_slice(&(number as u64).to_be_bytes());
            for index in 0..count {
                let mut output = vec![0; packet.len() + 16];
                let target = &mut output[length..];
                match self {
                    Ciphers::Gcm256(ciphers) => ciphers[index].encrypt(&iv, header, body, target),
                    Ciphers::Gcm128(ciphers) => ciphers[index].encrypt(&iv, header, body, target),
                    Ciphers::Cm128(ciphers) => ciphers[index].encrypt(&long, body, target),
                }
                .expect("a packet encrypted");
                output[..length].copy_from_slice(header);
                if matches!(self, Ciphers::Cm128(_)) {
                    let hmac = |key: &[u8], parts: &[&[u8]]| provider().sha1_hmac_provider.sha1_hmac(key, parts);
                    Aes128CmSha1_80::rtp_hmac(hmac, &[7; 20], &mut output, 0, packet.len());
                }
                black_box(output);
            }
        }
    }
}

const SERVER: &str = "192.0.2.1:4000";

/// Source and contents.
type Datagrams = Vec<(SocketAddr, Vec<u8>)>;

/// The engine and its clients on a virtual clock, without a network between them.
struct EngineBench {
    sfu: Sfu,
    server: SocketAddr,
    now: Instant,
    /// The publisher first.
    clients: Vec<Client>,
    by_address: HashMap<SocketAddr, usize>,
    stream: Stream,
    stopwatch: Stopwatch,
    /// Processor time of the engine.
    spent: Duration,
    /// RTP packets sent; of the last one, the bytes of the header and of the authentication tag.
    sent: usize,
    header: usize,
    tag: usize,
}

impl EngineBench {
    fn new(stream: Stream, subscribers: usize) -> EngineBench {
        let server: SocketAddr = SERVER.parse().expect("an address");
        let now = Instant::now();
        let sfu = Sfu::new(vec![server], Duration::from_secs(3_600), false).expect("an engine");
        let (clients, by_address, stopwatch, spent) = (Vec::new(), HashMap::new(), Stopwatch::new(), Duration::ZERO);
        let mut bench =
            EngineBench { sfu, server, now, clients, by_address, stream, stopwatch, spent, sent: 0, header: 0, tag: 0 };
        for number in 0..=subscribers {
            let address = SocketAddr::new([198, 51, 100, 7].into(), 10_000 + number as u16);
            let direction = if number == 0 { Direction::SendOnly } else { Direction::RecvOnly };
            let (mut client, offer) = Client::new(now, address, stream.kind, direction);
            let id = TransportId(number as u64);
            let answer = match number {
                0 => bench.sfu.publish(now, id, &offer),
                _ => bench.sfu.subscribe(now, id, TransportId(0), &offer),
            };
            client.accept(&answer.expect("an answer"));
            bench.by_address.insert(address, number);
            bench.clients.push(client);
        }
        while bench.clients.iter().any(|client| !client.connected) {
            bench.step(vec![(bench.now, Vec::new())]);
            bench.now += Duration::from_millis(5);
        }
        // Warm up: receiver reports are exchanged, and what only the first packets carry is no longer sent.
        let end = bench.now + 400 * stream.interval;
        while bench.now < end {
            bench.frame();
        }
        bench
    }

    /// Passes datagrams to the engine and its output to the clients, until all are idle.
    fn step(&mut self, mut incoming: Vec<(Instant, Datagrams)>) {
        loop {
            let mut transmits = Vec::with_capacity(16 * self.clients.len());
            let sfu = &mut self.sfu;
            let work = || {
                for (now, datagrams) in &incoming {
                    for (from, bytes) in datagrams {
                        sfu.handle_datagram(*now, *from, bytes);
                    }
                    if sfu.next_timeout().is_some_and(|at| at <= *now) {
                        sfu.handle_timeout(*now);
                    }
                    while let Some(transmit) = sfu.poll_transmit() {
                        transmits.push((*now, transmit));
                    }
                }
            };
            self.spent += self.stopwatch.time(work);
            while self.sfu.poll_event().is_some() {}
            let (mut responses, mut out) = (Vec::new(), Vec::new());
            for (now, transmit) in transmits {
                let bytes = transmit.contents;
                if bytes.len() > self.stream.bytes && bytes[0] & 0xc0 == 0x80 && !(192..224).contains(&bytes[1]) {
                    let extension = if bytes[0] & 0x10 == 0 { 0 } else { 4 + 4 * usize::from(bytes[15]) };
                    (self.sent, self.header) = (self.sent + 1, 12 + extension);
                    self.tag = bytes.len() - self.header - self.stream.bytes;
                }
                let Some(client) = self.by_address.get(&transmit.path.remote) else { continue };
                let client = &mut self.clients[*client];
                client.receive(now, self.server, &bytes, &mut out);
                responses.extend(out.drain(..).map(|bytes| (client.address, bytes)));
            }
            for client in &mut self.clients {
                client.timeout(self.now, &mut out);
                responses.extend(out.drain(..).map(|bytes| (client.address, bytes)));
            }
            if responses.is_empty() {
                return;
            }
            incoming = vec![(self.now, responses)];
        }
    }

    /// Sends frames until there is enough work to measure.
    fn frame(&mut self) {
        let frames = MIN_MEASURED.div_ceil(self.stream.burst * (self.clients.len() - 1));
        let mut incoming = Vec::new();
        for _ in 0..frames {
            self.now += self.stream.interval;
            let mut out = Vec::new();
            let publisher = &mut self.clients[0];
            publisher.frame(self.now, self.stream, &mut out);
            incoming.push((self.now, out.into_iter().map(|bytes| (publisher.address, bytes)).collect()));
        }
        self.step(incoming);
    }

    /// Packets forwarded per second of the engine's processor time.
    fn round(&mut self, packets: usize) -> f64 {
        (self.sent, self.spent) = (0, Duration::ZERO);
        while self.sent < packets {
            self.frame();
        }
        self.sent as f64 / self.spent.as_secs_f64()
    }
}

/// The media thread, a publisher of the same library, and subscribers' sockets that another thread drains.
struct ThreadBench {
    media: MediaHandle,
    task: Option<String>,
    publisher: (Client, UdpSocket),
    server: SocketAddr,
    stream: Stream,
    subscribers: usize,
    stop: Arc<AtomicBool>,
    drain: Option<std::thread::JoinHandle<()>>,
    runtime: tokio::runtime::Runtime,
}

/// The `/proc` paths of media threads.
fn media_tasks() -> Vec<String> {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    let paths = tasks.flatten().map(|task| task.path().display().to_string());
    paths.filter(|path| std::fs::read_to_string(format!("{path}/comm")).is_ok_and(|name| name == "media\n")).collect()
}

impl ThreadBench {
    fn new(stream: Stream, subscribers: usize) -> ThreadBench {
        let socket = bind("127.0.0.1:0".parse().expect("an address")).expect("a socket");
        let server = socket.local_addr().expect("bound");
        let settings = MediaConfig {
            public_ips: Vec::new(),
            timeout: Duration::from_secs(3_600),
            strict_ivs: false,
            offer_limits: OfferLimits::default(),
            tcp_limits: greenroom_media::TcpLimits::default(),
        };
        let before = media_tasks();
        let (media, _events) =
            MediaHandle::start(socket, greenroom_media::TcpSource::None, settings).expect("the media thread");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut clients = Vec::new();
        let mut first = None;
        for number in 0..=subscribers {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            socket.set_nonblocking(true).expect("a socket that does not block");
            let address = socket.local_addr().expect("bound");
            let direction = if number == 0 { Direction::SendOnly } else { Direction::RecvOnly };
            let (mut client, offer) = Client::new(Instant::now(), address, stream.kind, direction);
            let id = media.new_transport_id();
            let answer = match first {
                None => runtime.block_on(media.publish(id, offer)),
                Some(publisher) => runtime.block_on(media.subscribe(id, publisher, offer)),
            };
            first = first.or(Some(id));
            client.accept(&answer.expect("an answer"));
            clients.push((client, socket));
        }
        let task = media_tasks().into_iter().find(|task| !before.contains(task));
        while clients.iter().any(|(client, _)| !client.connected) {
            clients.iter_mut().for_each(|(client, socket)| exchange(client, socket, server));
        }
        let publisher = clients.remove(0);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let drain = std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while !stopped.load(Ordering::Relaxed) {
                for (_, socket) in &clients {
                    while socket.recv(&mut buffer).is_ok() {}
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let drain = Some(drain);
        ThreadBench { media, task, publisher, server, stream, subscribers, stop, drain, runtime }
    }

    /// Packets forwarded per second of the thread's processor time, with two frames in flight.
    fn round(&mut self, packets: usize) -> Option<f64> {
        let task = self.task.as_deref()?;
        let (client, socket) = &mut self.publisher;
        let frame = (self.stream.burst * self.subscribers) as u64;
        let (begun, before) = (spent(task)?, self.media.socket_stats().sent_datagrams);
        let (mut expected, mut out) = (0, Vec::new());
        while expected < packets as u64 {
            client.frame(Instant::now(), self.stream, &mut out);
            for bytes in out.drain(..) {
                socket.send_to(&bytes, self.server).expect("sent");
            }
            exchange(client, socket, self.server);
            expected += frame;
            let deadline = Instant::now() + Duration::from_secs(1);
            while self.media.socket_stats().sent_datagrams - before + frame < expected && Instant::now() < deadline {
                std::thread::sleep(Duration::from_micros(20));
            }
        }
        std::thread::sleep(Duration::from_millis(20));
        let sent = self.media.socket_stats().sent_datagrams - before;
        Some(sent as f64 / (spent(task)? - begun) as f64 * 1e9)
    }
}

impl Drop for ThreadBench {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.drain.take().map(|drain| drain.join());
        self.runtime.block_on(self.media.stop());
    }
}

/// Passes received datagrams to a client and sends its output.
fn exchange(client: &mut Client, socket: &UdpSocket, server: SocketAddr) {
    let (mut buffer, mut out) = ([0; 2_000], Vec::new());
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        client.receive(Instant::now(), from, &buffer[..length], &mut out);
    }
    client.timeout(Instant::now(), &mut out);
    for bytes in out {
        socket.send_to(&bytes, server).expect("sent");
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn main() {
    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.into());
    let rounds: usize = setting("SFU_ROUNDS", "7").parse().expect("SFU_ROUNDS is a number");
    let only = setting("SFU_ONLY", "srtp,engine,thread");
    let is_selected = |what: &str| only.split(',').any(|one| one == what);
    let subscribers: Vec<usize> = setting("SFU_SUBSCRIBERS", "1,10,50,200")
        .split(',')
        .map(|n| n.parse().expect("numbers of subscribers"))
        .collect();
    let bytes = setting("SFU_BYTES", "1200,1000,160");
    let streams =
        [VIDEO, SPREAD, AUDIO].into_iter().filter(|stream| bytes.split(',').any(|one| one == stream.bytes.to_string()));
    let mut rows = Vec::new();
    println!("packets per second of processor time; ratios to encryption; medians of {rounds} interleaved rounds");
    println!(
        "{:>6} {:>12} {:>12} {:>12} {:>7} {:>12} {:>7}",
        "bytes", "subscribers", "encryption", "engine", "ratio", "thread", "ratio"
    );
    for stream in streams {
        for count in subscribers.iter().copied() {
            let mut bench = EngineBench::new(stream, count);
            let mut loopback = is_selected("thread").then(|| ThreadBench::new(stream, count));
            let (mut ciphers, profile) = Ciphers::of(bench.tag, count);
            let packet = vec![0x11; bench.header + stream.bytes];
            let (mut encryption, mut engine, mut thread) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..rounds {
                if is_selected("srtp") {
                    let times = PACKETS / count * count;
                    let work = || ciphers.round(bench.header, &packet, PACKETS);
                    encryption.push(times as f64 / bench.stopwatch.time(work).as_secs_f64());
                }
                let packets = if count < 10 { PACKETS / 4 } else { PACKETS };
                if is_selected("engine") {
                    engine.push(bench.round(packets));
                }
                thread.extend(loopback.as_mut().and_then(|loopback| loopback.round(packets)));
            }
            let (encryption, engine, thread) = (median(encryption), median(engine), median(thread));
            let ratio = |part: Option<f64>| part.zip(encryption).map(|(part, encryption)| part / encryption);
            let show = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.0}"));
            let shown = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.3}"));
            println!(
                "{:>6} {count:>12} {:>12} {:>12} {:>7} {:>12} {:>7}   {profile}, {} bytes per datagram",
                stream.bytes,
                show(encryption),
                show(engine),
                shown(ratio(engine)),
                show(thread),
                shown(ratio(thread)),
                packet.len() + bench.tag,
            );
            rows.push(serde_json::json!({
                "bytes": stream.bytes, "subscribers": count, "profile": profile,
                "encryption": encryption, "engine": engine, "engine_ratio": ratio(engine),
                "thread": thread, "thread_ratio": ratio(thread),
            }));
        }
    }
    println!("{}", serde_json::json!({"bench": "sfu", "rounds": rounds, "rows": rows}));
}
