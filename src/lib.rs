#![doc = include_str!("../docs/design/architecture.md")]
#![warn(clippy::unwrap_used, clippy::large_futures)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::large_futures))]

pub mod api;
pub mod app;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connections;
pub mod console;
pub mod domain;
pub mod events;
pub mod http;
pub mod ids;
pub mod metrics;
pub mod model;
pub mod recording;
pub mod secret;
pub mod server;
pub mod signaling;
pub mod storage;
pub mod store;
pub mod telemetry;
pub mod test_server;
pub mod testing;
pub mod token;
