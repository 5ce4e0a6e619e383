//! Clips to publish: frames of encoded audio and video, with their durations.
//!
//! Nothing is encoded here: a clip comes from encoded files, or is the built-in test pattern.

mod annexb;
mod ivf;
mod ogg;

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Clock rate of video, in ticks per second.
pub const VIDEO_RATE: u32 = 90_000;
/// Clock rate of audio, in ticks per second.
pub const AUDIO_RATE: u32 = 48_000;

/// Maximum size of a file, which is held in memory.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

static PATTERN_VIDEO: &[u8] = include_bytes!("clip/pattern.h264");
static PATTERN_AUDIO: &[u8] = include_bytes!("clip/pattern.ogg");

/// One encoded frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// An H.264 access unit in Annex B form, a VP8 frame, or an Opus packet.
    pub data: Arc<[u8]>,
    /// Duration in ticks.
    pub ticks: u32,
    /// Whether a decoder can start with it.
    pub key: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoCodec {
    H264,
    Vp8,
}

/// Encoded audio, video or both, played in a loop.
#[derive(Clone, Debug, Default)]
pub struct Clip {
    /// Video, in ticks of [`VIDEO_RATE`].
    pub video: Option<(VideoCodec, Vec<Frame>)>,
    /// Opus, in ticks of [`AUDIO_RATE`].
    pub audio: Option<Vec<Frame>>,
    /// Whether the video may skip to its next key frame when the server requests one.
    pub seekable: bool,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// Why a clip cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, std::io::Error),
    #[error("{0} is larger than {max} MiB", max = MAX_FILE_BYTES / 1024 / 1024)]
    TooLarge(PathBuf),
    #[error(
        "{0} is neither H.264 (Annex B) nor VP8 (IVF) nor Opus (Ogg); convert it with: ffmpeg -i {0} -an -c:v libx264 -profile:v baseline -pix_fmt yuv420p -g 60 video.h264 -vn -c:a libopus -frame_duration 20 audio.ogg"
    )]
    UnknownFormat(PathBuf),
    #[error("cannot use {0}: {1}")]
    Invalid(PathBuf, String),
    #[error("{0} is a second {1} file; give at most one video file and one audio file")]
    DuplicateTrack(PathBuf, &'static str),
    #[error("test-pattern has audio and video; it cannot be combined with a file")]
    PatternAndFile,
}

/// The content of a file.
enum Content {
    Video(VideoCodec, Vec<Frame>, Option<String>),
    Audio(Vec<Frame>),
}

impl Clip {
    /// Loads a clip: `test-pattern`, or a video file, an audio file, or one of each. `fps` is the frame rate of an H.264 file,
    /// which has none.
    pub fn load(names: &[String], fps: u32) -> Result<Clip, ClipError> {
        if names.iter().any(|name| name == "test-pattern") {
            return if names.len() == 1 { Ok(Clip::test_pattern()) } else { Err(ClipError::PatternAndFile) };
        }
        let mut clip = Clip::default();
        for name in names {
            let path = Path::new(name);
            let content = parse(&read_file(path)?, fps);
            let content = content.map_err(|why| ClipError::Invalid(path.to_owned(), why))?;
            match content.ok_or_else(|| ClipError::UnknownFormat(path.to_owned()))? {
                Content::Video(..) if clip.video.is_some() => {
                    return Err(ClipError::DuplicateTrack(path.to_owned(), "video"));
                }
                Content::Audio(_) if clip.audio.is_some() => {
                    return Err(ClipError::DuplicateTrack(path.to_owned(), "audio"));
                }
                Content::Video(codec, frames, warning) => {
                    clip.video = Some((codec, frames));
                    clip.warnings.extend(warning.map(|text| format!("{name}: {text}")));
                }
                Content::Audio(frames) => clip.audio = Some(frames),
            }
        }
        clip.equalize_durations();
        Ok(clip)
    }

    /// The built-in test pattern: 640x360 at 30 frames per second with a key frame each second, and a tone.
    pub fn test_pattern() -> Clip {
        let video = annexb::read(PATTERN_VIDEO, 30).expect("the built-in clip is valid");
        let audio = ogg::read(PATTERN_AUDIO).expect("the built-in clip is valid");
        let mut clip = Clip {
            video: Some((VideoCodec::H264, video.frames)),
            audio: Some(audio),
            seekable: true,
            warnings: Vec::new(),
        };
        clip.equalize_durations();
        clip
    }

    /// Extends the last frame of the shorter track, so that audio and video stay in sync over all loops.
    fn equalize_durations(&mut self) {
        let (Some((_, video)), Some(audio)) = (&mut self.video, &mut self.audio) else { return };
        let (video_rate, audio_rate) = (u64::from(VIDEO_RATE), u64::from(AUDIO_RATE));
        let (video_ticks, audio_ticks) = (duration(video), duration(audio));
        let missing = |actual: u64, target: u64| u32::try_from(target.saturating_sub(actual)).unwrap_or(u32::MAX);
        let video_missing = missing(video_ticks, audio_ticks * video_rate / audio_rate);
        let audio_missing = missing(audio_ticks, video_ticks * audio_rate / video_rate);
        for (frames, missing) in [(video, video_missing), (audio, audio_missing)] {
            if let Some(last) = frames.last_mut() {
                last.ticks = last.ticks.saturating_add(missing);
            }
        }
    }
}

/// Total duration in ticks.
fn duration(frames: &[Frame]) -> u64 {
    frames.iter().map(|frame| u64::from(frame.ticks)).sum()
}

fn read_file(path: &Path) -> Result<Vec<u8>, ClipError> {
    let failed = |error| ClipError::Read(path.to_owned(), error);
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_FILE_BYTES {
        return Err(ClipError::TooLarge(path.to_owned()));
    }
    std::fs::read(path).map_err(failed)
}

/// Detects the format by the first bytes, regardless of the file name.
fn parse(bytes: &[u8], fps: u32) -> Result<Option<Content>, String> {
    Ok(Some(match bytes {
        [b'D', b'K', b'I', b'F', ..] => Content::Video(VideoCodec::Vp8, ivf::read(bytes)?, None),
        [b'O', b'g', b'g', b'S', ..] => Content::Audio(ogg::read(bytes)?),
        [0, 0, 1, ..] | [0, 0, 0, 1, ..] => {
            let annexb::Video { frames, warning } = annexb::read(bytes, fps)?;
            Content::Video(VideoCodec::H264, frames, warning)
        }
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_pattern_is_four_seconds_with_a_key_frame_per_second() {
        let clip = Clip::test_pattern();
        let (codec, video) = clip.video.unwrap();
        assert_eq!(codec, VideoCodec::H264);
        assert_eq!(video.len(), 120);
        let keys: Vec<_> = video.iter().enumerate().filter(|(_, frame)| frame.key).map(|(n, _)| n).collect();
        assert_eq!(keys, [0, 30, 60, 90]);
        let audio = clip.audio.unwrap();
        assert!(audio.iter().rev().skip(1).all(|frame| frame.ticks == 960), "20 ms each");
        assert_eq!(duration(&video), duration(&audio) * 90 / 48, "audio and video stay in sync");
    }

    #[test]
    fn the_shorter_track_is_extended() {
        let frames = |count: usize, ticks| vec![Frame { data: Arc::from([0_u8]), ticks, key: true }; count];
        let mut clip =
            Clip { video: Some((VideoCodec::Vp8, frames(30, 3000))), audio: Some(frames(49, 960)), ..Clip::default() };
        clip.equalize_durations();
        assert_eq!(duration(&clip.audio.clone().unwrap()), 48_000);
        assert_eq!(duration(&clip.video.unwrap().1), 90_000);
    }

    #[test]
    fn a_file_of_an_unknown_format_is_rejected_with_a_command_to_convert_it() {
        let folder = std::env::temp_dir().join(format!("greenroom-clip-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("film.mp4");
        std::fs::write(&path, b"\0\0\0\x20ftypisom").unwrap();
        let name = path.display().to_string();
        let error = Clip::load(std::slice::from_ref(&name), 30).unwrap_err().to_string();
        assert!(error.contains("ffmpeg -i") && error.contains(&name), "{error}");
        let missing = Clip::load(&[format!("{name}.gone")], 30).unwrap_err();
        assert!(matches!(missing, ClipError::Read(..)), "{missing}");
        let both = Clip::load(&["test-pattern".into(), name], 30).unwrap_err();
        assert!(matches!(both, ClipError::PatternAndFile), "{both}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn one_video_and_one_audio_file_can_be_combined() {
        let file = |name: &str| format!("{}/src/clip/{name}", env!("CARGO_MANIFEST_DIR"));
        let clip = Clip::load(&[file("pattern.ogg"), file("pattern.h264")], 30).unwrap();
        assert!(clip.video.is_some() && clip.audio.is_some() && !clip.seekable);
        let twice = Clip::load(&[file("pattern.ogg"), file("pattern.ogg")], 30).unwrap_err();
        assert!(matches!(twice, ClipError::DuplicateTrack(_, "audio")), "{twice}");
    }
}
