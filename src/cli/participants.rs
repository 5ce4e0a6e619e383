//! `greenroom join` and `greenroom load`: participants with real media.

use super::args::{JoinArgs, LoadArgs};
use super::error::CommandError;
use super::stop;
use crate::clock;
use crate::telemetry;
use std::io::IsTerminal as _;

pub(super) async fn join(args: JoinArgs) -> Result<String, CommandError> {
    telemetry::start();
    let (mut out, is_terminal) = (std::io::stdout(), std::io::stdout().is_terminal());
    greenroom_client::join::run(args.into(), &mut out, is_terminal, stop()).await?;
    Ok(String::new())
}

pub(super) async fn load(args: LoadArgs) -> Result<String, CommandError> {
    telemetry::start();
    let (mut out, mut progress) = (std::io::stdout(), std::io::stderr());
    greenroom_client::load::run(args.into(), clock::system_time, &mut out, &mut progress, stop()).await?;
    Ok(String::new())
}
