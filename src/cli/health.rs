//! `greenroom health`: a liveness probe for containers, which have no other HTTP client.

use super::args::HealthArgs;
use super::error::CommandError;
use crate::http::client;
use crate::server::reachable;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(3);

pub(super) async fn run(args: &HealthArgs) -> Result<String, CommandError> {
    let check = client::get_unverified(reachable(args.listen), args.tls_cert.is_some(), "/_greenroom/health");
    let failed = |text: String| Err(CommandError::Health(args.listen, text));
    match tokio::time::timeout(TIMEOUT, check).await {
        Ok(Ok((status, _))) if status.is_success() => Ok(String::new()),
        Ok(Ok(_)) => failed("the server there is not a healthy greenroom".into()),
        Ok(Err(error)) => failed(error.to_string()),
        Err(_) => failed(format!("no response within {} s", TIMEOUT.as_secs())),
    }
}
