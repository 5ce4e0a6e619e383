//! Thumbnails: a key frame after each interval, as JPEG.

use crate::format::VideoFormat;
use crate::h264::to_byte_stream;
use crate::video::Frame;
use crate::{Object, Output, RecorderStats, Thumbnails, layout};
use greenroom_codecs::h264::H264Decoder;
use greenroom_codecs::jpeg;
use std::collections::VecDeque;

/// Quality of the JPEGs, of 100.
const QUALITY: u8 = 80;

#[derive(Debug)]
pub(crate) struct ThumbnailWriter {
    config: Thumbnails,
    next: u32,
    /// Time of the next one, in microseconds; the first one is due at once.
    due: Option<i64>,
}

impl ThumbnailWriter {
    pub(crate) fn new(config: Thumbnails, next: u32) -> ThumbnailWriter {
        ThumbnailWriter { config, next, due: None }
    }

    pub(crate) fn next(&self) -> u32 {
        self.next
    }

    pub(crate) fn is_due(&self, time: i64) -> bool {
        self.due.is_none_or(|due| due <= time)
    }

    /// Writes a thumbnail of a key frame if one is due.
    pub(crate) fn take(&mut self, frame: &Frame, outputs: &mut VecDeque<Output>, stats: &mut RecorderStats) {
        if !self.is_due(frame.time) {
            return;
        }
        let Some(contents) = encode(frame) else {
            stats.thumbnails_failed += 1;
            return;
        };
        // At a regular pace, whenever key frames come.
        let interval = self.config.interval.as_micros() as i64;
        let due = self.due.unwrap_or(frame.time) + interval;
        self.due = Some(if due <= frame.time { frame.time + interval } else { due });
        let mut store = |path: String, contents: Vec<u8>| {
            outputs.push_back(Output::Store(Object { path, content_type: layout::JPEG_TYPE, contents }));
        };
        if self.config.sequential {
            store(layout::thumbnail(self.next), contents.clone());
            self.next += 1;
        }
        if self.config.latest {
            store(layout::LATEST_THUMBNAIL.to_owned(), contents);
        }
    }
}

/// A key frame as it is displayed: a JPEG has no rotation of its own, so that the pixels are turned. `None` if it cannot be
/// decoded.
fn encode(frame: &Frame) -> Option<Vec<u8>> {
    let picture = H264Decoder::new().decode(&to_byte_stream(&frame.data)).ok()??;
    let rotation = frame.key.as_ref().map_or(0, VideoFormat::rotation);
    jpeg::encode(&picture.turned(rotation), QUALITY).ok()
}
