//! Types of messages, and the bodies of those that control the protocol (RTMP specification, sections 5.4 and 6.2).

use crate::error::ProtocolError;

pub(crate) mod kind {
    pub const SET_CHUNK_SIZE: u8 = 1;
    pub const ABORT: u8 = 2;
    pub const ACKNOWLEDGEMENT: u8 = 3;
    pub const USER_CONTROL: u8 = 4;
    pub const WINDOW_SIZE: u8 = 5;
    pub const SET_PEER_BANDWIDTH: u8 = 6;
    pub const AUDIO: u8 = 8;
    pub const VIDEO: u8 = 9;
    pub const DATA_AMF3: u8 = 15;
    pub const COMMAND_AMF3: u8 = 17;
    pub const DATA: u8 = 18;
    pub const COMMAND: u8 = 20;
    pub const AGGREGATE: u8 = 22;
}

/// Types of user control events.
pub(crate) mod control {
    pub const STREAM_BEGIN: u16 = 0;
    pub const PING_REQUEST: u16 = 6;
    pub const PING_RESPONSE: u16 = 7;
}

/// The number in the first four bytes of a control message.
pub(crate) fn control_number(body: &[u8]) -> Result<u32, ProtocolError> {
    let number =
        body.first_chunk().ok_or_else(|| ProtocolError::new("control_message", "control message ends early"))?;
    Ok(u32::from_be_bytes(*number))
}

/// The timestamp of a ping request that has to be answered.
pub(crate) fn ping_request(body: &[u8]) -> Result<Option<u32>, ProtocolError> {
    match body.split_first_chunk() {
        Some((event, timestamp)) if u16::from_be_bytes(*event) == control::PING_REQUEST => {
            control_number(timestamp).map(Some)
        }
        Some(_) => Ok(None),
        None => Err(ProtocolError::new("control_message", "user control message ends early")),
    }
}

/// The AMF0 part of a command or data message; the body of one of an AMF3 type begins with a byte 0.
pub(crate) fn amf0(kind: u8, body: &[u8]) -> &[u8] {
    match body {
        [0, rest @ ..] if matches!(kind, kind::COMMAND_AMF3 | kind::DATA_AMF3) => rest,
        _ => body,
    }
}
