//! Refusals of encoders: RTMP status codes, and texts that say what to change in the encoder.

use crate::domain::admission::{SignalingError, SignalingErrorCode};
use crate::metrics::IngestEnd;
use greenroom_ingest::IngestError;

/// Status code for a stream key that cannot be published to.
const BAD_NAME: &str = "NetStream.Publish.BadName";
/// Status code for a publication that is not allowed.
pub const DENIED: &str = "NetStream.Publish.Denied";

/// Why an encoder may not publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: IngestEnd,
    /// The RTMP status code.
    pub status: &'static str,
    /// One line for the encoder and the log.
    pub message: String,
}

impl Refusal {
    /// Of a URL whose path is not `/app/`.
    pub fn unknown_application(application: &str) -> Self {
        let shown: String = application.chars().take(64).filter(|c| !c.is_control()).collect();
        Refusal {
            reason: IngestEnd::UnknownApplication,
            status: BAD_NAME,
            message: format!(
                "unknown application '{shown}': the server's URL must end in /app/, followed by the stream key"
            ),
        }
    }
}

impl From<SignalingError> for Refusal {
    fn from(error: SignalingError) -> Self {
        use SignalingErrorCode::{
            Busy, CapacityExceeded, Internal, InvalidProtocol, InvalidStreamKey, QuotaExceeded, StreamKeyInUse,
        };
        let (reason, status) = match error.code {
            InvalidStreamKey => (IngestEnd::InvalidStreamKey, BAD_NAME),
            StreamKeyInUse => (IngestEnd::StreamKeyInUse, BAD_NAME),
            InvalidProtocol => (IngestEnd::InvalidProtocol, DENIED),
            QuotaExceeded => (IngestEnd::QuotaExceeded, DENIED),
            CapacityExceeded => (IngestEnd::CapacityExceeded, DENIED),
            Busy => (IngestEnd::Busy, DENIED),
            Internal => (IngestEnd::Internal, DENIED),
            _ => (IngestEnd::Refused, DENIED),
        };
        Refusal { reason, status, message: error.message }
    }
}

/// What is wrong with the media, and what to change in OBS and FFmpeg.
pub fn advice(error: &IngestError) -> String {
    let remedy = match error {
        IngestError::BFrames => {
            "OBS: Settings > Output > Streaming, Max B-frames 0, or x264 Options bframes=0; FFmpeg: -bf 0, or -tune zerolatency"
        }
        IngestError::VideoCodec(_) => {
            "use H.264; OBS: Settings > Output > Streaming, Video Encoder x264 or another H.264 encoder; FFmpeg: -c:v libx264 -bf 0"
        }
        IngestError::AudioCodec(_) => {
            "use AAC-LC, 44.1 or 48 kHz, mono or stereo; OBS: Settings > Output > Streaming, Audio Encoder FFmpeg AAC; FFmpeg: -c:a aac -ar 48000 -ac 2"
        }
        IngestError::Resolution { .. } => {
            "OBS: Settings > Video, Output (Scaled) Resolution 1280x720; FFmpeg: -vf scale=1280:720; or set --strict-ivs off at the server"
        }
        IngestError::Bitrate => {
            "OBS: Settings > Output > Streaming, Bitrate 6000 Kbps or less; FFmpeg: -b:v 6M -maxrate 6M -bufsize 6M; or set --strict-ivs off at the server"
        }
        IngestError::Missing(_) => {
            "send both audio and video; OBS: check that no track is switched off; FFmpeg: for silence, -f lavfi -i anullsrc; or set --strict-ivs off at the server"
        }
        IngestError::Invalid(_) => "use H.264 and AAC-LC, and check the network's devices between encoder and server",
    };
    format!("{error}: {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_media_error_has_one_line_that_names_the_settings_of_obs_and_ffmpeg() {
        for error in [
            IngestError::BFrames,
            IngestError::VideoCodec("HEVC".into()),
            IngestError::AudioCodec("MP3".into()),
            IngestError::Resolution { width: 1920, height: 1080 },
            IngestError::Bitrate,
            IngestError::Missing("audio"),
        ] {
            let text = advice(&error);
            assert!(text.starts_with(&error.to_string()) && !text.contains('\n'), "{text}");
            assert!(text.len() <= 255, "FFmpeg shows 255 bytes: {text}");
            assert!(text.contains("OBS: ") && text.contains("FFmpeg: "), "{text}");
        }
    }

    #[test]
    fn refusals_have_the_status_codes_that_encoders_know() {
        use SignalingErrorCode::{
            Busy, InvalidProtocol, InvalidStreamKey, QuotaExceeded, StreamKeyInUse, TokenNotAllowed,
        };
        for (code, reason, status) in [
            (InvalidStreamKey, IngestEnd::InvalidStreamKey, "NetStream.Publish.BadName"),
            (StreamKeyInUse, IngestEnd::StreamKeyInUse, "NetStream.Publish.BadName"),
            (InvalidProtocol, IngestEnd::InvalidProtocol, "NetStream.Publish.Denied"),
            (QuotaExceeded, IngestEnd::QuotaExceeded, "NetStream.Publish.Denied"),
            (Busy, IngestEnd::Busy, "NetStream.Publish.Denied"),
            (TokenNotAllowed, IngestEnd::Refused, "NetStream.Publish.Denied"),
        ] {
            let refusal = Refusal::from(SignalingError::new(code, "no"));
            assert_eq!(refusal, Refusal { reason, status, message: "no".into() }, "{code:?}");
        }
    }

    #[test]
    fn the_name_of_an_unknown_application_is_shortened() {
        let refusal = Refusal::unknown_application(&format!("li\nve{}", "x".repeat(1000)));
        assert!(refusal.message.len() < 200 && !refusal.message.contains('\n'), "{refusal:?}");
        assert!(refusal.message.contains("/app/"));
    }
}
