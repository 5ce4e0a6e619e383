//! The video track: packets to frames. Of a frame that depends on a lost one, nothing is recorded: the next key frame is
//! waited for.

use crate::format::VideoFormat;
use crate::h264::{AccessUnit, Invalid, ParameterSets};
use crate::vp8::Transcoder;
use crate::{RecordError, RecorderStats, Vp8Policy};
use greenroom_codecs::reorder::Ordered;
use greenroom_codecs::vp8::payloads;
use greenroom_media::{Codec, MediaPacket};
use std::collections::VecDeque;

/// A frame of H.264.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Capture time, in microseconds.
    pub(crate) time: i64,
    /// Of a key frame: its format.
    pub(crate) key: Option<VideoFormat>,
    /// NAL units with lengths of 4 bytes; of a key frame, with its parameter sets.
    pub(crate) data: Vec<u8>,
}

/// What is assembled of a frame.
#[derive(Debug)]
struct Assembly {
    timestamp: i64,
    time: i64,
    unit: Unit,
}

#[derive(Debug)]
enum Unit {
    H264(AccessUnit),
    Vp8(Vec<u8>),
}

#[derive(Debug)]
pub(crate) struct VideoTrack {
    vp8: Vp8Policy,
    assembly: Option<Assembly>,
    sets: ParameterSets,
    transcoder: Option<Transcoder>,
    rotation: u8,
    /// Frames are dropped until the next key frame.
    needs_key: bool,
    frames: VecDeque<Frame>,
}

impl VideoTrack {
    pub(crate) fn new(vp8: Vp8Policy) -> VideoTrack {
        VideoTrack {
            vp8,
            assembly: None,
            sets: ParameterSets::default(),
            transcoder: None,
            rotation: 0,
            needs_key: true,
            frames: VecDeque::new(),
        }
    }

    pub(crate) fn needs_key(&self) -> bool {
        self.needs_key
    }

    /// Drops frames until the next key frame.
    pub(crate) fn wait_for_key(&mut self) {
        self.needs_key = true;
    }

    pub(crate) fn take_frame(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// Clockwise quarter turns of the last frame.
    pub(crate) fn rotation(&self) -> u8 {
        self.rotation
    }

    pub(crate) fn is_transcoded(&self) -> bool {
        self.transcoder.is_some()
    }

    /// Makes the next frame a key frame, if frames are transcoded.
    pub(crate) fn force_key(&mut self) {
        if let Some(transcoder) = &mut self.transcoder {
            transcoder.force_key();
        }
    }

    /// Takes the next packet.
    pub(crate) fn push(&mut self, ordered: Ordered<MediaPacket>, stats: &mut RecorderStats) -> Result<(), RecordError> {
        let packet = ordered.packet;
        if packet.codec == Codec::Vp8 && self.vp8 == Vp8Policy::Refuse {
            return Err(RecordError::UnsupportedCodec);
        }
        if ordered.lost > 0 {
            stats.frames_dropped_loss += u64::from(self.assembly.take().is_some());
            self.needs_key = true;
        }
        if self.assembly.as_ref().is_some_and(|assembly| assembly.timestamp != ordered.timestamp) {
            self.finish(stats);
        }
        if packet.payload.is_empty() {
            return Ok(());
        }
        self.rotation = packet.rotation.unwrap_or(self.rotation);
        let assembly = self.assembly.get_or_insert_with(|| Assembly {
            timestamp: ordered.timestamp,
            time: ordered.time,
            unit: match packet.codec {
                Codec::Vp8 => Unit::Vp8(Vec::new()),
                Codec::H264 | Codec::Opus => Unit::H264(AccessUnit::default()),
            },
        });
        let pushed = match (&mut assembly.unit, packet.codec) {
            (Unit::H264(unit), Codec::H264) => unit.push(&packet.payload),
            (Unit::Vp8(frame), Codec::Vp8) => payloads::append(frame, &packet.payload),
            _ => Err(Invalid),
        };
        if pushed.is_err() {
            self.assembly = None;
            self.needs_key = true;
            stats.packets_invalid += 1;
            stats.frames_dropped_invalid += 1;
        } else if packet.marker {
            self.finish(stats);
        }
        Ok(())
    }

    /// Completes the frame that is assembled.
    pub(crate) fn finish(&mut self, stats: &mut RecorderStats) {
        let Some(assembly) = self.assembly.take() else { return };
        let time = assembly.time;
        let unit = match assembly.unit {
            Unit::H264(unit) => Ok(Some(unit)),
            Unit::Vp8(frame) => self.transcode(&frame, time, stats),
        };
        let frame = unit.and_then(|unit| unit.map(|unit| self.frame(unit, time, stats)).transpose());
        match frame {
            Ok(frame) => self.frames.extend(frame.flatten()),
            Err(Invalid) => {
                self.needs_key = true;
                stats.frames_dropped_invalid += 1;
            }
        }
    }

    /// A frame of VP8 as H.264, unless it depends on a lost one or is not shown.
    fn transcode(&mut self, frame: &[u8], time: i64, stats: &mut RecorderStats) -> Result<Option<AccessUnit>, Invalid> {
        if self.needs_key && !payloads::is_key(frame) {
            stats.frames_dropped_loss += 1;
            return Ok(None);
        }
        let transcoder = self.transcoder.get_or_insert_with(Transcoder::default);
        if self.needs_key {
            transcoder.force_key();
        }
        transcoder.transcode(frame, time)
    }

    fn frame(&mut self, unit: AccessUnit, time: i64, stats: &mut RecorderStats) -> Result<Option<Frame>, Invalid> {
        unit.finish()?;
        let changed = self.sets.update(&unit)?;
        if !unit.is_key {
            // Parameter sets change at key frames only; what follows cannot be decoded with those of the segment.
            self.needs_key |= changed;
            if self.needs_key {
                stats.frames_dropped_loss += 1;
                return Ok(None);
            }
        }
        let key = match unit.is_key {
            true => Some(self.sets.format(self.rotation)?),
            false => None,
        };
        self.needs_key &= key.is_none();
        let data = if unit.is_key { self.sets.key_frame(&unit.data) } else { unit.data };
        Ok(Some(Frame { time, key, data }))
    }
}
