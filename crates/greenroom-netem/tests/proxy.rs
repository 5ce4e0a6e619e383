//! The UDP proxy between a client and a server that returns what it gets.

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(30);

struct Proxy {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Proxy {
    fn start() -> Proxy {
        // Cargo builds the examples of a package with its tests, beside them.
        let program = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples/netem");
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (commands, answers) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Proxy { child, commands, answers }
    }

    fn ask(&mut self, command: Value) -> Value {
        writeln!(self.commands.as_mut().unwrap(), "{command}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn open(&mut self, server: &UdpSocket, up: &str, down: &str) -> SocketAddr {
        let target = server.local_addr().unwrap();
        let answer = self.ask(json!({ "do": "open", "target": target, "up": up, "down": down, "seed": 1 }));
        answer["ok"]["address"].as_str().unwrap_or_else(|| panic!("{answer}")).parse().unwrap()
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let (bytes, from) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..bytes].to_vec(), from)
}

#[test]
fn both_directions_pass_and_each_client_has_an_address_of_its_own() {
    let (mut proxy, server, clients) = (Proxy::start(), socket(), [socket(), socket()]);
    let link = proxy.open(&server, "delay=30ms", "delay=20ms");
    let start = Instant::now();
    let sources = [0, 1].map(|client: u8| {
        clients[usize::from(client)].send_to(&[client], link).unwrap();
        let (datagram, source) = receive(&server);
        assert_eq!(datagram, [client]);
        server.send_to(&[client, 9], source).unwrap();
        assert_eq!(receive(&clients[usize::from(client)]), (vec![client, 9], link));
        source
    });
    assert!(start.elapsed() >= Duration::from_millis(100));
    assert_ne!(sources[0], sources[1]);
    // The program ends with its input.
    proxy.commands.take();
    assert!(proxy.child.wait().unwrap().success());
}

#[test]
fn a_profile_is_changed_by_command_and_lost_packets_are_counted() {
    let (mut proxy, server, client) = (Proxy::start(), socket(), socket());
    let link = proxy.open(&server, "", "");
    // A packet of RTP with the SSRC 7.
    let packet = [128, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 1, 2];
    client.send_to(&packet, link).unwrap();
    receive(&server);
    assert_eq!(proxy.ask(json!({ "do": "set", "link": 1, "up": "loss=100%" })), json!({ "ok": null }));
    client.send_to(&packet, link).unwrap();
    let mut stats = || proxy.ask(json!({ "do": "stats", "link": 1 }))["ok"].clone();
    let start = Instant::now();
    let counted = loop {
        let stats = stats();
        assert!(start.elapsed() < TIMEOUT, "{stats}");
        if stats["up"]["packets"] == 2 {
            break stats;
        }
    };
    let counts = json!({ "packets": 2, "lost": 1, "queueFull": 0 });
    assert_eq!(counted["up"]["rtp"], json!({ "7": counts }));
    assert_eq!(counted["up"]["bytes"], 2 * packet.len());
    assert_eq!(counted["down"]["packets"], 0);
    assert_eq!(proxy.ask(json!({ "do": "set", "link": 1, "up": "" })), json!({ "ok": null }));
    client.send_to(&[3], link).unwrap();
    assert_eq!(receive(&server).0, [3], "the lost packet does not arrive");
}

#[test]
fn a_change_can_be_scheduled() {
    let (mut proxy, server, client) = (Proxy::start(), socket(), socket());
    let link = proxy.open(&server, "rate=1k,queue=60s", "");
    // A packet of 12 seconds, and one that waits for it.
    client.send_to(&[1; 1_500], link).unwrap();
    client.send_to(&[2], link).unwrap();
    let start = Instant::now();
    proxy.ask(json!({ "do": "set", "link": 1, "up": "rate=1M", "after": 0.2 }));
    assert_eq!([receive(&server).0[0], receive(&server).0[0]], [1, 2]);
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[test]
fn bad_commands_are_answered_with_the_reason() {
    let mut proxy = Proxy::start();
    for (command, reason) in [
        (json!({ "do": "fly" }), "unknown variant `fly`"),
        (json!({ "do": "open", "target": "nowhere" }), "invalid socket address"),
        (json!({ "do": "open", "target": "127.0.0.1:9", "up": "lag=5ms" }), "unknown property `lag=5ms`"),
        (json!({ "do": "open", "target": "127.0.0.1:9", "listen": "192.0.2.1:0" }), "192.0.2.1:0: "),
        (json!({ "do": "set", "link": 3, "up": "" }), "link 3 is not open"),
        (json!({ "do": "stats", "link": 0 }), "link 0 is not open"),
    ] {
        let answer = proxy.ask(command.clone());
        assert!(answer["error"].as_str().is_some_and(|error| error.contains(reason)), "{command}: {answer}");
    }
    let server = socket();
    proxy.open(&server, "", "");
    assert_eq!(proxy.ask(json!({ "do": "close", "link": 1 })), json!({ "ok": null }));
    assert_eq!(proxy.ask(json!({ "do": "stats", "link": 1 })), json!({ "error": "link 1 is not open" }));
}
