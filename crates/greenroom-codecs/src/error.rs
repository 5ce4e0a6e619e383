use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why a codec has not done a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The configuration is outside what the codec supports.
    #[error("unsupported codec configuration: {0}")]
    Unsupported(&'static str),
    /// The data are damaged, or use a tool that the decoder does not implement.
    #[error("invalid {codec} data: {detail}")]
    InvalidData { codec: &'static str, detail: String },
    /// The data would take more memory or time than allowed.
    #[error("{codec} data exceed a limit: {limit}")]
    LimitExceeded { codec: &'static str, limit: &'static str },
    /// The library refused valid input.
    #[error("{codec} library failed: {detail}")]
    Library { codec: &'static str, detail: String },
    /// The library panicked; the codec was reset.
    #[error("{codec} library panicked: {detail}")]
    Panicked { codec: &'static str, detail: String },
}

/// An RTP payload, or what is assembled from payloads, is damaged or too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid RTP payload")]
pub struct InvalidPayload;

impl CodecError {
    /// Short name of the reason, for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            CodecError::Unsupported(_) => "unsupported",
            CodecError::InvalidData { .. } => "invalid_data",
            CodecError::LimitExceeded { .. } => "limit_exceeded",
            CodecError::Library { .. } => "library",
            CodecError::Panicked { .. } => "panicked",
        }
    }

    pub(crate) fn invalid(codec: &'static str, detail: impl ToString) -> CodecError {
        CodecError::InvalidData { codec, detail: detail.to_string() }
    }

    pub(crate) fn library(codec: &'static str, detail: impl ToString) -> CodecError {
        CodecError::Library { codec, detail: detail.to_string() }
    }
}

/// Calls a library, and turns a panic into an error. The caller must discard what the library may have left half changed.
pub(crate) fn guarded<T>(codec: &'static str, call: impl FnOnce() -> T) -> Result<T, CodecError> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        CodecError::Panicked { codec, detail: text.unwrap_or_else(|| "no message".to_owned()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_message() {
        let error = guarded("opus", || -> u8 { panic!("index {}", 7) }).unwrap_err();
        assert_eq!(error, CodecError::Panicked { codec: "opus", detail: "index 7".to_owned() });
        assert_eq!(error.reason(), "panicked");
        assert_eq!(guarded("opus", || 1), Ok(1));
    }
}
