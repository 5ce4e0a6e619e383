use crate::audio::{AudioTrack, Packet};
use crate::flv::{self, Audio, TagError, Video};
use crate::limits::Limits;
use crate::timeline::Timeline;
use crate::video::{Frame, Refused, VideoLayer};
use crate::{AUDIO, DropReason, IngestError, MAX_LAYERS, Settings, Statistics, VIDEO};
use greenroom_media::{Codec, MediaPacket, ivs_limits};
use std::collections::VecDeque;
use std::time::Instant;

/// Stream number of the audio in the timeline; those of the video's layers follow.
const AUDIO_STREAM: usize = 0;

/// The stream of an encoder.
pub struct Ingest {
    settings: Settings,
    timeline: Timeline,
    limits: Limits,
    audio: AudioTrack,
    layers: [VideoLayer; MAX_LAYERS],
    outgoing: VecDeque<MediaPacket>,
    statistics: Statistics,
}

impl Ingest {
    pub fn new(now: Instant, settings: Settings) -> Ingest {
        Ingest {
            settings,
            timeline: Timeline::new(now),
            limits: Limits::new(now),
            audio: AudioTrack::default(),
            layers: Default::default(),
            outgoing: VecDeque::new(),
            statistics: Statistics::default(),
        }
    }

    /// Handles the body of an RTMP audio message. After an error the stream has ended.
    pub fn audio(&mut self, now: Instant, timestamp: u32, body: &[u8]) -> Result<(), IngestError> {
        // Of each track only the first.
        let mut seen = false;
        for tag in flv::audio(body) {
            match tag {
                Ok((_, Audio::Other)) => {}
                Ok((track, _)) if track != 0 || std::mem::replace(&mut seen, true) => {
                    self.statistics.count_drop(DropReason::ExtraTrack);
                }
                Ok((_, Audio::Configuration(config))) => match self.audio.configure(config)? {
                    true => self.statistics.audio_format = self.audio.format(),
                    false => self.statistics.count_drop(DropReason::InvalidConfiguration),
                },
                Ok((_, Audio::Frame(unit))) => self.audio_frame(now, timestamp, unit)?,
                Err(error) => self.unusable(error, IngestError::AudioCodec)?,
            }
        }
        Ok(())
    }

    /// Handles the body of an RTMP video message. After an error the stream has ended.
    pub fn video(&mut self, now: Instant, timestamp: u32, body: &[u8]) -> Result<(), IngestError> {
        // Of each track only the first.
        let mut seen = [false; MAX_LAYERS];
        for tag in flv::video(body) {
            match tag {
                Ok((_, Video::Other)) => {}
                Ok((track, video)) => {
                    let layer = usize::from(track);
                    match seen.get_mut(layer).is_some_and(|seen| !std::mem::replace(seen, true)) {
                        true => self.video_track(now, layer, timestamp, video)?,
                        false => self.statistics.count_drop(DropReason::ExtraTrack),
                    }
                }
                Err(error) => self.unusable(error, IngestError::VideoCodec)?,
            }
        }
        Ok(())
    }

    fn video_track(&mut self, now: Instant, layer: usize, timestamp: u32, video: Video<'_>) -> Result<(), IngestError> {
        match video {
            Video::Configuration(record) => {
                let configured = self.layers[layer].configure(record);
                self.checked(configured)?;
                self.check_resolution(layer)
            }
            Video::Frame { composition_time, data } => self.video_frame(now, layer, timestamp, composition_time, data),
            Video::Other => Ok(()),
        }
    }

    fn unusable(&mut self, error: TagError, codec: fn(String) -> IngestError) -> Result<(), IngestError> {
        match error {
            TagError::Codec(name) => return Err(codec(name)),
            TagError::Empty => self.statistics.count_drop(DropReason::Empty),
            TagError::Malformed => self.statistics.count_drop(DropReason::Malformed),
        }
        Ok(())
    }

    /// Counts what was dropped.
    fn checked<T>(&mut self, result: Result<T, Refused>) -> Result<Option<T>, IngestError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Refused::Fatal(error)) => Err(error),
            Err(Refused::Dropped(reason)) => {
                self.statistics.count_drop(reason);
                Ok(None)
            }
        }
    }

    fn audio_frame(&mut self, now: Instant, timestamp: u32, unit: &[u8]) -> Result<(), IngestError> {
        if unit.is_empty() {
            self.statistics.count_drop(DropReason::Empty);
            return Ok(());
        }
        if self.audio.format().is_none() {
            self.statistics.count_drop(DropReason::NotConfigured);
            return Ok(());
        }
        let media_time = self.timeline.media_time(now, AUDIO_STREAM, timestamp, 0);
        let (timeline, outgoing) = (&self.timeline, &mut self.outgoing);
        let result =
            self.audio.frame(media_time, unit, |packet| outgoing.push_back(audio_packet(timeline, now, packet)));
        match result {
            Ok(()) => {
                self.statistics.audio_frames += 1;
                self.check_limits(AUDIO, media_time, unit.len())
            }
            Err(reason) => {
                self.statistics.count_drop(reason);
                Ok(())
            }
        }
    }

    fn video_frame(
        &mut self,
        now: Instant,
        layer: usize,
        timestamp: u32,
        composition_time: i32,
        data: &[u8],
    ) -> Result<(), IngestError> {
        let frame = self.layers[layer].frame(timestamp, composition_time, data);
        let frame = self.checked(frame)?.flatten();
        self.check_resolution(layer)?;
        let Some(frame) = frame else { return Ok(()) };
        let media_time = self.timeline.media_time(now, 1 + layer, timestamp, composition_time);
        let bytes = frame.payloads.iter().map(|payload| payload.len()).sum();
        self.check_limits(VIDEO, media_time, bytes)?;
        self.statistics.video_frames += 1;
        self.statistics.key_frames += u64::from(frame.is_key);
        self.emit_frame(now, layer, media_time, frame);
        Ok(())
    }

    fn emit_frame(&mut self, now: Instant, layer: usize, media_time: i64, frame: Frame) {
        let state = &mut self.layers[layer];
        let media_time = state.advance(media_time);
        let timestamp = (media_time.wrapping_mul(9) / 100) as u32;
        let captured = self.timeline.captured(media_time).min(now);
        let count = frame.payloads.len();
        for (index, payload) in frame.payloads.into_iter().enumerate() {
            self.outgoing.push_back(MediaPacket {
                track: VIDEO,
                layer: layer as u8,
                codec: Codec::H264,
                sequence_number: state.next_sequence_number,
                timestamp,
                marker: index + 1 == count,
                captured,
                rotation: None,
                payload,
            });
            state.next_sequence_number += 1;
        }
    }

    fn check_limits(&mut self, track: usize, media_time: i64, bytes: usize) -> Result<(), IngestError> {
        if self.timeline.is_too_fast() {
            return Err(IngestError::Invalid("sent faster than real time"));
        }
        let checked = self.limits.check(track, self.timeline.at(media_time), bytes);
        if self.settings.strict_ivs { checked } else { Ok(()) }
    }

    fn check_resolution(&mut self, layer: usize) -> Result<(), IngestError> {
        match self.layers[layer].resolution {
            Some((width, height)) if self.settings.strict_ivs && ivs_limits::exceeds_resolution((width, height)) => {
                Err(IngestError::Resolution { width, height })
            }
            _ => Ok(()),
        }
    }

    /// The next packet for the media engine.
    pub fn poll_packet(&mut self) -> Option<MediaPacket> {
        self.outgoing.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.limits.deadline().filter(|_| self.settings.strict_ivs)
    }

    /// Fails if audio or video are required and have not come in time.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), IngestError> {
        if self.settings.strict_ivs { self.limits.check_missing(now) } else { Ok(()) }
    }

    pub fn statistics(&self) -> Statistics {
        let sent = self.layers.iter().filter(|layer| layer.next_sequence_number > 0);
        Statistics {
            timestamps_repaired: self.timeline.repaired,
            clock_steps: self.timeline.steps,
            audio_gaps: self.audio.gaps,
            layers: sent.clone().count(),
            resolution: sent.filter_map(|layer| layer.resolution).max_by_key(|(width, height)| width * height),
            ..self.statistics
        }
    }
}

fn audio_packet(timeline: &Timeline, now: Instant, packet: Packet) -> MediaPacket {
    MediaPacket {
        track: AUDIO,
        layer: 0,
        codec: Codec::Opus,
        sequence_number: packet.sequence_number,
        timestamp: packet.timestamp,
        marker: false,
        captured: timeline.captured(packet.media_time).min(now),
        rotation: None,
        payload: packet.payload,
    }
}
