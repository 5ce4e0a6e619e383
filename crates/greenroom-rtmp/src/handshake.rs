//! The plain handshake (RTMP specification, section 5.2). Encoders that send the digests of Flash Player in C1 accept it, too: S1 says
//! by its version 0 that the server does not use them. Likewise servers by that of C1.

use crate::error::ProtocolError;

const VERSION: u8 = 3;
const PACKET: usize = 1_536;

/// First byte of TLS records with a ClientHello and with an alert.
const TLS_HANDSHAKE: u8 = 0x16;
const TLS_ALERT: u8 = 0x15;

/// One side of the handshake. Both receive a version and a packet, which they send back, and then their own packet, which is not compared.
pub(crate) struct Handshake {
    side: Side,
    state: State,
}

#[derive(Clone, Copy)]
enum Side {
    /// Has sent C0 and C1.
    Client,
    /// Sends S0 and S1, made of these bytes, when it has received C1.
    Server { random: [u8; 32] },
}

enum State {
    /// The version and the packet are incomplete: what has been received of them.
    Hello { received: Vec<u8> },
    /// So many bytes of the confirmation, C2 or S2, are missing.
    Confirmation { missing: usize },
}

impl Handshake {
    pub(crate) fn server(random: [u8; 32]) -> Handshake {
        Handshake { side: Side::Server { random }, state: State::Hello { received: Vec::new() } }
    }

    /// Appends C0 and C1 to `out`.
    pub(crate) fn client(random: [u8; 32], out: &mut Vec<u8>) -> Handshake {
        write_hello(random, out);
        Handshake { side: Side::Client, state: State::Hello { received: Vec::new() } }
    }

    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.state, State::Confirmation { missing: 0 })
    }

    /// Handles bytes, appends the answer to `out`, and returns the bytes that follow the handshake.
    pub(crate) fn receive<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
        match &mut self.state {
            State::Hello { received } => {
                let (hello, rest) = bytes.split_at(bytes.len().min(1 + PACKET - received.len()));
                received.extend_from_slice(hello);
                let Some((&version, packet)) = received.split_first() else { return Ok(rest) };
                self.side.check_version(version)?;
                if packet.len() < PACKET {
                    return Ok(rest);
                }
                if let Side::Server { random } = self.side {
                    write_hello(random, out);
                }
                out.extend_from_slice(packet);
                self.state = State::Confirmation { missing: PACKET };
                self.receive(rest, out)
            }
            State::Confirmation { missing } => {
                let (confirmation, rest) = bytes.split_at(bytes.len().min(*missing));
                *missing -= confirmation.len();
                Ok(rest)
            }
        }
    }
}

impl Side {
    fn check_version(self, version: u8) -> Result<(), ProtocolError> {
        let hint = match (version, self) {
            (VERSION, _) => return Ok(()),
            (6 | 8, _) => " (RTMPE is not supported; use RTMPS)",
            (TLS_HANDSHAKE, Side::Server { .. }) => " (the client speaks TLS; use the RTMPS port)",
            (TLS_ALERT, Side::Client) => " (the server speaks TLS; use rtmps://)",
            (b'A'..=b'Z', Side::Server { .. }) => " (the client speaks HTTP)",
            (b'H', Side::Client) => " (the server speaks HTTP)",
            _ => "",
        };
        Err(ProtocolError::new("version", format!("RTMP version {version} instead of {VERSION}{hint}")))
    }
}

/// The version, and a packet with time 0, version 0, and bytes that distinguish this handshake from others.
fn write_hello(random: [u8; 32], out: &mut Vec<u8>) {
    out.push(VERSION);
    out.extend_from_slice(&[0; 8]);
    out.extend(random.iter().cycle().take(PACKET - 8));
}
