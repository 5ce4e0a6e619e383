//! Messages to the encoder.

use crate::amf::Value;
use crate::messages::{control, kind};
use crate::outbound::{Outbound, WINDOW_SIZE};

/// Set Peer Bandwidth: as the previous limit type, or hard.
const DYNAMIC: u8 = 2;

/// Capabilities of Enhanced RTMP: `capsEx` flags for multitrack media and for modifiers.
const CAPABILITIES: u32 = 0x02 | 0x04;
/// `videoFourCcInfoMap` flag: media are forwarded.
const CAN_FORWARD: f64 = 4.0;
/// `audioFourCcInfoMap` flag: media are decoded.
const CAN_DECODE: f64 = 1.0;

pub(crate) struct Replies {
    pub(crate) outbound: Outbound,
}

impl Replies {
    pub(crate) fn new() -> Replies {
        Replies { outbound: Outbound::new() }
    }

    /// Window size, bandwidth and chunk size, which precede the answer to `connect`.
    pub(crate) fn setup(&mut self) {
        self.outbound.control(kind::WINDOW_SIZE, &WINDOW_SIZE.to_be_bytes());
        let mut bandwidth = WINDOW_SIZE.to_be_bytes().to_vec();
        bandwidth.push(DYNAMIC);
        self.outbound.control(kind::SET_PEER_BANDWIDTH, &bandwidth);
        self.outbound.set_chunk_size();
    }

    pub(crate) fn stream_begin(&mut self, stream: u32) {
        self.outbound.user_control(control::STREAM_BEGIN, stream);
    }

    /// The result of `connect`. The server's codecs of Enhanced RTMP are named to encoders that know of it only.
    pub(crate) fn connected(&mut self, transaction: f64, is_enhanced: bool) {
        let server =
            Value::object([("fmsVer", "FMS/3,0,1,123".into()), ("capabilities", 31.0.into()), ("mode", 1.0.into())]);
        let mut information = status("status", "NetConnection.Connect.Success", "Connection succeeded.");
        information.push(("objectEncoding".to_owned(), 0.0.into()));
        if is_enhanced {
            let codecs = Value::Array(vec!["avc1".into(), "mp4a".into()]);
            information.push(("fourCcList".to_owned(), codecs));
            information.push(("videoFourCcInfoMap".to_owned(), Value::object([("avc1", CAN_FORWARD.into())])));
            information.push(("audioFourCcInfoMap".to_owned(), Value::object([("mp4a", CAN_DECODE.into())])));
            information.push(("capsEx".to_owned(), f64::from(CAPABILITIES).into()));
        }
        self.outbound.command(0, "_result", transaction, &[server, Value::Object(information)]);
    }

    pub(crate) fn error(&mut self, transaction: f64, code: &str, description: &str) {
        let information = Value::Object(status("error", code, description));
        self.outbound.command(0, "_error", transaction, &[Value::Null, information]);
    }

    pub(crate) fn on_status(&mut self, stream: u32, level: &str, code: &str, description: &str) {
        self.notice(stream, "onStatus", level, code, description);
    }

    /// A command that expects no answer, with a status.
    pub(crate) fn notice(&mut self, stream: u32, name: &str, level: &str, code: &str, description: &str) {
        let information = Value::Object(status(level, code, description));
        self.outbound.command(stream, name, 0.0, &[Value::Null, information]);
    }
}

fn status(level: &str, code: &str, description: &str) -> Vec<(String, Value)> {
    [("level", level), ("code", code), ("description", description)]
        .map(|(name, value)| (name.to_owned(), value.into()))
        .into()
}
