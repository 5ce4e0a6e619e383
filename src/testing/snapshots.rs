//! `/snapshots`.

use super::endpoint::Endpoint;

pub const ENDPOINTS: &[Endpoint] = &[];

/// The snapshots of this server.
#[derive(Debug, Default)]
pub struct Snapshots;
