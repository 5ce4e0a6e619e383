//! Web pages of the server.

pub mod demo;
pub mod home;
