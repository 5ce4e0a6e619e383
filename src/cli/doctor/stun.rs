//! STUN messages (RFC 8489), as needed for Binding and TURN Allocate (RFC 8656).

use crate::config::TurnCredentials;
use aws_lc_rs::hmac;
use md5::{Digest as _, Md5};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

pub const BINDING: u16 = 0x0001;
pub const ALLOCATE: u16 = 0x0003;
pub const REFRESH: u16 = 0x0004;
/// Bits of a message type that make it a success response, and an error response.
pub const SUCCESS: u16 = 0x0100;
pub const ERROR: u16 = 0x0110;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
pub const LIFETIME: u16 = 0x000d;
pub const REALM: u16 = 0x0014;
pub const NONCE: u16 = 0x0015;
pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
pub const REQUESTED_TRANSPORT: u16 = 0x0019;
pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;

const COOKIE: u32 = 0x2112_a442;
/// Bytes of the header.
pub const HEADER: usize = 20;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: u16,
    pub transaction: [u8; 12],
    pub attributes: Vec<(u16, Vec<u8>)>,
}

impl Message {
    pub fn new(kind: u16, transaction: [u8; 12]) -> Message {
        Message { kind, transaction, attributes: Vec::new() }
    }

    pub fn with(mut self, attribute: u16, value: impl Into<Vec<u8>>) -> Message {
        self.attributes.push((attribute, value.into()));
        self
    }

    pub fn attribute(&self, wanted: u16) -> Option<&[u8]> {
        self.attributes.iter().find(|(name, _)| *name == wanted).map(|(_, value)| &value[..])
    }

    /// The bytes of a message without authentication.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_with_room(0)
    }

    /// The bytes of a request with long-term credentials (RFC 8489, section 9.2).
    pub fn encode_authenticated(&self, credentials: &TurnCredentials, realm: &[u8], nonce: &[u8]) -> Vec<u8> {
        let username = credentials.username.as_bytes();
        let message = self.clone().with(USERNAME, username).with(REALM, realm).with(NONCE, nonce);
        let mut bytes = message.encode_with_room(24);
        let secret = [username, realm, credentials.password.0.as_bytes()].join(&b':');
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &Md5::digest(secret));
        let tag = hmac::sign(&key, &bytes);
        put(&mut bytes, MESSAGE_INTEGRITY, tag.as_ref());
        bytes
    }

    /// The bytes, with a length that counts `room` more bytes.
    fn encode_with_room(&self, room: usize) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, value) in &self.attributes {
            put(&mut body, *name, value);
        }
        let length = u16::try_from(body.len() + room).unwrap_or(u16::MAX);
        let head = [&self.kind.to_be_bytes()[..], &length.to_be_bytes(), &COOKIE.to_be_bytes(), &self.transaction];
        [&head.concat()[..], &body].concat()
    }

    /// Decodes a message; `None` if it is malformed.
    pub fn decode(bytes: &[u8]) -> Option<Message> {
        let (head, mut rest) = bytes.split_at_checked(HEADER)?;
        let kind = u16::from_be_bytes(head[..2].try_into().ok()?);
        let cookie = u32::from_be_bytes(head[4..8].try_into().ok()?);
        if kind & 0xc000 != 0 || cookie != COOKIE || body_length(head) != rest.len() {
            return None;
        }
        let mut message = Message::new(kind, head[8..].try_into().ok()?);
        while !rest.is_empty() {
            let (head, after) = rest.split_at_checked(4)?;
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let value = after.get(..length)?;
            message.attributes.push((u16::from_be_bytes([head[0], head[1]]), value.to_vec()));
            rest = after.get(length.next_multiple_of(4)..)?;
        }
        Some(message)
    }

    /// Code and text of an error response.
    pub fn error(&self) -> Option<(u16, String)> {
        let value = self.attribute(ERROR_CODE)?;
        let [_, _, class, number, text @ ..] = value else { return None };
        Some((u16::from(class & 7) * 100 + u16::from(*number), String::from_utf8_lossy(text).into_owned()))
    }

    /// An address that is masked with the cookie and the transaction (RFC 8489, section 14.2).
    pub fn address(&self, attribute: u16) -> Option<SocketAddr> {
        let [_, family, port_high, port_low, ip @ ..] = self.attribute(attribute)? else { return None };
        let port = u16::from_be_bytes([*port_high, *port_low]) ^ (COOKIE >> 16) as u16;
        let mask = self.mask();
        let ip = match family {
            1 => IpAddr::from((u32::from_be_bytes(ip.try_into().ok()?) ^ COOKIE).to_be_bytes()),
            2 => IpAddr::V6(Ipv6Addr::from(u128::from_be_bytes(ip.try_into().ok()?) ^ mask)),
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }

    /// The success response to a Binding request from `source`.
    pub fn answer(&self, source: SocketAddr) -> Message {
        let port = (source.port() ^ (COOKIE >> 16) as u16).to_be_bytes();
        let value = match source.ip().to_canonical() {
            IpAddr::V4(ip) => [&[0, 1], &port[..], &(u32::from(ip) ^ COOKIE).to_be_bytes()].concat(),
            IpAddr::V6(ip) => [&[0, 2], &port[..], &(u128::from(ip) ^ self.mask()).to_be_bytes()].concat(),
        };
        Message::new(BINDING | SUCCESS, self.transaction).with(XOR_MAPPED_ADDRESS, value)
    }

    fn mask(&self) -> u128 {
        let mut mask = [0; 16];
        mask[..4].copy_from_slice(&COOKIE.to_be_bytes());
        mask[4..].copy_from_slice(&self.transaction);
        u128::from_be_bytes(mask)
    }
}

/// Bytes after a header.
pub fn body_length(header: &[u8]) -> usize {
    usize::from(u16::from_be_bytes([header[2], header[3]]))
}

fn put(bytes: &mut Vec<u8>, name: u16, value: &[u8]) {
    bytes.extend(name.to_be_bytes());
    bytes.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn masked_addresses_are_decoded() {
        let request = Message::new(BINDING, *b"abcdefghijkl");
        for source in ["192.0.2.7:4601", "[2001:db8::7]:65535"] {
            let source = source.parse().unwrap();
            let answer = Message::decode(&request.answer(source).encode()).unwrap();
            assert_eq!((answer.kind, answer.transaction), (BINDING | SUCCESS, request.transaction));
            assert_eq!(answer.address(XOR_MAPPED_ADDRESS), Some(source));
        }
    }

    #[test]
    fn a_request_with_credentials_has_them_in_order() {
        let credentials = TurnCredentials { username: "me".into(), password: Secret("hush".into()) };
        let request = Message::new(ALLOCATE, [1; 12]).with(REQUESTED_TRANSPORT, [17, 0, 0, 0]);
        let bytes = request.encode_authenticated(&credentials, b"example.org", b"n1");
        let decoded = Message::decode(&bytes).unwrap();
        let names: Vec<_> = decoded.attributes.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, [REQUESTED_TRANSPORT, USERNAME, REALM, NONCE, MESSAGE_INTEGRITY]);
        assert_eq!(bytes.len(), HEADER + body_length(&bytes));
    }

    #[test]
    fn malformed_messages_are_rejected() {
        let good = Message::new(BINDING, [7; 12]).with(REALM, *b"x").encode();
        assert!(Message::decode(&good).is_some());
        for length in 0..good.len() {
            assert_eq!(Message::decode(&good[..length]), None, "{length}");
        }
        let mut other = good.clone();
        other[4] ^= 1;
        assert_eq!(Message::decode(&other), None);
    }
}
