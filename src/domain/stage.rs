//! Stages: how participants are recorded.

use crate::model::stage::{
    AutoParticipantRecordingConfiguration, AutoParticipantRecordingStorageConfigurationArn,
    ParticipantRecordingHlsConfiguration, ParticipantRecordingMediaType, ParticipantRecordingMediaTypeList,
    ParticipantRecordingReconnectWindowSeconds, ParticipantRecordingTargetSegmentDurationSeconds,
    ParticipantThumbnailConfiguration, RecordParticipantReplicas, ThumbnailIntervalSeconds, ThumbnailRecordingMode,
    ThumbnailStorageType, ThumbnailStorageTypeList,
};

/// Fills in the defaults. Without a storage configuration nothing is recorded, and everything has its default.
pub fn recording(given: Option<AutoParticipantRecordingConfiguration>) -> AutoParticipantRecordingConfiguration {
    let given = given.filter(|given| !given.storage_configuration_arn.is_empty());
    let Some(given) = given else {
        return recording_to(AutoParticipantRecordingConfiguration {
            storage_configuration_arn: AutoParticipantRecordingStorageConfigurationArn::default(),
            media_types: None,
            thumbnail_configuration: None,
            recording_reconnect_window_seconds: None,
            hls_configuration: None,
            record_participant_replicas: None,
        });
    };
    recording_to(given)
}

fn recording_to(given: AutoParticipantRecordingConfiguration) -> AutoParticipantRecordingConfiguration {
    let media_types = given.media_types.filter(|types| !types.is_empty());
    let thumbnails = given.thumbnail_configuration;
    let storage = thumbnails.as_ref().and_then(|t| t.storage.clone());
    let segment = given.hls_configuration.and_then(|hls| hls.target_segment_duration_seconds);
    AutoParticipantRecordingConfiguration {
        storage_configuration_arn: given.storage_configuration_arn,
        media_types: Some(
            media_types
                .unwrap_or_else(|| ParticipantRecordingMediaTypeList(vec![ParticipantRecordingMediaType::AudioVideo])),
        ),
        thumbnail_configuration: Some(ParticipantThumbnailConfiguration {
            target_interval_seconds: Some(
                thumbnails.as_ref().and_then(|t| t.target_interval_seconds).unwrap_or(ThumbnailIntervalSeconds(60)),
            ),
            storage: Some(thumbnail_storage(storage)),
            recording_mode: Some(thumbnails.and_then(|t| t.recording_mode).unwrap_or(ThumbnailRecordingMode::Disabled)),
        }),
        recording_reconnect_window_seconds: Some(
            given.recording_reconnect_window_seconds.unwrap_or(ParticipantRecordingReconnectWindowSeconds(0)),
        ),
        hls_configuration: Some(ParticipantRecordingHlsConfiguration {
            target_segment_duration_seconds: Some(
                segment.unwrap_or(ParticipantRecordingTargetSegmentDurationSeconds(6)),
            ),
        }),
        record_participant_replicas: Some(given.record_participant_replicas.unwrap_or(RecordParticipantReplicas(true))),
    }
}

/// Storage of thumbnails; sequential by default.
pub fn thumbnail_storage(given: Option<ThumbnailStorageTypeList>) -> ThumbnailStorageTypeList {
    given
        .filter(|storage| !storage.is_empty())
        .unwrap_or_else(|| ThumbnailStorageTypeList(vec![ThumbnailStorageType::Sequential]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_that_aws_prints() {
        let expected = serde_json::json!({
            "storageConfigurationArn": "", "mediaTypes": ["AUDIO_VIDEO"],
            "thumbnailConfiguration": {
                "targetIntervalSeconds": 60, "storage": ["SEQUENTIAL"], "recordingMode": "DISABLED"
            },
            "recordingReconnectWindowSeconds": 0, "hlsConfiguration": {"targetSegmentDurationSeconds": 6},
            "recordParticipantReplicas": true
        });
        assert_eq!(serde_json::to_value(recording(None)).unwrap(), expected);
    }

    #[test]
    fn turning_recording_off_resets_every_other_member() {
        let off: AutoParticipantRecordingConfiguration = serde_json::from_value(serde_json::json!({
            "storageConfigurationArn": "", "recordingReconnectWindowSeconds": 100, "recordParticipantReplicas": false
        }))
        .unwrap();
        assert_eq!(recording(Some(off)), recording(None));
    }
}
