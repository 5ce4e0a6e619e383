//! `/snapshots`.

use super::endpoint::Endpoint;

pub const ENDPOINTS: &[Endpoint] = &[];
