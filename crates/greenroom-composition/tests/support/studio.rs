//! A pipeline on a virtual clock with its participants, and its decoded output.

pub use super::device::*;
use greenroom_codecs::SAMPLE_RATE;
use greenroom_codecs::aac::AacDecoder;
use greenroom_codecs::h264::H264Decoder;
use greenroom_codecs::picture::Picture;
use greenroom_composition::layout::{Layout, Rect, Size};
use greenroom_composition::pipeline::{AudioUnit, ComposerConfig, Output, Packet, Pipeline, VideoUnit};
use greenroom_composition::scene::{Publisher, SceneConfig, VideoState};
use greenroom_composition::{CompositorConfig, ParticipantId};
use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::time::Duration;

pub const START: Duration = Duration::from_secs(1_700_000_000);
const STEP: Duration = Duration::from_millis(10);

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub fn config(output: Size, frame_rate: f64) -> ComposerConfig {
    ComposerConfig {
        compositor: CompositorConfig {
            output,
            frame_rate,
            layout: Layout::default(),
            delay: ms(300),
            transitions: SceneConfig::default(),
        },
        video_bitrate: 2_000_000,
        audio_bitrate: 128_000,
        key_frame_interval: Duration::from_secs(2),
    }
}

pub fn publisher(id: &str) -> Publisher {
    Publisher { id: id.into(), attributes: BTreeMap::new(), audio: true, video: VideoState::Playing }
}

/// The output of a pipeline.
#[derive(Default)]
pub struct Recorded {
    pub video: Vec<VideoUnit>,
    pub audio: Vec<AudioUnit>,
}

pub struct Studio {
    pub pipeline: Pipeline,
    pub now: Duration,
    pub devices: BTreeMap<ParticipantId, Device>,
    pub recorded: Recorded,
    in_flight: BTreeMap<(Duration, u64), (ParticipantId, Packet)>,
    sent: u64,
    /// The time that the work of a frame takes is reported to be this part of a frame.
    pub load: Option<f64>,
    frame: Duration,
}

impl Studio {
    pub fn new(config: ComposerConfig) -> Studio {
        Studio::with(config.clone(), Pipeline::new(config, START).unwrap(), Duration::ZERO)
    }

    /// A studio at a time since the start.
    pub fn with(config: ComposerConfig, pipeline: Pipeline, at: Duration) -> Studio {
        Studio {
            pipeline,
            now: START + at,
            devices: BTreeMap::new(),
            recorded: Recorded::default(),
            in_flight: BTreeMap::new(),
            sent: 0,
            load: None,
            frame: Duration::from_secs_f64(1.0 / config.compositor.frame_rate),
        }
    }

    /// Time since the start.
    pub fn at(&self) -> Duration {
        self.now - START
    }

    pub fn join(&mut self, device: Device) {
        let publisher = Publisher { audio: device.sound.is_some(), ..publisher(&device.id) };
        self.pipeline.update(publisher).unwrap();
        self.devices.insert(device.id.clone(), device);
    }

    pub fn leave(&mut self, id: &str, hold: bool) {
        self.devices.get_mut(id).unwrap().left = true;
        assert!(self.pipeline.remove(&id.into(), hold).is_some());
    }

    pub fn device(&mut self, id: &str) -> &mut Device {
        self.devices.get_mut(id).unwrap()
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let until = self.at() + STEP;
            for (id, device) in &mut self.devices {
                for mut packet in device.capture(until) {
                    if let Some(delay) = (device.network)(&mut packet) {
                        self.sent += 1;
                        self.in_flight.insert((START + until + delay, self.sent), (id.clone(), packet));
                    }
                }
            }
            self.now += STEP;
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        while let Some(first) = self.in_flight.first_entry().filter(|first| first.key().0 <= self.now) {
            let (id, packet) = first.remove();
            let is_known = self.pipeline.push(self.now, &id, packet);
            assert!(is_known || self.devices[&id].left);
        }
        loop {
            let made = self.pipeline.advance(self.now);
            if let Some(load) = self.load.filter(|_| made) {
                self.pipeline.report_busy(self.frame.mul_f64(load));
            }
            self.take_outputs();
            if !made {
                return;
            }
        }
    }

    pub fn take_outputs(&mut self) {
        while let Some(output) = self.pipeline.poll_output() {
            match output {
                Output::Video(unit) => self.recorded.video.push(unit),
                Output::Audio(unit) => self.recorded.audio.push(unit),
                Output::RequestKeyFrame(id) => {
                    let at = self.at();
                    self.devices.get_mut(&id).into_iter().for_each(|device| device.request_key_frame(at));
                }
                Output::MaxHeight(id, height) => {
                    self.devices.get_mut(&id).into_iter().for_each(|device| device.max_height = Some(height));
                }
            }
        }
    }

    /// The output is continuous: every frame and every sample from the first one on.
    pub fn assert_continuous(&self) {
        let numbers: Vec<_> = self.recorded.video.iter().map(|unit| unit.frame).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        self.assert_monotonic();
    }

    /// Times of video grow, sound has no gap, and both end together.
    pub fn assert_monotonic(&self) {
        let Recorded { video, audio } = &self.recorded;
        assert!(video.windows(2).all(|pair| pair[1].time > pair[0].time && pair[1].frame > pair[0].frame));
        assert!(audio.windows(2).all(|pair| pair[1].sample == pair[0].sample + 1_024));
        let end = audio.last().unwrap().sample as f64 / f64::from(SAMPLE_RATE);
        let apart = (end - video.last().unwrap().time.as_secs_f64()).abs();
        assert!(apart < 0.1 + 2.0 * self.frame.as_secs_f64(), "{apart}");
    }

    /// The frames of a span since the start, decoded: with their times.
    pub fn pictures(&self, from: Duration, length: Duration) -> Vec<(Duration, Picture)> {
        let mut decoder = H264Decoder::new();
        let units = &self.recorded.video;
        let first = units.iter().rposition(|unit| unit.key_frame && unit.time <= from).unwrap_or(0);
        let needed = units[first..].iter().take_while(|unit| unit.time < from + length);
        let decoded = needed.map(|unit| (unit.time, decoder.decode(&unit.data).expect("valid").expect("shown")));
        decoded.filter(|(time, _)| *time >= from).collect()
    }

    pub fn last_picture(&self) -> Picture {
        let last = self.recorded.video.last().unwrap().time;
        self.pictures(last, ms(1)).pop().unwrap().1
    }

    /// The sound, as left samples, of a span since the start.
    pub fn sound(&self, from: Duration, length: Duration) -> Vec<f64> {
        let mut decoder = AacDecoder::new(&self.pipeline.composer().audio_specific_config()).unwrap();
        let sample = |time: Duration| (time.as_secs_f64() * f64::from(SAMPLE_RATE)) as u64;
        let (start, end) = (sample(from), sample(from + length));
        let mut pcm = Vec::new();
        // The unit before is needed for the first one.
        let needed = self.recorded.audio.iter().filter(|unit| unit.sample + 3_072 > start && unit.sample < end);
        let needed: Vec<_> = needed.collect();
        for unit in &needed {
            decoder.decode(&unit.data, &mut pcm).unwrap();
        }
        let skipped = (start - needed[0].sample) as usize;
        let left = pcm.iter().step_by(2).map(|sample| f64::from(*sample) / 32_767.0);
        left.skip(skipped).take((end - start) as usize).collect()
    }

    pub fn tile(&self, id: &str) -> Rect {
        self.pipeline.composer().compositor().tiles().find(|tile| &*tile.participant == id).expect("has a tile").rect
    }
}

/// Amplitude of a frequency.
pub fn amplitude(sound: &[f64], frequency: f64) -> f64 {
    let (mut real, mut imaginary) = (0.0, 0.0);
    for (at, sample) in sound.iter().enumerate() {
        let angle = at as f64 * frequency * TAU / f64::from(SAMPLE_RATE);
        real += sample * angle.cos();
        imaginary += sample * angle.sin();
    }
    2.0 * real.hypot(imaginary) / sound.len() as f64
}

/// Peak signal-to-noise ratio of the luma in a rectangle, in decibels.
pub fn psnr(one: &Picture, other: &Picture, rect: Rect) -> f64 {
    let row = |picture: &Picture, y: usize| {
        picture.y()[y * picture.width() + rect.x..y * picture.width() + rect.right()].to_vec()
    };
    let squares = (rect.y..rect.bottom()).flat_map(|y| {
        let pairs: Vec<_> = row(one, y).into_iter().zip(row(other, y)).collect();
        pairs.into_iter().map(|(one, other)| (f64::from(one) - f64::from(other)).powi(2))
    });
    let mean = squares.sum::<f64>() / (rect.width * rect.height) as f64;
    10.0 * (255.0 * 255.0 / mean.max(1e-3)).log10()
}
