//! Encoder configurations: defaults and the rule of even sizes.

use super::ValidationErrors;
use crate::model::encoder_configuration::{Bitrate, Framerate, Height, Video, Width};

/// Most pixels of the video: 1920 × 1080, landscape or portrait.
const MOST_PIXELS: i64 = 2_073_600;

/// Fills the defaults in (AWS: 1280×720, 30 frames and 2,500,000 bits a second) and checks the size.
pub fn video(given: Option<Video>) -> Result<Video, ValidationErrors> {
    let given = given.unwrap_or(Video { width: None, height: None, framerate: None, bitrate: None });
    let width = given.width.unwrap_or(Width(1280));
    let height = given.height.unwrap_or(Height(720));
    for (member, value) in [("video.width", width.0), ("video.height", height.0)] {
        if value % 2 != 0 {
            return Err(ValidationErrors(format!("{member}: {value} is odd; width and height must be even")));
        }
    }
    if width.0 * height.0 > MOST_PIXELS {
        return Err(ValidationErrors(format!(
            "video: {} x {} is {} pixels; at most {MOST_PIXELS} are allowed",
            width.0,
            height.0,
            width.0 * height.0
        )));
    }
    Ok(Video {
        width: Some(width),
        height: Some(height),
        framerate: Some(given.framerate.unwrap_or(Framerate(30.0))),
        bitrate: Some(given.bitrate.unwrap_or(Bitrate(2_500_000))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(width: i64, height: i64) -> Result<Video, ValidationErrors> {
        video(Some(Video { width: Some(Width(width)), height: Some(Height(height)), framerate: None, bitrate: None }))
    }

    #[test]
    fn defaults_are_filled_in() {
        let video = video(None).unwrap();
        assert_eq!((video.width, video.height), (Some(Width(1280)), Some(Height(720))));
        assert_eq!((video.framerate, video.bitrate), (Some(Framerate(30.0)), Some(Bitrate(2_500_000))));
    }

    #[test]
    fn sizes_are_even_and_at_most_full_hd() {
        assert!(sized(1920, 1080).is_ok());
        assert!(sized(1080, 1920).is_ok());
        assert!(sized(1920, 1082).is_err());
        assert!(sized(1281, 720).is_err());
        assert!(sized(1280, 719).is_err());
    }
}
