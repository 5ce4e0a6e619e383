use super::assembly::{Assembler, Frame};
use super::key_frames::KeyFrameRequests;
use super::packet::{Codec, Packet, micros};
use super::sound::SoundDecoder;
use super::stats::{DecoderStats, FrameDrop};
use super::video::VideoDecoder;
use greenroom_codecs::picture::Picture;
use greenroom_codecs::reorder::{Ordered, PacketInfo, ReorderBuffer};
use greenroom_codecs::{CodecError, InvalidPayload, SAMPLE_RATE};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// RTP clock rate of video, in Hz.
const VIDEO_CLOCK: u32 = 90_000;

/// What a participant's packets decode to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    Picture {
        captured: Duration,
        picture: Arc<Picture>,
    },
    /// Interleaved stereo at 48 kHz.
    Sound {
        captured: Duration,
        pcm: Vec<i16>,
    },
    /// Pictures are above 1080p and not decoded, until one is not.
    TooLarge,
    /// A key frame is needed.
    RequestKeyFrame,
}

/// Decodes the audio and the video of one participant: reorders packets, conceals lost sound, drops video up to the next key frame
/// after a loss, and limits what a hostile publisher costs.
pub struct Decoder {
    audio: ReorderBuffer<Packet>,
    video: ReorderBuffer<Packet>,
    sound: SoundDecoder,
    assembler: Assembler,
    pictures: VideoDecoder,
    requests: KeyFrameRequests,
    decoded: VecDeque<Decoded>,
    stats: DecoderStats,
}

impl Decoder {
    /// A decoder that waits so long for packets that are missing.
    pub fn new(max_wait: Duration) -> Result<Decoder, CodecError> {
        let wait = micros(max_wait);
        Ok(Decoder {
            audio: ReorderBuffer::new(SAMPLE_RATE, wait),
            video: ReorderBuffer::new(VIDEO_CLOCK, wait),
            sound: SoundDecoder::new()?,
            assembler: Assembler::default(),
            pictures: VideoDecoder::new(),
            requests: KeyFrameRequests::new(),
            decoded: VecDeque::new(),
            stats: DecoderStats::default(),
        })
    }

    /// Takes a packet that arrives at `now`. Call [`Decoder::poll`] afterwards.
    pub fn push(&mut self, now: Duration, packet: Packet) {
        let info = PacketInfo {
            sequence_number: packet.sequence_number,
            timestamp: packet.timestamp,
            payload_bytes: packet.payload.len(),
        };
        let buffer = if packet.codec == Codec::Opus { &mut self.audio } else { &mut self.video };
        buffer.insert(micros(now), micros(packet.captured), info, packet);
    }

    /// The next of what is decoded. To be called after packets, and at least as often as frames are composed, until it returns
    /// `None`.
    pub fn poll(&mut self, now: Duration) -> Option<Decoded> {
        loop {
            if let Some(decoded) = self.decoded.pop_front() {
                return Some(decoded);
            }
            if let Some(ordered) = self.audio.take_in_sequence(micros(now)) {
                self.count_lost(ordered.lost);
                let sound = self.sound.decode(now, &ordered, &mut self.stats);
                self.decoded.extend(sound);
            } else {
                let ordered = self.video.take_in_sequence(micros(now))?;
                self.count_lost(ordered.lost);
                self.push_video(now, &ordered);
            }
        }
    }

    pub fn stats(&self) -> DecoderStats {
        let mut stats = self.stats.clone();
        stats.packets_late = self.audio.late + self.video.late;
        stats.timestamps_repaired = self.audio.repaired + self.video.repaired;
        stats
    }

    fn count_lost(&mut self, lost: u64) {
        self.stats.packets_lost = self.stats.packets_lost.saturating_add(lost);
    }

    fn push_video(&mut self, now: Duration, ordered: &Ordered<Packet>) {
        let mut frames = Vec::new();
        self.assembler.push(ordered, |frame| frames.push(frame));
        if frames.is_empty() {
            return;
        }
        frames.into_iter().for_each(|frame| self.decode_frame(now, frame));
        if self.pictures.wants_key_frame(now) && self.requests.request(now) {
            self.stats.key_frames_requested += 1;
            self.decoded.push_back(Decoded::RequestKeyFrame);
        }
    }

    fn decode_frame(&mut self, now: Duration, frame: Result<Frame, InvalidPayload>) {
        let Ok(frame) = frame else {
            self.pictures.lost();
            return self.stats.drop_frame(FrameDrop::Incomplete);
        };
        let was_too_large = self.pictures.is_too_large();
        match self.pictures.decode(now, &frame) {
            Ok(picture) => {
                self.requests.answered();
                self.stats.frames_decoded += 1;
                let picture = picture.map(|picture| (frame.captured, Arc::new(picture)));
                self.decoded.extend(picture.map(|(captured, picture)| Decoded::Picture { captured, picture }));
            }
            Err(reason) => {
                self.stats.drop_frame(reason);
                if self.pictures.is_too_large() && !was_too_large {
                    self.decoded.push_back(Decoded::TooLarge);
                }
            }
        }
    }
}
