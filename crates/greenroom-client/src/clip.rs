//! What is published: encoded audio and video, cut into frames, with how long each is shown.
//!
//! Nothing is encoded here. A clip comes from files that are encoded already, or from the pattern in the program.

mod annexb;
mod ivf;
mod ogg;

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Ticks a second of video.
pub const VIDEO_RATE: u32 = 90_000;
/// Ticks a second of audio.
pub const AUDIO_RATE: u32 = 48_000;

/// Largest file that is taken; it is held in memory.
const LARGEST: u64 = 256 * 1024 * 1024;

static PATTERN_VIDEO: &[u8] = include_bytes!("clip/pattern.h264");
static PATTERN_AUDIO: &[u8] = include_bytes!("clip/pattern.ogg");

/// One encoded frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The frame as the encoder made it: an access unit in Annex B form, a VP8 frame, an Opus packet.
    pub data: Arc<[u8]>,
    /// Ticks until the next one.
    pub ticks: u32,
    /// Whether a receiver can begin with it.
    pub key: bool,
}

/// How video is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoCodec {
    /// H.264.
    H264,
    /// VP8.
    Vp8,
}

/// Encoded audio, video or both, played over and over.
#[derive(Clone, Debug, Default)]
pub struct Clip {
    /// Video, in ticks of [`VIDEO_RATE`].
    pub video: Option<(VideoCodec, Vec<Frame>)>,
    /// Opus, in ticks of [`AUDIO_RATE`].
    pub audio: Option<Vec<Frame>>,
    /// Whether the picture may jump to its next key frame when somebody asks for one.
    pub jumps: bool,
    /// What the user should know of it.
    pub warnings: Vec<String>,
}

/// Why a file cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// It cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// It is too large to be held in memory.
    #[error("{0} is larger than {most} MiB", most = LARGEST / 1024 / 1024)]
    Large(PathBuf),
    /// It is none of the forms that are taken.
    #[error(
        "{0} is neither H.264 (Annex B), nor VP8 in IVF, nor Opus in Ogg; make these of it with: ffmpeg -i {0} -an -c:v libx264 -profile:v baseline -pix_fmt yuv420p -g 60 video.h264 -vn -c:a libopus -frame_duration 20 audio.ogg"
    )]
    Unknown(PathBuf),
    /// It is one of the forms, and something is wrong with it.
    #[error("cannot use {0}: {1}")]
    Broken(PathBuf, String),
    /// Two files of the same kind.
    #[error("{0} is {1} too: give one file of video and one of audio at most")]
    Twice(PathBuf, &'static str),
    /// The pattern together with a file.
    #[error("test-pattern is picture and sound already: give it alone")]
    PatternAndFile,
}

/// What a file holds.
enum Content {
    Video(VideoCodec, Vec<Frame>, Option<String>),
    Audio(Vec<Frame>),
}

impl Clip {
    /// What a user names: `test-pattern`, or a file of video, of audio, or one of each. Raw H.264 does not say how fast
    /// it is: `fps` does.
    pub fn named(names: &[String], fps: u32) -> Result<Clip, ClipError> {
        if names.iter().any(|name| name == "test-pattern") {
            return if names.len() == 1 { Ok(Clip::pattern()) } else { Err(ClipError::PatternAndFile) };
        }
        let mut clip = Clip::default();
        for name in names {
            let path = Path::new(name);
            let content = content(&load(path)?, fps);
            let content = content.map_err(|why| ClipError::Broken(path.to_owned(), why))?;
            match content.ok_or_else(|| ClipError::Unknown(path.to_owned()))? {
                Content::Video(..) if clip.video.is_some() => return Err(ClipError::Twice(path.to_owned(), "video")),
                Content::Audio(_) if clip.audio.is_some() => return Err(ClipError::Twice(path.to_owned(), "audio")),
                Content::Video(codec, frames, warning) => {
                    clip.video = Some((codec, frames));
                    clip.warnings.extend(warning.map(|text| format!("{name}: {text}")));
                }
                Content::Audio(frames) => clip.audio = Some(frames),
            }
        }
        clip.level();
        Ok(clip)
    }

    /// The pattern in the program: 640x360 at 30 frames a second with a key frame each second, and a tone.
    pub fn pattern() -> Clip {
        let video = annexb::read(PATTERN_VIDEO, 30).expect("the clip in the program can be read");
        let audio = ogg::read(PATTERN_AUDIO).expect("the clip in the program can be read");
        let mut clip = Clip {
            video: Some((VideoCodec::H264, video.frames)),
            audio: Some(audio),
            jumps: true,
            warnings: Vec::new(),
        };
        clip.level();
        clip
    }

    /// Lets sound and picture last equally long, by the last frame of the shorter, so that they stay together however
    /// often they are played.
    fn level(&mut self) {
        let (Some((_, video)), Some(audio)) = (&mut self.video, &mut self.audio) else { return };
        let (rate, other) = (u64::from(VIDEO_RATE), u64::from(AUDIO_RATE));
        let (picture, sound) = (length(video), length(audio));
        let lack = |have: u64, want: u64| u32::try_from(want.saturating_sub(have)).unwrap_or(u32::MAX);
        let lacks = (lack(picture, sound * rate / other), lack(sound, picture * other / rate));
        for (frames, lack) in [(video, lacks.0), (audio, lacks.1)] {
            if let Some(last) = frames.last_mut() {
                last.ticks = last.ticks.saturating_add(lack);
            }
        }
    }
}

/// Ticks that all of them last.
fn length(frames: &[Frame]) -> u64 {
    frames.iter().map(|frame| u64::from(frame.ticks)).sum()
}

fn load(path: &Path) -> Result<Vec<u8>, ClipError> {
    let failed = |error| ClipError::Read(path.to_owned(), error);
    if std::fs::metadata(path).map_err(failed)?.len() > LARGEST {
        return Err(ClipError::Large(path.to_owned()));
    }
    std::fs::read(path).map_err(failed)
}

/// What the bytes are, by how they begin; the name of the file does not count.
fn content(bytes: &[u8], fps: u32) -> Result<Option<Content>, String> {
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
    fn the_pattern_is_four_seconds_of_thirty_frames_with_a_key_frame_each() {
        let clip = Clip::pattern();
        let (codec, video) = clip.video.unwrap();
        assert_eq!(codec, VideoCodec::H264);
        assert_eq!(video.len(), 120);
        let keys: Vec<_> = video.iter().enumerate().filter(|(_, frame)| frame.key).map(|(n, _)| n).collect();
        assert_eq!(keys, [0, 30, 60, 90]);
        let audio = clip.audio.unwrap();
        assert!(audio.iter().rev().skip(1).all(|frame| frame.ticks == 960), "20 ms each");
        assert_eq!(length(&video), length(&audio) * 90 / 48, "neither runs away from the other");
    }

    #[test]
    fn the_shorter_of_two_tracks_waits_for_the_longer() {
        let frames = |count: usize, ticks| vec![Frame { data: Arc::from([0_u8]), ticks, key: true }; count];
        let mut clip =
            Clip { video: Some((VideoCodec::Vp8, frames(30, 3000))), audio: Some(frames(49, 960)), ..Clip::default() };
        clip.level();
        assert_eq!(length(&clip.audio.clone().unwrap()), 48_000);
        assert_eq!(length(&clip.video.unwrap().1), 90_000);
    }

    #[test]
    fn a_file_of_another_form_is_refused_with_the_way_to_convert_it() {
        let folder = std::env::temp_dir().join(format!("greenroom-clip-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("film.mp4");
        std::fs::write(&path, b"\0\0\0\x20ftypisom").unwrap();
        let name = path.display().to_string();
        let error = Clip::named(std::slice::from_ref(&name), 30).unwrap_err().to_string();
        assert!(error.contains("ffmpeg -i") && error.contains(&name), "{error}");
        let missing = Clip::named(&[format!("{name}.gone")], 30).unwrap_err();
        assert!(matches!(missing, ClipError::Read(..)), "{missing}");
        let both = Clip::named(&["test-pattern".into(), name], 30).unwrap_err();
        assert!(matches!(both, ClipError::PatternAndFile), "{both}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn video_and_audio_come_from_two_files_and_not_from_two_alike() {
        let file = |name: &str| format!("{}/src/clip/{name}", env!("CARGO_MANIFEST_DIR"));
        let clip = Clip::named(&[file("pattern.ogg"), file("pattern.h264")], 30).unwrap();
        assert!(clip.video.is_some() && clip.audio.is_some() && !clip.jumps);
        let twice = Clip::named(&[file("pattern.ogg"), file("pattern.ogg")], 30).unwrap_err();
        assert!(matches!(twice, ClipError::Twice(_, "audio")), "{twice}");
    }
}
