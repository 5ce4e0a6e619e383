//! Why a connection ends: for the encoder, the log, the metrics and the participant's events.

use super::refusal::{self, Refusal};
use crate::connections::EncoderEnd;
use crate::metrics::IngestEnd;
use crate::model::participant::EventErrorCode;
use greenroom_ingest::IngestError;
use greenroom_rtmp::ProtocolError;
use std::io;

/// Why a connection ends.
#[derive(Debug)]
pub enum End {
    /// The encoder has stopped publishing.
    Unpublished,
    /// The encoder has closed the connection, or it broke.
    Closed(Option<io::Error>),
    /// No publication was requested in time.
    Timeout,
    /// No media were received for too long.
    Idle,
    /// The encoder did not read what was sent to it.
    Unread,
    /// The TLS handshake failed.
    Tls(io::Error),
    Protocol(ProtocolError),
    Refused(Refusal),
    Media(IngestError),
    /// The server ended the publication.
    Server(EncoderEnd),
    /// The node of the stage's media could not be reached, or ended the relay.
    Relay(String),
}

impl From<ProtocolError> for End {
    fn from(error: ProtocolError) -> Self {
        End::Protocol(error)
    }
}

impl From<IngestError> for End {
    fn from(error: IngestError) -> Self {
        End::Media(error)
    }
}

impl End {
    /// The reason in metrics and logs.
    pub fn reason(&self) -> IngestEnd {
        match self {
            End::Unpublished => IngestEnd::Unpublished,
            End::Closed(_) => IngestEnd::Closed,
            End::Timeout => IngestEnd::Timeout,
            End::Idle => IngestEnd::Idle,
            End::Unread => IngestEnd::Unread,
            End::Tls(_) => IngestEnd::Tls,
            End::Protocol(_) => IngestEnd::Protocol,
            End::Refused(refusal) => refusal.reason,
            End::Media(error) => match error {
                IngestError::BFrames => IngestEnd::BFramePresent,
                IngestError::VideoCodec(_) => IngestEnd::InvalidVideoCodec,
                IngestError::AudioCodec(_) => IngestEnd::InvalidAudioCodec,
                IngestError::Resolution { .. } => IngestEnd::ResolutionExceeded,
                IngestError::Bitrate => IngestEnd::BitrateExceeded,
                IngestError::Missing(_) | IngestError::Invalid(_) => IngestEnd::InvalidInput,
            },
            End::Server(EncoderEnd::Disconnected) => IngestEnd::Disconnected,
            End::Server(EncoderEnd::StageDeleted) => IngestEnd::StageDeleted,
            End::Server(EncoderEnd::DurationExceeded) => IngestEnd::DurationExceeded,
            End::Server(EncoderEnd::Stopping) => IngestEnd::Stopping,
            End::Server(EncoderEnd::Removed) => IngestEnd::Removed,
            End::Relay(_) => IngestEnd::RelayFailed,
        }
    }

    /// The error code of the participant's event, if the encoder is at fault.
    pub fn event(&self) -> Option<EventErrorCode> {
        let End::Media(error) = self else { return None };
        Some(match error {
            IngestError::BFrames => EventErrorCode::BFramePresent,
            IngestError::VideoCodec(_) => EventErrorCode::InvalidVideoCodec,
            IngestError::AudioCodec(_) => EventErrorCode::InvalidAudioCodec,
            IngestError::Resolution { .. } => EventErrorCode::ResolutionExceeded,
            IngestError::Bitrate => EventErrorCode::BitrateExceeded,
            IngestError::Missing(_) | IngestError::Invalid(_) => EventErrorCode::InvalidInput,
        })
    }

    /// The RTMP status code and the description that the encoder gets, if it is still there to read them.
    pub fn status(&self) -> Option<(&'static str, String)> {
        match self {
            End::Refused(refusal) => Some((refusal.status, refusal.message.clone())),
            End::Media(error) => Some((refusal::DENIED, refusal::advice(error))),
            End::Idle => Some(("NetConnection.Connect.IdleTimeOut", "no media were received for too long".into())),
            End::Server(EncoderEnd::Stopping) => {
                Some(("NetConnection.Connect.AppShutdown", "the server stops; connect again".into()))
            }
            End::Server(end) => Some(("NetConnection.Connect.Closed", server_end(*end).into())),
            End::Relay(_) => Some((refusal::DENIED, "the node of the stage cannot be reached; try again".into())),
            End::Unpublished | End::Closed(_) | End::Timeout | End::Unread | End::Tls(_) | End::Protocol(_) => None,
        }
    }

    /// What the operator has to know beside the reason, on one line.
    pub fn detail(&self) -> Option<String> {
        match self {
            End::Closed(error) => error.as_ref().map(io::Error::to_string),
            End::Tls(error) => Some(error.to_string()),
            End::Protocol(error) => Some(format!("{} ({})", error.reason, error.label)),
            End::Refused(refusal) => Some(refusal.message.clone()),
            End::Media(error) => Some(refusal::advice(error)),
            End::Relay(error) => Some(error.clone()),
            End::Unpublished | End::Timeout | End::Idle | End::Unread | End::Server(_) => None,
        }
    }
}

fn server_end(end: EncoderEnd) -> &'static str {
    match end {
        EncoderEnd::Disconnected => "the participant was disconnected, or the stream key was deleted",
        EncoderEnd::StageDeleted => "the stage was deleted",
        EncoderEnd::DurationExceeded => "the publication has reached its maximum duration; connect again",
        EncoderEnd::Stopping => "the server stops; connect again",
        EncoderEnd::Removed => "the participant was removed from the stage",
    }
}
