//! The protocol through its public interface: an encoder and a server written for the tests, captures of real ones, and bad input.

mod aggregates;
mod amf;
mod captures;
mod chunks;
mod client;
mod control;
mod flv;
mod handshake;
mod hostile;
mod roundtrip;
mod session;
mod support;
mod url;
