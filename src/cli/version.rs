//! Version and build information.

use crate::store::SCHEMA;

/// The version of the package.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit of the build. The release workflow and the Dockerfile set `GREENROOM_COMMIT`; other builds do not have it, as a
/// query of git would rebuild the crate at every commit.
const COMMIT: Option<&str> = option_env!("GREENROOM_COMMIT");

/// The text of `--version`, with `verbose` that of `--version --verbose`.
pub(super) fn text(verbose: bool) -> String {
    let version = format!("greenroom {VERSION}\n");
    if !verbose {
        return version;
    }
    let commit = COMMIT.filter(|commit| !commit.is_empty()).unwrap_or("unknown");
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("{version}commit  {commit}\nbuild   {profile}, {os} {arch}\nschema  {SCHEMA}\n")
}
