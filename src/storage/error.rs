//! Why the storage did not do what it was asked, with AWS's codes.

use std::borrow::Cow;
use std::io;

/// A failure of the storage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct StorageError {
    /// The error code of S3, such as `NoSuchBucket`, also for folders.
    pub code: Cow<'static, str>,
    /// A sentence without secrets, for events and logs.
    pub reason: Cow<'static, str>,
    /// Whether the same request can succeed without a change by the operator.
    pub retryable: bool,
    /// The message of the store or the library, for the log; can be empty.
    pub detail: Cow<'static, str>,
}

impl StorageError {
    pub(crate) const fn new(code: &'static str, reason: &'static str, retryable: bool) -> Self {
        StorageError { code: Cow::Borrowed(code), reason: Cow::Borrowed(reason), retryable, detail: Cow::Borrowed("") }
    }

    /// The error with a message for the log: one line of limited length.
    pub(crate) fn with_detail(mut self, detail: &str) -> Self {
        /// Maximum characters.
        const LONGEST: usize = 300;
        let line = detail.chars().map(|c| if c.is_control() { ' ' } else { c });
        self.detail = Cow::Owned(line.take(LONGEST).collect());
        self
    }

    /// The recording is not this node's any more.
    pub fn gone() -> Self {
        StorageError::new("OperationAborted", "Another node has taken the recording over.", false)
    }

    /// Whether there is no such object.
    pub fn is_not_found(&self) -> bool {
        self.code == "NoSuchKey"
    }

    /// The code as a label of metrics: one of a fixed set.
    pub fn label(&self) -> &'static str {
        CODES.iter().map(|(code, ..)| *code).find(|code| *code == self.code).unwrap_or("Other")
    }
}

pub(super) const NO_SUCH_BUCKET: StorageError =
    StorageError::new("NoSuchBucket", "The specified bucket does not exist.", false);
pub(super) const NO_SUCH_KEY: StorageError =
    StorageError::new("NoSuchKey", "The specified object does not exist.", false);
pub(crate) const ACCESS_DENIED: StorageError =
    StorageError::new("AccessDenied", "Access to the bucket was denied.", false);
pub(super) const INVALID_BUCKET: StorageError =
    StorageError::new("InvalidBucketName", "The specified bucket is not valid.", false);
pub(super) const INVALID_KEY: StorageError =
    StorageError::new("InvalidArgument", "The key of the object is not valid.", false);
pub(super) const TOO_LARGE: StorageError =
    StorageError::new("EntityTooLarge", "The object exceeds the maximum size.", false);
pub(super) const TOO_MANY: StorageError =
    StorageError::new("InvalidArgument", "There are too many objects with this prefix.", false);
pub(crate) const TIMEOUT: StorageError =
    StorageError::new("RequestTimeout", "The storage did not answer in time.", true);
pub(super) const UNREACHABLE: StorageError =
    StorageError::new("ConnectionError", "The storage cannot be reached.", true);
pub(super) const INVALID_REQUEST: StorageError =
    StorageError::new("InvalidRequest", "The storage did not accept the request.", false);
pub(super) const INTERNAL: StorageError = StorageError::new("InternalError", "The storage failed internally.", true);

/// Codes that a store answers, with our texts and whether to retry. What is not in the table follows from the status code.
const CODES: [(&str, &str, bool); 34] = {
    const CREDENTIALS: &str = "The storage rejected the server's credentials.";
    const REGION: &str = "The bucket is in another region.";
    const KEY: &str = "The encryption key of the bucket cannot be used.";
    const BUSY: &str = "The storage is busy or not available.";
    [
        ("NoSuchBucket", "The specified bucket does not exist.", false),
        ("NoSuchKey", "The specified object does not exist.", false),
        ("InvalidBucketName", "The specified bucket is not valid.", false),
        ("AccessDenied", "Access to the bucket was denied.", false),
        ("AllAccessDisabled", "All access to the bucket is disabled.", false),
        ("AccountProblem", "There is a problem with the account of the bucket.", false),
        ("NotSignedUp", "There is a problem with the account of the bucket.", false),
        ("InvalidAccessKeyId", CREDENTIALS, false),
        ("SignatureDoesNotMatch", CREDENTIALS, false),
        ("InvalidToken", CREDENTIALS, false),
        ("ExpiredToken", CREDENTIALS, true),
        ("RequestTimeTooSkewed", "The clock of the server differs too much from that of the storage.", false),
        ("PermanentRedirect", REGION, false),
        ("AuthorizationHeaderMalformed", REGION, false),
        ("IllegalLocationConstraintException", REGION, false),
        ("AccessControlListNotSupported", "The bucket does not accept access control lists.", false),
        ("InvalidEncryptionAlgorithmError", "The storage does not support the encryption algorithm.", false),
        ("InvalidArgument", "The storage did not accept a setting of the request.", false),
        ("InvalidRequest", "The storage did not accept the request.", false),
        ("NotImplemented", "The storage does not implement a feature of the request.", false),
        ("EntityTooLarge", "The object exceeds the maximum size.", false),
        ("QuotaExceeded", "The quota of the bucket is exhausted.", false),
        ("KMS.DisabledException", KEY, false),
        ("KMS.NotFoundException", KEY, false),
        ("KMS.KMSInvalidStateException", KEY, false),
        ("KMS.InvalidKeyUsageException", KEY, false),
        ("SlowDown", BUSY, true),
        ("ServiceUnavailable", BUSY, true),
        ("InternalError", "The storage failed internally.", true),
        ("InsufficientStorage", "There is no space left in the storage.", true),
        ("RequestTimeout", "The storage did not answer in time.", true),
        ("OperationAborted", "A conflicting operation is in progress.", true),
        ("ConnectionError", "The storage cannot be reached.", true),
        ("CredentialsError", "The server's credentials for the storage cannot be loaded.", true),
    ]
};

/// The error for a code of the store, or a status without one.
pub(super) fn of_response(code: Option<&str>, status: u16) -> StorageError {
    let known = |code: &str| CODES.iter().find(|(known, ..)| *known == code).copied();
    if let Some((code, reason, retryable)) = code.and_then(known) {
        return StorageError::new(code, reason, retryable);
    }
    // A code of another maker, or a new one of AWS, stays as it is.
    let is_name = |code: &&str| {
        (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
    };
    let name = match (code.filter(is_name), status) {
        (Some(code), _) => Cow::Owned(code.to_owned()),
        (None, 301 | 307 | 308) => Cow::Borrowed("PermanentRedirect"),
        (None, 401 | 403) => Cow::Borrowed("AccessDenied"),
        (None, 404) => Cow::Borrowed("NoSuchKey"),
        (None, 408) => Cow::Borrowed("RequestTimeout"),
        (None, 429) => Cow::Borrowed("SlowDown"),
        (None, 503) => Cow::Borrowed("ServiceUnavailable"),
        (None, 507) => Cow::Borrowed("InsufficientStorage"),
        (None, 400..=499) => Cow::Borrowed("InvalidRequest"),
        (None, _) => Cow::Borrowed("InternalError"),
    };
    let text = known(&name).map_or("The storage refused the request.", |(_, reason, _)| reason);
    let retryable = status >= 500 || matches!(status, 408 | 429);
    StorageError { code: name, reason: Cow::Borrowed(text), retryable, detail: Cow::Borrowed("") }
}

/// The error of a folder.
pub(super) fn of_io(error: &io::Error) -> StorageError {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => NO_SUCH_KEY,
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::AlreadyExists => ACCESS_DENIED,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StorageError::new("InsufficientStorage", "There is no space left in the storage.", true)
        }
        // A symbolic link where a folder was expected (ELOOP).
        _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => ACCESS_DENIED,
        _ => INTERNAL,
    };
    kind.with_detail(&error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_answers_becomes_a_code_and_whether_to_retry() {
        for (code, status, expected, retryable) in [
            (Some("NoSuchBucket"), 404, "NoSuchBucket", false),
            (Some("SlowDown"), 503, "SlowDown", true),
            (Some("KMS.DisabledException"), 400, "KMS.DisabledException", false),
            (Some("XMinioStorageFull"), 507, "XMinioStorageFull", true),
            (Some("Bad\r\nCode"), 400, "InvalidRequest", false),
            (None, 403, "AccessDenied", false),
            (None, 404, "NoSuchKey", false),
            (None, 500, "InternalError", true),
            (None, 502, "InternalError", true),
            (None, 301, "PermanentRedirect", false),
            (None, 429, "SlowDown", true),
        ] {
            let error = of_response(code, status);
            assert_eq!((&*error.code, error.retryable), (expected, retryable), "{code:?} {status}");
            assert!(!error.reason.is_empty());
        }
        assert_eq!(of_response(Some("XMinioStorageFull"), 507).label(), "Other", "labels are a fixed set");
        assert_eq!(of_response(None, 503).label(), "ServiceUnavailable");
    }

    #[test]
    fn errors_of_folders_have_codes_of_s3() {
        let code = |kind| of_io(&io::Error::from(kind)).code;
        assert_eq!(code(io::ErrorKind::PermissionDenied), "AccessDenied");
        assert_eq!(code(io::ErrorKind::StorageFull), "InsufficientStorage");
        assert_eq!(code(io::ErrorKind::Other), "InternalError");
    }
}
