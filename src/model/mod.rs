//! The AWS vocabulary: shapes, enums, requests, answers, faults, ARNs and page tokens. No I/O.
//!
//! Names and constraints follow the published API model `ivs-realtime`, version 2020-07-14; a test compares every one
//! of them with botocore's copy. Departures are documented where they stand.

pub mod arn;
pub mod common;
pub mod composition;
pub(crate) mod declare;
pub mod encoder_configuration;
pub mod fault;
pub mod ingest_configuration;
pub mod json;
pub mod page;
pub mod participant;
pub mod public_key;
pub mod replication;
pub mod session;
pub mod shape;
pub mod stage;
pub mod storage_configuration;
pub mod tag;
pub mod token;
