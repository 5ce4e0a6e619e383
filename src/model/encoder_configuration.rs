//! Encoder configurations: shapes, requests and answers.

use super::common::PaginationToken;
use super::declare::{integer_shapes, list_shapes, shape, string_shapes, structures};
use super::shape::{Kind, wrong_type};
use super::tag::Tags;

string_shapes! {
    /// ARN of an encoder configuration.
    EncoderConfigurationArn { length: 1..=128, pattern: r"arn:aws:ivs:[a-z0-9-]+:[0-9]+:encoder-configuration/[a-zA-Z0-9-]+" }
    /// Name of an encoder configuration.
    EncoderConfigurationName { length: 0..=128, pattern: r"[a-zA-Z0-9-_]*" }
}

integer_shapes! {
    /// Pixels, an even number.
    Width { min: 2, max: 1920 }
    /// Pixels, an even number.
    Height { min: 2, max: 1920 }
    /// Bits per second.
    Bitrate { min: 1, max: 8500000 }
    /// Maximum number of items per page.
    MaxEncoderConfigurationResults { min: 1, max: 100 }
}

list_shapes! {
    /// Encoder configurations of a page.
    EncoderConfigurationSummaryList [EncoderConfigurationSummary]
}

structures! {
    /// Video settings of compositions.
    EncoderConfiguration {
        /// ARN of the resource.
        arn: EncoderConfigurationArn,
        /// Name; not unique, `""` when unset.
        name: Option<EncoderConfigurationName>,
        /// Video settings; default 1280×720, 30 frames/s and 2,500,000 bit/s.
        video: Option<Video>,
        /// Tags of the resource.
        tags: Option<Tags>,
    }
    /// Summary of an encoder configuration.
    EncoderConfigurationSummary {
        /// ARN of the resource.
        arn: EncoderConfigurationArn,
        /// Name; not unique, `""` when unset.
        name: Option<EncoderConfigurationName>,
        /// Tags of the resource.
        tags: Option<Tags>,
    }
    /// Size, frame rate and bit rate.
    Video {
        /// Pixels, even; default 1280.
        width: Option<Width>,
        /// Pixels, even; default 720. Width times height at most 2,073,600.
        height: Option<Height>,
        /// Frames per second; default 30.
        framerate: Option<Framerate>,
        /// Bits per second; default 2,500,000.
        bitrate: Option<Bitrate>,
    }
    /// Input of `CreateEncoderConfiguration`.
    CreateEncoderConfigurationRequest {
        /// Name; not unique, `""` when unset.
        name: Option<EncoderConfigurationName>,
        /// Video settings; default 1280×720, 30 frames/s and 2,500,000 bit/s.
        video: Option<Video>,
        /// Tags of the resource.
        tags: Option<Tags>,
    }
    /// Output of `CreateEncoderConfiguration`.
    CreateEncoderConfigurationResponse {
        /// The encoder configuration.
        encoder_configuration: Option<EncoderConfiguration>,
    }
    /// Input of `GetEncoderConfiguration`.
    GetEncoderConfigurationRequest {
        /// ARN of the resource.
        arn: EncoderConfigurationArn,
    }
    /// Output of `GetEncoderConfiguration`.
    GetEncoderConfigurationResponse {
        /// The encoder configuration.
        encoder_configuration: Option<EncoderConfiguration>,
    }
    /// Input of `ListEncoderConfigurations`.
    ListEncoderConfigurationsRequest {
        /// Token of the next page; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Maximum number of items per page.
        max_results: Option<MaxEncoderConfigurationResults>,
    }
    /// Output of `ListEncoderConfigurations`.
    ListEncoderConfigurationsResponse {
        /// Encoder configurations in the order of their creation.
        encoder_configurations: EncoderConfigurationSummaryList,
        /// Token of the next page; absent on the last page.
        next_token: Option<PaginationToken>,
    }
    /// Input of `DeleteEncoderConfiguration`.
    DeleteEncoderConfigurationRequest {
        /// ARN of the resource.
        arn: EncoderConfigurationArn,
    }
    /// Output of `DeleteEncoderConfiguration`.
    DeleteEncoderConfigurationResponse {}
}

/// Frames per second.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Framerate(pub f64);

impl Framerate {
    const MIN: f64 = 1.0;
    const MAX: f64 = 60.0;
}

shape!(
    Framerate,
    ["Frames per second."],
    Kind::Float { min: Framerate::MIN, max: Framerate::MAX },
    |value, at, broken| {
        let Some(number) = value.as_f64() else { return Err(wrong_type(&value, at, "a Float")) };
        if number > Self::MAX {
            broken.rule(&value, at, format_args!("Member must have value less than or equal to {}", Self::MAX));
        } else if number < Self::MIN {
            broken.rule(&value, at, format_args!("Member must have value greater than or equal to {}", Self::MIN));
        } else {
            return Ok(Some(Self(number)));
        }
        Ok(None)
    }
);
