//! The `greenroom` program: the allocator, and [`greenroom::cli`].

use std::process::ExitCode;

/// Also serves SQLite and the cryptography, which allocate in C. It is used where requests were measured to be faster with
/// it than with the system's allocator.
#[cfg(all(feature = "jemalloc", target_os = "linux", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    greenroom::cli::main()
}
