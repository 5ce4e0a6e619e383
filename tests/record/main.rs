//! The state of stages: what signaling does through `app`, compared with the store and the API afterwards, on both engines.

#[expect(dead_code, reason = "the stores here are opened by servers")]
#[path = "../support/engines.rs"]
mod engines;
#[expect(dead_code, reason = "participants join and leave by their connections here")]
#[path = "../support/participants.rs"]
mod participants;

mod admission;
mod cluster;
mod compositions;
mod connections;
mod events;
mod interleavings;
mod keys;
mod leases;
mod log;
mod nodes;
mod quotas;
mod replay;
mod replicas;
mod sessions;
mod tokens;
