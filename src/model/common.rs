//! Shapes that several resources share.

use super::declare::{boolean_shapes, string_shapes, timestamp_shapes};

string_shapes! {
    /// An opaque pagination token.
    PaginationToken { length: 0..=1024, pattern: r"[a-zA-Z0-9+/=_-]*" }
    /// A user id that the application assigns to a participant.
    UserId { length: 0..=128 }
}

boolean_shapes! {
    /// `true` or `false`.
    Boolean
}

timestamp_shapes! {
    /// A time, ISO 8601 in UTC.
    Time
}
