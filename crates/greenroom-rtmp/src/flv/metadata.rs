use crate::amf::{Value, write, write_ecma_array};

/// `videocodecid` of H.264 and `audiocodecid` of AAC.
const AVC: f64 = 7.0;
const AAC: f64 = 10.0;

/// What `onMetaData` says of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct OnMetaData {
    /// Name and version of the software.
    pub encoder: String,
    pub video: Option<VideoProperties>,
    pub audio: Option<AudioProperties>,
}

/// H.264.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VideoProperties {
    pub width: u32,
    pub height: u32,
    /// Frames a second.
    pub frame_rate: f64,
    /// Bits a second.
    pub bitrate: u32,
}

/// AAC.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AudioProperties {
    /// Hertz.
    pub sample_rate: u32,
    pub is_stereo: bool,
    /// Bits a second.
    pub bitrate: u32,
}

impl OnMetaData {
    /// The body of a script tag.
    pub fn body(&self) -> Vec<u8> {
        let mut properties: Vec<(&str, Value)> = vec![("duration", 0.0.into())];
        properties.extend(self.video.iter().flat_map(VideoProperties::values));
        properties.extend(self.audio.iter().flat_map(AudioProperties::values));
        properties.push(("encoder", self.encoder.as_str().into()));
        let mut body = Vec::new();
        write(&mut body, &"onMetaData".into());
        write_ecma_array(&mut body, &properties);
        body
    }
}

impl VideoProperties {
    fn values(&self) -> [(&'static str, Value); 5] {
        [
            ("width", f64::from(self.width).into()),
            ("height", f64::from(self.height).into()),
            ("videodatarate", kilobits(self.bitrate)),
            ("framerate", self.frame_rate.into()),
            ("videocodecid", AVC.into()),
        ]
    }
}

impl AudioProperties {
    fn values(&self) -> [(&'static str, Value); 5] {
        [
            ("audiodatarate", kilobits(self.bitrate)),
            ("audiosamplerate", f64::from(self.sample_rate).into()),
            ("audiosamplesize", 16.0.into()),
            ("stereo", Value::Boolean(self.is_stereo)),
            ("audiocodecid", AAC.into()),
        ]
    }
}

fn kilobits(bitrate: u32) -> Value {
    (f64::from(bitrate) / 1_000.0).into()
}
