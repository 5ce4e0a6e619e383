/// Why a connection has to be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ProtocolError {
    /// A short label for metrics: `aggregate`, `amf`, `bytes_before_publish`, `chunk_header`, `chunk_size`, `chunk_streams`,
    /// `command_order`, `control_message`, `message_size`, `message_streams`, `partial_messages`, `play`, `unread_answers` or `version`.
    pub label: &'static str,
    /// One line for the log.
    pub reason: String,
}

impl ProtocolError {
    pub(crate) fn new(label: &'static str, reason: impl Into<String>) -> ProtocolError {
        ProtocolError { label, reason: reason.into() }
    }

    pub(crate) fn order(reason: impl Into<String>) -> ProtocolError {
        ProtocolError::new("command_order", reason)
    }
}
