//! Names of the objects of an individual participant recording, as Amazon IVS writes them, relative to the prefix.

/// Media playlist of the only rendition.
pub const PLAYLIST: &str = "media/hls/high/playlist.m3u8";
pub const MULTIVARIANT: &str = "media/hls/multivariant.m3u8";
pub const LATEST_THUMBNAIL: &str = "media/latest_thumbnail/high/thumb.jpg";
pub const STARTED: &str = "events/recording-started.json";
pub const ENDED: &str = "events/recording-ended.json";
pub const FAILED: &str = "events/recording-failed.json";

pub const PLAYLIST_TYPE: &str = "application/vnd.apple.mpegurl";
pub const SEGMENT_TYPE: &str = "video/mp4";
pub const JPEG_TYPE: &str = "image/jpeg";
pub const JSON_TYPE: &str = "application/json";

/// The folder of a rendition's segments, which the names in its playlist are relative to.
pub const RENDITION: &str = "media/hls/high";

/// A segment; they are numbered from 0.
pub fn segment(number: u32) -> String {
    format!("{RENDITION}/{number}.mp4")
}

/// An initialization segment; they are numbered from 0.
pub fn init_segment(number: u32) -> String {
    format!("{RENDITION}/init-{number}.mp4")
}

/// A thumbnail; they are numbered from 0.
pub fn thumbnail(number: u32) -> String {
    format!("media/thumbnails/high/{number}.jpg")
}
