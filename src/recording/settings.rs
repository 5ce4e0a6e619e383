//! How to record: by the stage's configuration, and by the operator's.

use crate::config::{RecordingArgs, RecordingAudio, RecordingVp8};
use crate::model::stage::{
    AutoParticipantRecordingConfiguration, ParticipantRecordingMediaType, ThumbnailRecordingMode, ThumbnailStorageType,
};
use greenroom_recording::{AudioFormat, MediaType, RecorderConfig, Thumbnails, Vp8Policy};
use std::time::Duration;

/// The operator's settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    pub audio: AudioFormat,
    pub vp8: Vp8Policy,
}

impl Settings {
    pub fn new(args: &RecordingArgs) -> Self {
        Settings {
            audio: match args.recording_audio {
                RecordingAudio::Aac => AudioFormat::Aac,
                RecordingAudio::Opus => AudioFormat::Opus,
            },
            vp8: match args.recording_vp8 {
                RecordingVp8::Refuse => Vp8Policy::Refuse,
                RecordingVp8::Transcode => Vp8Policy::Transcode,
            },
        }
    }

    /// The configuration of a recorder. What the stage's configuration leaves out has AWS's default.
    pub fn recorder(self, stage: &AutoParticipantRecordingConfiguration) -> RecorderConfig {
        let media = stage.media_types.as_ref().and_then(|types| types.first());
        let segment = stage.hls_configuration.as_ref().and_then(|hls| hls.target_segment_duration_seconds.as_ref());
        RecorderConfig {
            media: match media {
                None | Some(ParticipantRecordingMediaType::AudioVideo) => MediaType::AudioVideo,
                Some(ParticipantRecordingMediaType::AudioOnly) => MediaType::AudioOnly,
                Some(ParticipantRecordingMediaType::None) => MediaType::None,
            },
            audio: self.audio,
            vp8: self.vp8,
            segment_target: seconds(segment.map_or(6, |target| target.0)),
            thumbnails: thumbnails(stage),
        }
    }
}

fn thumbnails(stage: &AutoParticipantRecordingConfiguration) -> Option<Thumbnails> {
    let configuration = stage.thumbnail_configuration.as_ref()?;
    if configuration.recording_mode != Some(ThumbnailRecordingMode::Interval) {
        return None;
    }
    let storage = configuration.storage.as_ref().filter(|storage| !storage.is_empty());
    let has = |kind: ThumbnailStorageType| storage.is_some_and(|storage| storage.contains(&kind));
    Some(Thumbnails {
        interval: seconds(configuration.target_interval_seconds.as_ref().map_or(60, |interval| interval.0)),
        sequential: storage.is_none() || has(ThumbnailStorageType::Sequential),
        latest: has(ThumbnailStorageType::Latest),
    })
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn recorder(stage: Value) -> RecorderConfig {
        let mut whole = json!({"storageConfigurationArn": "arn:aws:ivs:r:1:storage-configuration/s"});
        whole.as_object_mut().unwrap().extend(stage.as_object().unwrap().clone());
        let given = serde_json::from_value(whole).unwrap();
        Settings::default().recorder(&crate::domain::stage::recording(Some(given)))
    }

    #[test]
    fn the_defaults_are_those_of_aws() {
        let config = recorder(json!({}));
        assert_eq!((config.media, config.segment_target), (MediaType::AudioVideo, Duration::from_secs(6)));
        assert_eq!((config.thumbnails, config.audio, config.vp8), (None, AudioFormat::Aac, Vp8Policy::Refuse));
    }

    #[test]
    fn every_member_takes_effect() {
        for (name, media) in
            [("AUDIO_VIDEO", MediaType::AudioVideo), ("AUDIO_ONLY", MediaType::AudioOnly), ("NONE", MediaType::None)]
        {
            assert_eq!(recorder(json!({"mediaTypes": [name]})).media, media);
        }
        let target = recorder(json!({"hlsConfiguration": {"targetSegmentDurationSeconds": 2}})).segment_target;
        assert_eq!(target, Duration::from_secs(2));
        for (storage, sequential, latest) in [
            (json!(["SEQUENTIAL"]), true, false),
            (json!(["LATEST"]), false, true),
            (json!(["LATEST", "SEQUENTIAL"]), true, true),
            (json!([]), true, false),
        ] {
            let configuration = json!({"recordingMode": "INTERVAL", "targetIntervalSeconds": 5, "storage": storage});
            let found = recorder(json!({"thumbnailConfiguration": configuration})).thumbnails;
            assert_eq!(found, Some(Thumbnails { interval: Duration::from_secs(5), sequential, latest }), "{storage}");
        }
        let disabled = json!({"thumbnailConfiguration": {"recordingMode": "DISABLED", "storage": ["LATEST"]}});
        assert_eq!(recorder(disabled).thumbnails, None);
    }
}
