//! A layer of H.264: its access units are checked and become RTP payloads.

mod access_unit;
mod configuration;

use crate::{DropReason, IngestError};
use access_unit::AccessUnit;
use configuration::{Configuration, ParameterSets};
use greenroom_codecs::CodecError;
use greenroom_codecs::h264::{SequenceParameters, payloads};
use std::sync::Arc;

/// Difference of two presentation times that rounding to ms does not make.
const ROUNDING: i64 = 1;
/// Least difference of two frames, in µs: those of one RTP timestamp are one frame.
const MIN_INTERVAL: i64 = 1_000;

/// Why a frame does not become packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Dropped(DropReason),
    Fatal(IngestError),
}

impl From<DropReason> for Refused {
    fn from(reason: DropReason) -> Refused {
        Refused::Dropped(reason)
    }
}

/// A frame as RTP payloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) payloads: Vec<Arc<[u8]>>,
    pub(crate) is_key: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct VideoLayer {
    /// Bytes of the lengths of NAL units; `None` before a configuration.
    nal_length: Option<usize>,
    sets: ParameterSets,
    has_key_frame: bool,
    /// Decoding and presentation time of the last frame as the encoder gave them, in ms.
    order: Option<(u32, i64)>,
    last_time: Option<i64>,
    /// Width and height of the last sequence parameter set, in pixels.
    pub(crate) resolution: Option<(u32, u32)>,
    pub(crate) next_sequence_number: u64,
}

impl VideoLayer {
    /// Takes an AVCDecoderConfigurationRecord.
    pub(crate) fn configure(&mut self, record: &[u8]) -> Result<(), Refused> {
        self.nal_length = None;
        self.order = None;
        let configuration = Configuration::parse(record).ok_or(DropReason::InvalidConfiguration)?;
        self.sets = ParameterSets::default();
        self.update(configuration.sets).map_err(|refused| match refused {
            Refused::Dropped(_) => Refused::Dropped(DropReason::InvalidConfiguration),
            fatal => fatal,
        })?;
        self.nal_length = Some(configuration.nal_length);
        Ok(())
    }

    /// Takes a frame; `None` if it has no picture. After one that is dropped and was not empty, the next is a key frame.
    pub(crate) fn frame(
        &mut self,
        timestamp: u32,
        composition_time: i32,
        data: &[u8],
    ) -> Result<Option<Frame>, Refused> {
        let frame = self.check(timestamp, composition_time, data);
        if matches!(frame, Err(Refused::Dropped(reason)) if reason != DropReason::Empty) {
            self.has_key_frame = false;
        }
        frame
    }

    fn check(&mut self, timestamp: u32, composition_time: i32, data: &[u8]) -> Result<Option<Frame>, Refused> {
        let nal_length = self.nal_length.ok_or(DropReason::NotConfigured)?;
        let unit = AccessUnit::parse(data, nal_length)?;
        self.update(unit.sets.iter().copied())?;
        if !unit.has_picture {
            return Ok(None);
        }
        if unit.has_b_slices || self.is_reordered(timestamp, composition_time) {
            return Err(Refused::Fatal(IngestError::BFrames));
        }
        if unit.is_key && !self.sets.is_complete() {
            return Err(DropReason::NotConfigured.into());
        }
        if !unit.is_key && !self.has_key_frame {
            return Err(DropReason::NoKeyFrame.into());
        }
        self.has_key_frame = true;
        let sets: Vec<&[u8]> = if unit.is_key { self.sets.nal_units().collect() } else { unit.sets };
        let nal_units = [sets, unit.nal_units].concat();
        let payloads = payloads::packetize(&nal_units, payloads::MAX_PAYLOAD);
        Ok(Some(Frame { payloads, is_key: unit.is_key }))
    }

    /// Takes parameter sets, after a look at the pictures that they announce.
    fn update<'a>(&mut self, sets: impl IntoIterator<Item = &'a [u8]>) -> Result<(), Refused> {
        for nal in sets {
            if nal.first().is_some_and(|header| header & 0x1f == access_unit::SPS) {
                let parameters = SequenceParameters::parse(nal).map_err(unusable)?;
                self.resolution = Some((parameters.width as u32, parameters.height as u32));
            }
            if !self.sets.insert(nal) {
                return Err(DropReason::Damaged.into());
            }
        }
        Ok(())
    }

    /// Whether a frame is presented before one that is decoded before it.
    fn is_reordered(&mut self, timestamp: u32, composition_time: i32) -> bool {
        let Some((last_timestamp, last_time)) = self.order else {
            self.order = Some((timestamp, i64::from(composition_time)));
            return false;
        };
        let step = i64::from(timestamp.wrapping_sub(last_timestamp) as i32);
        // Relative to the last decoding time. A timestamp that jumps says nothing about the order.
        let jumps = !(0..1_000).contains(&step);
        self.order = Some((timestamp, i64::from(composition_time)));
        !jumps && step + i64::from(composition_time) + ROUNDING < last_time
    }

    /// The time of a frame, in µs: after that of the frame before it.
    pub(crate) fn advance(&mut self, time: i64) -> i64 {
        let time = self.last_time.map_or(time, |last| time.max(last.saturating_add(MIN_INTERVAL)));
        self.last_time = Some(time);
        time
    }
}

fn unusable(error: CodecError) -> Refused {
    match error {
        CodecError::Unsupported(_) => {
            Refused::Fatal(IngestError::VideoCodec("H.264 other than 8-bit 4:2:0".to_owned()))
        }
        CodecError::LimitExceeded { .. } => {
            Refused::Fatal(IngestError::Invalid("pictures larger than level 5.2 allows"))
        }
        _ => Refused::Dropped(DropReason::Damaged),
    }
}
