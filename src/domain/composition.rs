//! Compositions: defaults, and the state as a function of time.
//!
//! A composition's state follows from when it was started, when it was asked to stop, and since when its stage has had no
//! publisher. Its events are emitted when they are due: see [`Course`].

mod course;

pub use course::{Course, Progress};

use super::ValidationErrors;
use super::stage::thumbnail_storage;
use crate::clock::Timestamp;
use crate::model::composition::{
    AttributeKey, CompositionRecordingHlsConfiguration, CompositionRecordingTargetSegmentDurationSeconds,
    CompositionState, CompositionThumbnailConfiguration, CompositionThumbnailConfigurationList, Destination,
    DestinationConfiguration, DestinationDetail, DestinationState, DestinationSummary, GridConfiguration, GridGap,
    LayoutConfiguration, OmitStoppedVideo, PipBehavior, PipConfiguration, PipOffset, PipPosition,
    RecordingConfiguration, RecordingConfigurationFormat, S3Detail, VideoAspectRatio, VideoFillMode,
};
use crate::model::stage::ThumbnailIntervalSeconds;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long the phases of a composition last.
#[derive(Clone, Copy, Debug)]
pub struct Durations {
    /// From the start to `ACTIVE`.
    pub start: Duration,
    /// Without a publisher until it stops.
    pub idle: Duration,
    /// From the start until it stops in any case.
    pub most: Duration,
    /// From the beginning of stopping to `STOPPED`.
    pub stop: Duration,
    /// From `STOPPED` until it is deleted.
    pub retention: Duration,
}

/// The facts that a composition's state is computed from.
#[derive(Clone, Copy, Debug)]
pub struct History {
    pub started_at: Timestamp,
    /// When it was asked to stop.
    pub stopping_at: Option<Timestamp>,
    /// Since when the stage has no publisher; `None` while it has one.
    pub quiet_since: Option<Timestamp>,
}

/// The status of a composition at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    pub state: CompositionState,
    /// When its destinations started, if they did.
    pub active_at: Option<Timestamp>,
    /// When it began to stop, if it did.
    pub stopping_at: Option<Timestamp>,
    /// When it ended, if it did.
    pub ended_at: Option<Timestamp>,
    /// Whether it is to be deleted.
    pub gone: bool,
}

impl History {
    /// The course of the composition, as far as its history goes.
    pub fn course(&self, durations: &Durations) -> Course {
        let idle = self.quiet_since.map(|since| since.max(self.started_at).plus(durations.idle));
        let limit = self.started_at.plus(durations.most);
        let deadline = idle.map_or(limit, |idle| idle.min(limit));
        let stopping_at = self.stopping_at.map_or(deadline, |at| at.min(deadline));
        let active_at = self.started_at.plus(durations.start);
        let ended_at = stopping_at.plus(durations.stop);
        Course {
            active_at: (active_at <= stopping_at).then_some(active_at),
            stopping_at,
            ended_at,
            gone_at: ended_at.plus(durations.retention),
        }
    }

    /// The status at `now`.
    pub fn at(&self, now: Timestamp, durations: &Durations) -> Status {
        let course = self.course(durations);
        let past = |at: &Timestamp| now >= *at;
        let stopping_at = Some(course.stopping_at).filter(past);
        let ended_at = Some(course.ended_at).filter(past);
        let active = past(&self.started_at.plus(durations.start));
        Status {
            state: match (ended_at, stopping_at, active) {
                (Some(_), _, _) => CompositionState::Stopped,
                (_, Some(_), _) => CompositionState::Stopping,
                (_, _, true) => CompositionState::Active,
                _ => CompositionState::Starting,
            },
            active_at: course.active_at.filter(past),
            stopping_at,
            ended_at,
            gone: past(&course.gone_at),
        }
    }
}

/// A destination as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedDestination {
    pub id: String,
    /// As requested, with every default filled in.
    pub configuration: DestinationConfiguration,
    /// Prefix of the recording's keys, for S3.
    pub recording_prefix: Option<String>,
}

impl PlannedDestination {
    /// Fills in the defaults and chooses the prefix of the recording.
    pub fn new(id: String, stage: &str, composition: &str, given: DestinationConfiguration) -> Self {
        let configuration = destination(given);
        let prefix = configuration.s3.as_ref().map(|_| format!("{stage}/{composition}/{id}/composite"));
        PlannedDestination { id, configuration, recording_prefix: prefix }
    }

    /// Its summary while the composition has this status.
    pub fn summary(&self, status: &Status) -> DestinationSummary {
        DestinationSummary {
            id: self.id.clone(),
            state: match status.state {
                CompositionState::Starting => DestinationState::Starting,
                CompositionState::Active => DestinationState::Active,
                CompositionState::Stopping => DestinationState::Stopping,
                CompositionState::Failed => DestinationState::Failed,
                CompositionState::Stopped => DestinationState::Stopped,
            },
            start_time: status.active_at.map(Into::into),
            end_time: status.ended_at.map(Into::into),
        }
    }

    /// The same with its configuration.
    pub fn detailed(&self, status: &Status) -> Destination {
        let DestinationSummary { id, state, start_time, end_time } = self.summary(status);
        let detail = |prefix: &String| DestinationDetail { s3: Some(S3Detail { recording_prefix: prefix.clone() }) };
        Destination {
            id,
            state,
            start_time,
            end_time,
            configuration: self.configuration.clone(),
            detail: self.recording_prefix.as_ref().map(detail),
        }
    }
}

fn destination(mut given: DestinationConfiguration) -> DestinationConfiguration {
    given.name = Some(given.name.unwrap_or_default());
    if let Some(s3) = &mut given.s3 {
        let segment = s3
            .recording_configuration
            .take()
            .and_then(|recording| recording.hls_configuration)
            .and_then(|hls| hls.target_segment_duration_seconds)
            .unwrap_or(CompositionRecordingTargetSegmentDurationSeconds(2));
        s3.recording_configuration = Some(RecordingConfiguration {
            hls_configuration: Some(CompositionRecordingHlsConfiguration {
                target_segment_duration_seconds: Some(segment),
            }),
            format: Some(RecordingConfigurationFormat::Hls),
        });
        let thumbnails = s3.thumbnail_configurations.take().map(|list| list.0.into_iter().map(thumbnail).collect());
        s3.thumbnail_configurations =
            thumbnails.filter(|list: &CompositionThumbnailConfigurationList| !list.is_empty());
    }
    given
}

fn thumbnail(given: CompositionThumbnailConfiguration) -> CompositionThumbnailConfiguration {
    CompositionThumbnailConfiguration {
        target_interval_seconds: Some(given.target_interval_seconds.unwrap_or(ThumbnailIntervalSeconds(60))),
        storage: Some(thumbnail_storage(given.storage)),
    }
}

/// Checks that each destination is of one kind, with at most one of each kind.
pub fn check_destinations(destinations: &[DestinationConfiguration]) -> Result<(), ValidationErrors> {
    let mut channels = 0;
    let mut storages = 0;
    for (n, destination) in destinations.iter().enumerate() {
        match (&destination.channel, &destination.s3) {
            (Some(_), None) => channels += 1,
            (None, Some(_)) => storages += 1,
            (None, None) | (Some(_), Some(_)) => {
                return Err(ValidationErrors(format!(
                    "destinations.{}.member: exactly one of channel and s3 must be given",
                    n + 1
                )));
            }
        }
    }
    if channels > 1 || storages > 1 {
        return Err(ValidationErrors("destinations: at most one channel and at most one s3 are allowed".into()));
    }
    Ok(())
}

/// Fills in the layout's defaults; the default layout is a grid.
pub fn layout(given: Option<LayoutConfiguration>) -> Result<LayoutConfiguration, ValidationErrors> {
    match given.unwrap_or(LayoutConfiguration { grid: None, pip: None }) {
        LayoutConfiguration { grid: Some(_), pip: Some(_) } => {
            Err(ValidationErrors("layout: only one of grid and pip may be given".into()))
        }
        LayoutConfiguration { grid: None, pip: Some(given) } => {
            Ok(LayoutConfiguration { grid: None, pip: Some(pip(given)) })
        }
        LayoutConfiguration { grid: given, pip: None } => {
            Ok(LayoutConfiguration { grid: Some(grid(given)), pip: None })
        }
    }
}

fn unset(key: Option<AttributeKey>) -> Option<AttributeKey> {
    Some(key.unwrap_or_default())
}

/// `videoFillMode` has no default of its own: unset, featured tiles are contained and others covered.
fn grid(given: Option<GridConfiguration>) -> GridConfiguration {
    let given = given.unwrap_or(GridConfiguration {
        featured_participant_attribute: None,
        omit_stopped_video: None,
        video_aspect_ratio: None,
        video_fill_mode: None,
        grid_gap: None,
        participant_order_attribute: None,
    });
    GridConfiguration {
        featured_participant_attribute: unset(given.featured_participant_attribute),
        omit_stopped_video: Some(given.omit_stopped_video.unwrap_or(OmitStoppedVideo(false))),
        video_aspect_ratio: Some(given.video_aspect_ratio.unwrap_or(VideoAspectRatio::Video)),
        video_fill_mode: Some(given.video_fill_mode.unwrap_or(VideoFillMode::Unset)),
        grid_gap: Some(given.grid_gap.unwrap_or(GridGap(2))),
        participant_order_attribute: unset(given.participant_order_attribute),
    }
}

fn pip(given: PipConfiguration) -> PipConfiguration {
    PipConfiguration {
        featured_participant_attribute: unset(given.featured_participant_attribute),
        omit_stopped_video: Some(given.omit_stopped_video.unwrap_or(OmitStoppedVideo(false))),
        video_fill_mode: Some(
            given.video_fill_mode.filter(|mode| *mode != VideoFillMode::Unset).unwrap_or(VideoFillMode::Cover),
        ),
        grid_gap: Some(given.grid_gap.unwrap_or(GridGap(0))),
        pip_participant_attribute: unset(given.pip_participant_attribute),
        pip_behavior: Some(given.pip_behavior.unwrap_or(PipBehavior::Static)),
        pip_offset: Some(given.pip_offset.unwrap_or(PipOffset(0))),
        pip_position: Some(given.pip_position.unwrap_or(PipPosition::BottomRight)),
        pip_width: given.pip_width,
        pip_height: given.pip_height,
        participant_order_attribute: unset(given.participant_order_attribute),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CompositionState::{Active, Starting, Stopped, Stopping};

    const DURATIONS: Durations = Durations {
        start: Duration::from_secs(2),
        idle: Duration::from_secs(60),
        most: Duration::from_secs(86_400),
        stop: Duration::from_secs(1),
        retention: Duration::from_secs(300),
    };

    fn seconds(n: i64) -> Timestamp {
        Timestamp(n * 1000)
    }

    fn states(history: History, moments: &[i64]) -> Vec<CompositionState> {
        moments.iter().map(|at| history.at(seconds(*at), &DURATIONS).state).collect()
    }

    #[test]
    fn without_a_publisher_it_stops_a_minute_after_its_start() {
        let history = History { started_at: seconds(100), stopping_at: None, quiet_since: Some(seconds(0)) };
        let moments = [100, 101, 102, 159, 160, 161];
        assert_eq!(states(history, &moments), [Starting, Starting, Active, Active, Stopping, Stopped]);
        assert_eq!(history.at(seconds(161), &DURATIONS).ended_at, Some(seconds(161)));
        assert!(!history.at(seconds(460), &DURATIONS).gone);
        assert!(history.at(seconds(461), &DURATIONS).gone);
    }

    #[test]
    fn with_a_publisher_it_lasts_a_day() {
        let history = History { started_at: seconds(0), stopping_at: None, quiet_since: None };
        assert_eq!(states(history, &[86_399, 86_400, 86_401]), [Active, Stopping, Stopped]);
    }

    #[test]
    fn the_minute_counts_from_the_last_publisher() {
        let history = History { started_at: seconds(0), stopping_at: None, quiet_since: Some(seconds(1000)) };
        assert_eq!(states(history, &[1059, 1060]), [Active, Stopping]);
    }

    #[test]
    fn destinations_of_a_composition_that_stops_before_it_is_active_never_start() {
        let history = History { started_at: seconds(0), stopping_at: Some(seconds(1)), quiet_since: None };
        let status = history.at(seconds(10), &DURATIONS);
        assert_eq!((status.state, status.active_at), (Stopped, None));
        assert_eq!(status.ended_at, Some(seconds(2)));
    }
}
