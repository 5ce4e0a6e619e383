//! The rules, without I/O: state, input and time in; new state and what follows out.

pub mod admission;
pub mod bucket;
pub mod composition;
pub mod encoder_configuration;
pub mod event;
pub mod faults;
pub mod participant;
pub mod pattern;
pub mod policy;
pub mod public_key;
pub mod rate;
pub mod recording;
pub mod stage;
pub mod stage_state;
pub mod tag;
pub mod token;

/// Why an input breaks a rule that the shapes cannot express: a sentence that names the member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValidationErrors(pub String);
