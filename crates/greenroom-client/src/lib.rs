//! The other end: participants that join a stage with real media, one by `greenroom join`, many by `greenroom load`.
//!
//! ```text
//! join ─┐                ┌─► events (WebSocket) ─┐
//!       ├─► doors ───────┼─► http ───────────────┼─► net (TCP, TLS)
//! load ─┘   (by a token) └─► link (UDP) ─► peer (sans-IO) ─► player ─► clip
//! ```
//!
//! It knows the service as every other client does: by its API, its doors, and what a token says. Nothing of the server
//! is used here, so that what works here works from anywhere.

pub mod clip;
pub mod connector;
pub mod doors;
pub mod events;
pub mod figures;
pub mod http;
pub mod join;
pub mod link;
pub mod load;
pub mod options;
pub mod peer;
pub mod player;
pub mod token;

mod aws;
mod member;
pub mod process;
mod report;
mod view;
mod wanted;

use crate::options::ConnectOptions;
use doors::DoorError;
use http::{HttpClient, ServiceError};
use hyper::header::HeaderValue;

/// Why a command of the client failed; each text is one line for the user.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The token, or a URL in its place.
    #[error(transparent)]
    Token(#[from] token::TokenError),
    /// The token cannot be read from standard input.
    #[error("cannot read the token from standard input: {0}")]
    Input(std::io::Error),
    /// What is to be published.
    #[error("--publish: {0}")]
    Clip(#[from] clip::ClipError),
    /// The certificates to trust.
    #[error("--ca: {0}")]
    Connect(#[from] connector::ConnectError),
    /// What the client calls itself.
    #[error("--user-agent must be one line of plain text")]
    UserAgent,
    /// What names the stage.
    #[error("--stage: '{0}' is not the ARN of a stage, such as arn:aws:ivs:us-east-1:000000000000:stage/AbCdEfGhIjKl")]
    Stage(String),
    /// A URL.
    #[error("--endpoint: '{0}' is not a URL")]
    Endpoint(String),
    /// The server's process.
    #[error("--server-pid: {0}")]
    Process(std::io::Error),
    /// A door.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// The service has ended what was going on.
    #[error(transparent)]
    Ended(ServiceError),
    /// Some of many did not join.
    #[error("{0} of {1} did not join")]
    Missing(u32, u32),
}

impl ClientError {
    /// Whether the command was worded wrongly, rather than refused.
    pub fn is_usage(&self) -> bool {
        use ClientError::{Clip, Connect, Endpoint, Input, Process, Stage, Token, UserAgent};
        matches!(self, Token(_) | Input(_) | Clip(_) | Connect(_) | UserAgent | Stage(_) | Endpoint(_) | Process(_))
    }
}

/// What sends the requests of a command.
fn http(args: &ConnectOptions) -> Result<HttpClient, ClientError> {
    let user_agent = HeaderValue::from_str(&args.user_agent).map_err(|_| ClientError::UserAgent)?;
    Ok(HttpClient { net: connector::Connector::new(args.ca.as_deref())?, user_agent })
}
