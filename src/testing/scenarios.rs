//! `/scenarios`.

use super::endpoint::Endpoint;

pub const ENDPOINTS: &[Endpoint] = &[];

/// The scenarios that run.
#[derive(Debug, Default)]
pub struct Scenarios;
