//! The client of greenroom: participants that join a stage with real media. `greenroom join` runs one, `greenroom load`
//! many. A server publishes with [`live`] what encoders send to it for a stage whose media are on another node.
//!
//! ```text
//! join ──► subscriptions, printer
//!   │
//!   ├────► whip_client ──┬─► events (WebSocket) ─┐
//!   │     (by the token) ├─► http ───────────────┼─► connector (TCP, TLS)
//!   │                    └─► transport (UDP) ────┴─► peer_connection (sans-IO) ─► player ─► clip
//! load ──► virtual_participant, api (CreateParticipantToken)
//! live ──► whip_client
//!      └─► report, process_stats
//! ```
//!
//! | module | content |
//! |---|---|
//! | [`join`] | one participant: joins, publishes, follows the publishers of the stage, prints statistics |
//! | [`load`] | a load test: publishers and subscribers at a constant rate, held for a time, then a report |
//! | [`live`] | a publisher of packets as they come from an encoder |
//! | [`whip_client`] | the signaling of a participant: events WebSocket, WHIP offers, `DELETE` |
//! | [`events`] | the events WebSocket and its messages |
//! | [`http`], [`connector`] | HTTP/1.1 with redirects; TCP and TLS connections |
//! | [`transport`] | a task that drives a peer connection over its own UDP socket |
//! | [`peer_connection`] | a sans-IO peer connection on str0m |
//! | [`player`], [`clip`] | the schedule of frames; encoded media from files or the built-in test pattern |
//! | [`stats`] | statistics of a connection |
//! | [`process_stats`] | CPU and memory of a process (Linux) |
//! | [`token`] | the claims of a participant token |
//! | [`options`] | the options of `join` and `load` |
//!
//! The client uses no code of the server: it knows the service by its API, its participant endpoints, and the claims of
//! tokens, so that what works here works from any machine. Commands return a [`ClientError`], whose text is one line for the
//! user.

#![allow(missing_docs, reason = "field and variant names that speak for themselves have no docs")]

pub mod clip;
pub mod connector;
pub mod events;
pub mod http;
pub mod join;
pub mod live;
pub mod load;
pub mod options;
pub mod peer_connection;
pub mod player;
pub mod process_stats;
pub mod stats;
pub mod token;
pub mod transport;
pub mod whip_client;

mod api;
mod printer;
mod report;
mod subscriptions;
mod virtual_participant;

pub use api::{SignError, Signer, Unsigned};

use crate::options::ConnectOptions;
use http::{HttpClient, ServiceError};
use hyper::header::HeaderValue;
use whip_client::JoinError;

/// Why a command failed. Each text is one line for the user.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The token, or a URL that overrides one of its claims.
    #[error(transparent)]
    Token(#[from] token::TokenError),
    #[error("cannot read the token from standard input: {0}")]
    Input(std::io::Error),
    #[error("--publish: {0}")]
    Clip(#[from] clip::ClipError),
    #[error("--ca: {0}")]
    Connect(#[from] connector::ConnectError),
    #[error("--user-agent must be one line of plain text")]
    UserAgent,
    #[error("--stage: '{0}' is not the ARN of a stage, such as arn:aws:ivs:us-east-1:000000000000:stage/AbCdEfGhIjKl")]
    Stage(String),
    #[error("--endpoint: '{0}' is not a URL")]
    Endpoint(String),
    #[error("--server-pid: {0}")]
    Process(std::io::Error),
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The service ended the session.
    #[error(transparent)]
    Ended(ServiceError),
    /// Participants of a load test that did not join, and all of them.
    #[error("{0} of {1} did not join")]
    Missing(u32, u32),
}

impl ClientError {
    /// Whether the command line is wrong, rather than the service at fault.
    pub fn is_usage(&self) -> bool {
        use ClientError::{Clip, Connect, Endpoint, Input, Process, Stage, Token, UserAgent};
        matches!(self, Token(_) | Input(_) | Clip(_) | Connect(_) | UserAgent | Stage(_) | Endpoint(_) | Process(_))
    }
}

/// The HTTP client of a command.
fn http(args: &ConnectOptions) -> Result<HttpClient, ClientError> {
    let user_agent = HeaderValue::from_str(&args.user_agent).map_err(|_| ClientError::UserAgent)?;
    Ok(HttpClient { connector: connector::Connector::new(args.ca.as_deref())?, user_agent })
}
