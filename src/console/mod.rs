//! Web pages of the server.

pub mod demo;
