//! Timestamps of encoders: they wrap, jump, drift and pause.

mod support;

use greenroom_ingest::IngestError;
use greenroom_media::MediaPacket;
use std::time::Duration;
use support::{Camera, Encoder, Sound, aac, bursts};

/// An encoder of video at 25 frames/s and of mono audio.
struct Stream {
    encoder: Encoder,
    /// The configurations, and the first frame.
    start: [(bool, Vec<u8>); 3],
    inter: Vec<u8>,
    units: Vec<Vec<u8>>,
    frames: usize,
    samples: usize,
}

impl Stream {
    fn new(pcm: &[i16]) -> Stream {
        let mut camera = Camera::new(64, 64);
        let ((configuration, key), (config, units)) = (camera.start(), aac(1, pcm));
        let start = [(true, config), (false, configuration), (false, key)];
        Stream { encoder: Encoder::new(false), start, inter: camera.inter(), units, frames: 0, samples: 0 }
    }

    fn silent(seconds: usize) -> Stream {
        Stream::new(&vec![0; 48_000 * seconds])
    }

    /// Sends what an encoder does up to a time in ms. The timestamp is a function of that time and of whether it is of audio, the
    /// arrival of the time.
    fn run(&mut self, until: usize, timestamp: impl Fn(u64, bool) -> u32, arrival: impl Fn(u64) -> u64) {
        loop {
            let (video, audio) = (self.frames * 40, self.samples / 48);
            let time = video.min(audio) as u64;
            if time >= until as u64 {
                return;
            }
            self.encoder.at(arrival(time));
            let is_audio = audio < video;
            let timestamp = timestamp(time, is_audio);
            match (is_audio, self.frames) {
                (true, _) => {
                    self.encoder.audio(timestamp, &self.units[self.samples / 1_024]).unwrap();
                    self.samples += 1_024;
                }
                (false, 0) => {
                    for (is_audio, body) in &self.start {
                        let tag = support::Tag { is_audio: *is_audio, timestamp, body: body.clone() };
                        self.encoder.send(&tag).unwrap();
                    }
                    self.frames += 1;
                }
                (false, _) => {
                    self.encoder.video(timestamp, &self.inter).unwrap();
                    self.frames += 1;
                }
            }
        }
    }

    fn repaired(&self) -> u64 {
        self.encoder.ingest.statistics().timestamps_repaired
    }

    /// The last packet of each frame.
    fn of(&self, track: usize) -> Vec<&MediaPacket> {
        self.encoder.packets.iter().filter(|packet| packet.track == track && packet.marker == (track == 1)).collect()
    }

    /// Differences of the RTP timestamps of a track, in ms.
    fn steps(&self, track: usize) -> Vec<i32> {
        let step = |pair: &[&MediaPacket]| pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32 / [48, 90][track];
        self.of(track).windows(2).map(step).collect()
    }

    /// Captures of a track, in ms since the start.
    fn captures(&self, track: usize) -> Vec<i64> {
        self.of(track).iter().map(|packet| self.encoder.captured(packet) / 1_000).collect()
    }

    /// Checks that nothing is seen of what happened to the timestamps.
    fn check_untouched(&self) {
        assert!(self.steps(1).iter().all(|step| *step == 40), "{:?}", self.steps(1));
        assert!(self.steps(0).iter().all(|step| *step == 20), "{:?}", self.steps(0));
        for (number, captured) in self.captures(1).into_iter().enumerate() {
            assert!((captured - number as i64 * 40).abs() <= 1, "frame {number}: {captured}");
        }
        for (number, captured) in self.captures(0).into_iter().enumerate() {
            assert!((captured + 6 - number as i64 * 20).abs() <= 3, "packet {number}: {captured}");
        }
        assert_eq!(self.encoder.ingest.statistics().audio_gaps, 0);
        assert_eq!(self.encoder.ingest.statistics().frames_dropped, 0);
    }
}

#[test]
fn timestamps_wrap_at_32_bits() {
    let mut stream = Stream::silent(4);
    stream.run(3_000, |time, _| (u32::MAX - 999).wrapping_add(time as u32), |time| time);
    assert_eq!(stream.repaired(), 0);
    stream.check_untouched();
}

#[test]
fn timestamps_that_jump_are_repaired_for_both_tracks_alike() {
    for jump in [3_600_000, -900, -1_000_000, 2_000, 2_000_000_000] {
        for (video_at, audio_at) in [(1_000, 1_000), (1_000, 1_100), (1_130, 1_000)] {
            let mut stream = Stream::silent(4);
            let jumped = |time: u64, is_audio: bool| time >= if is_audio { audio_at } else { video_at };
            let timestamp =
                |time: u64, is_audio| 1_000_000 + time as i64 + if jumped(time, is_audio) { jump } else { 0 };
            stream.run(3_000, |time, is_audio| timestamp(time, is_audio) as u32, |time| time);
            assert!((1..=2).contains(&stream.repaired()), "{jump}: {}", stream.repaired());
            stream.check_untouched();
        }
    }
}

#[test]
fn tracks_with_clocks_of_their_own_stay_as_they_are() {
    for audio_starts in [50_000, 150_000] {
        let mut stream = Stream::silent(4);
        stream.run(3_000, |time, is_audio| time as u32 + if is_audio { audio_starts } else { 100_000 }, |time| time);
        assert_eq!(stream.repaired(), 1);
        assert!(stream.steps(0).iter().all(|step| *step == 20) && stream.steps(1).iter().all(|step| *step == 40));
        let (audio, video) = (stream.captures(0), stream.captures(1));
        assert!((audio[100] - 2_000).abs() < 60 && (video[50] - 2_000).abs() < 2, "{} and {}", audio[100], video[50]);
    }
}

#[test]
fn a_burst_at_the_start_does_not_shift_the_clock() {
    let mut stream = Stream::silent(4);
    // All of the first half second arrives at once.
    stream.run(3_000, |time, _| time as u32, |time| time.saturating_sub(500));
    assert_eq!(stream.repaired(), 0);
    assert!(stream.steps(1).iter().all(|step| *step == 40));
    let captures = stream.captures(1);
    assert!((captures[70] - 2_300).abs() <= 2, "{}", captures[70]);
}

#[test]
fn an_encoder_that_is_faster_than_real_time_is_an_error() {
    let mut camera = Camera::new(64, 64);
    let mut encoder = Encoder::new(false);
    let (configuration, key) = camera.start();
    encoder.video(0, &configuration).unwrap();
    encoder.video(0, &key).unwrap();
    let inter = camera.inter();
    // A minute at once, then a tenth more than real time.
    let times = (1..).map(|number| (number * 40, if number < 1_500 { 0 } else { (number - 1_500) * 40 * 10 / 11 }));
    let failed = times.take(100_000).find_map(|(timestamp, arrival)| {
        let error = encoder.at(arrival).video(timestamp as u32, &inter).err()?;
        assert_eq!(error, IngestError::Invalid("sent faster than real time"));
        Some(timestamp)
    });
    assert!(failed.is_some_and(|timestamp| (700_000..800_000).contains(&timestamp)), "{failed:?}");
}

#[test]
fn a_connection_that_stalls_makes_no_repair() {
    let mut stream = Stream::silent(8);
    // From 2 to 5 s nothing arrives; then all of it does.
    let arrival = |time| if (2_000..5_000).contains(&time) { 5_000 } else { time };
    stream.run(7_000, |time, _| time as u32, arrival);
    assert_eq!(stream.repaired(), 0);
    stream.check_untouched();
}

#[test]
fn an_encoder_that_stood_still_is_in_time_again_after_a_while() {
    let mut stream = Stream::silent(20);
    // Its clock goes on where it was.
    stream.run(18_000, |time, _| time as u32, |time| if time < 3_000 { time } else { time + 4_000 });
    assert_eq!((stream.repaired(), stream.encoder.ingest.statistics().clock_steps), (0, 1));
    assert!(stream.steps(1).iter().all(|step| *step == 40) && stream.steps(0).iter().all(|step| *step == 20));
    let lateness = |track: usize, at: usize, interval: i64| at as i64 * interval + 4_000 - stream.captures(track)[at];
    assert!(lateness(1, 100, 40) > 3_900, "not yet");
    assert!(lateness(1, 400, 40).abs() < 50 && lateness(0, 800, 20).abs() < 50, "{}", lateness(1, 400, 40));
}

#[test]
fn the_drift_of_an_encoder_is_followed_for_an_hour() {
    for ppm in [-200_i64, 200] {
        let mut camera = Camera::new(64, 64);
        let (configuration, key) = camera.start();
        let inter = camera.inter();
        let mut encoder = Encoder::new(false);
        encoder.video(0, &configuration).unwrap();
        encoder.video(0, &key).unwrap();
        for number in 1..18_000_u64 {
            let time = number * 200;
            // Jitter of up to 90 ms, mostly small.
            let jitter = (number * 7_919 % 97).pow(4) / 1_000_000;
            encoder.at(time + jitter).video((time as i64 + time as i64 * ppm / 1_000_000) as u32, &inter).unwrap();
            let packet = encoder.take().pop().unwrap();
            let lateness = time as i64 - encoder.captured(&packet) / 1_000;
            assert!(packet.captured <= encoder.now);
            assert!((-91..20).contains(&lateness), "frame {number} at {ppm} ppm: {lateness} ms");
        }
        assert_eq!(encoder.ingest.statistics().timestamps_repaired, 0);
    }
}

/// Mono samples with a tone of 20 ms from each of these times on, in ms.
fn tones(seconds: usize, at: &[usize]) -> Vec<i16> {
    let mut pcm = vec![0; 48_000 * seconds];
    for begin in at {
        for (index, sample) in pcm[begin * 48..begin * 48 + 960].iter_mut().enumerate() {
            *sample = (16_000.0 * (index as f64 * 2_000.0 * std::f64::consts::TAU / 48_000.0).sin()) as i16;
        }
    }
    pcm
}

#[test]
fn a_sound_card_with_another_clock_stays_in_time() {
    for ppm in [-500.0, 500.0] {
        let at = [1_000, 20_000, 40_000, 58_000];
        let mut stream = Stream::new(&tones(60, &at));
        let ideal = |time: f64| time * (1.0 + ppm / 1e6);
        // Messages arrive when both clocks have reached their time.
        let arrival = |time: u64| time.max(ideal(time as f64) as u64 + 1);
        stream.run(59_000, |time, is_audio| if is_audio { ideal(time as f64) as u32 } else { time as u32 }, arrival);
        let sound = Sound::decode(&stream.encoder, 1);
        let found = bursts(&sound.channels[0]);
        assert_eq!(found.len(), at.len());
        for ((from, _), at) in found.iter().zip(at) {
            // The encoder delays by an access unit.
            let expected = ideal(at as f64 + 1_024.0 / 48.0) * 1_000.0;
            let difference = sound.time(*from) as f64 - expected;
            println!("{ppm} ppm, {at} ms: {difference:.0} µs");
            assert!(difference.abs() < 10_000.0, "{ppm} ppm, {at} ms: {difference:.0} µs");
        }
        let statistics = stream.encoder.ingest.statistics();
        assert_eq!((statistics.audio_gaps, statistics.frames_dropped, statistics.timestamps_repaired), (0, 0, 0));
    }
}

/// Sends audio with a pause from 1 s on, and returns the stream.
fn with_pause(pause: u64) -> Stream {
    let mut stream = Stream::new(&tones(4, &[500, 2_000]));
    let time = |time: u64| if time < 1_000 { time } else { time + pause };
    stream.run(3_000, |at, _| time(at) as u32, time);
    stream
}

#[test]
fn a_short_gap_of_the_audio_is_silence() {
    let stream = with_pause(400);
    assert_eq!(stream.encoder.ingest.statistics().audio_gaps, 1);
    assert!(stream.steps(0).iter().all(|step| *step == 20));
    let sound = Sound::decode(&stream.encoder, 1);
    let times: Vec<i64> = bursts(&sound.channels[0]).iter().map(|(from, _)| sound.time(*from) / 1_000).collect();
    assert_eq!(times.len(), 2);
    assert!((times[0] - 521).abs() <= 3 && (times[1] - 2_421).abs() <= 25, "{times:?}");
}

#[test]
fn a_long_gap_of_the_audio_is_a_gap_of_the_timestamps() {
    let stream = with_pause(60_000);
    assert_eq!((stream.encoder.ingest.statistics().audio_gaps, stream.repaired()), (1, 0));
    let gaps: Vec<i32> = stream.steps(0).into_iter().filter(|step| *step != 20).collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert!((58_900..=59_020).contains(&gaps[0]), "{gaps:?}");
    let packets = stream.of(0);
    assert!(packets.iter().enumerate().all(|(number, packet)| packet.sequence_number == number as u64));
    assert!(packets.len() < 250, "a second of silence at most: {}", packets.len());
    let last = packets.last().unwrap();
    assert!(stream.encoder.now - last.captured < Duration::from_millis(80));
}

#[test]
fn a_damaged_access_unit_is_silence_of_its_length() {
    let mut stream = Stream::silent(3);
    let units = stream.units.len();
    for unit in stream.units.iter_mut().step_by(10).skip(1) {
        *unit = vec![0xaf, 1, 0xff, 0xff, 0xff];
    }
    stream.run(2_500, |time, _| time as u32, |time| time);
    let statistics = stream.encoder.ingest.statistics();
    assert!(statistics.frames_dropped >= units as u64 / 12, "{}", statistics.frames_dropped);
    assert_eq!(statistics.audio_gaps, 0);
    assert!(stream.steps(0).iter().all(|step| *step == 20));
    assert!(stream.captures(0).iter().enumerate().all(|(at, captured)| (captured + 6 - at as i64 * 20).abs() <= 3));
}

#[test]
fn the_audio_may_change_its_channels() {
    let mut encoder = Encoder::new(false);
    let mut sent = 0;
    for channels in [1, 2, 1] {
        let (config, units) = aac(channels, &tones(channels, &[300]));
        encoder.audio(sent * 64 / 3, &config).unwrap();
        for unit in units.iter().take(40) {
            let time = sent * 64 / 3;
            encoder.at(u64::from(time)).audio(time, unit).unwrap();
            sent += 1;
        }
        assert_eq!(encoder.ingest.statistics().audio_format, Some((48_000, channels)));
    }
    let sound = Sound::decode(&encoder, 2);
    assert_eq!(sound.channels[0].len() / 960, 127, "all but what the resampler holds");
    assert!(bursts(&sound.channels[0]).len() == 3 && bursts(&sound.channels[1]).len() == 3);
    assert!(encoder.packets.windows(2).all(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp) == 960));
    assert_eq!((encoder.ingest.statistics().frames_dropped, encoder.ingest.statistics().audio_gaps), (0, 0));
}
