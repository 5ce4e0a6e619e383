//! `/participants`.

use super::endpoint::Endpoint;

pub const ENDPOINTS: &[Endpoint] = &[];

/// The simulated participants of this server.
#[derive(Debug, Default)]
pub struct Simulated;
