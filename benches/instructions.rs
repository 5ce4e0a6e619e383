//! Runs each inner path a number of times between two marks, for `scripts/instructions`: callgrind dumps its counters
//! at each mark.
//!
//! `instructions` runs all paths, `instructions NAME…` only those.

mod paths;

use greenroom::config::{MetricsMode, Url};
use paths::Path;
use paths::world::World;
use std::io::Write as _;

/// Runs before the count: they fill caches.
const WARM_UP: usize = 5;
/// Runs that are counted: rare work, such as the split of a full page of a tree, is spread over them.
const TIMES: usize = 50;

/// callgrind dumps and resets its counters here.
#[inline(never)]
fn mark(what: &str) {
    std::hint::black_box(what);
}

fn count(path: &mut Path) {
    (0..WARM_UP).for_each(|_| (path.walk)());
    mark("begin");
    (0..TIMES).for_each(|_| (path.walk)());
    mark("end");
    println!("{}\t{TIMES}", path.name);
}

fn main() {
    let names: Vec<_> = std::env::args().skip(1).collect();
    tracing::dispatcher::set_global_default(paths::log()).expect("no other log");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let world = World::open(runtime, Url::Memory, MetricsMode::On);
    let all = paths::pure::pure().into_iter().chain(paths::stored(&world)).chain(paths::whole(&world));
    for mut path in all.filter(|path| names.is_empty() || names.iter().any(|name| name == path.name)) {
        count(&mut path);
    }
    std::io::stdout().flush().expect("standard output");
    // Exits without destructors, which would be counted.
    std::process::exit(0);
}
