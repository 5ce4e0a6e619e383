//! Settings of the test API.

use super::{Switch, group};
use clap::{Args, ValueEnum};

/// Settings of the test API.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = group::TESTING)]
pub struct TestingArgs {
    /// Test API at /_greenroom/test, for tests and development only: off, on or public
    ///
    /// on serves it without authentication to this machine, on a loopback address without a proxy in front
    /// (--public-url, --trusted-proxies). public serves it at any address, to requests that are signed with an access key
    /// without a policy.
    #[arg(long, env = "GREENROOM_TEST_API", default_value = "off", value_name = "MODE")]
    pub test_api: TestApi,
    /// Seed of reproducible ids, secrets and tokens, for tests only (default: they are random)
    ///
    /// Anyone who knows it can make tokens. A new store gets a token-signing key that is derived from it.
    #[arg(long, env = "GREENROOM_TEST_SEED", value_name = "N", requires = "test_api")]
    pub test_seed: Option<u64>,
    /// Shutdown when standard input closes, as it does when the test runner that holds it ends: on or off
    ///
    /// Requests in flight are completed, as at SIGTERM. A server whose standard input is /dev/null ends at once.
    #[arg(long, env = "GREENROOM_EXIT_ON_STDIN_CLOSE", default_value = "off", value_name = "SWITCH")]
    pub exit_on_stdin_close: Switch,
}

/// Whether the test API is served, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TestApi {
    /// Not served.
    Off,
    /// Served to this machine, without authentication.
    On,
    /// Served to signed requests.
    Public,
}
