//! The state of stages: actions of signaling through `app`, verified in the store and by the API, on both engines.

#[expect(dead_code, reason = "servers open the stores")]
#[path = "../support/engines.rs"]
mod engines;
#[expect(dead_code, reason = "participants join and leave by connections")]
#[path = "../support/participants.rs"]
mod participants;

mod admission;
mod cluster;
mod compositions;
mod connections;
mod encoder_connections;
mod encoders;
mod events;
mod interleavings;
mod keys;
mod leases;
mod log;
mod nodes;
mod quotas;
mod recordings;
mod replay;
mod replicas;
mod sessions;
mod test_state;
mod tokens;
