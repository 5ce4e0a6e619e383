//! Goes each inner path some times, with a mark before and after, for `scripts/instructions`: under callgrind, which
//! writes down what was executed between two marks.
//!
//! `instructions` goes them all, `instructions NAME…` only those.

mod paths;

use greenroom::config::{Figures, Url};
use paths::Path;
use paths::world::World;
use std::io::Write as _;

/// What a path may do at its first steps only, such as filling caches, is not counted.
const WARM_UP: usize = 5;
/// Times that each path is gone: what happens now and then, such as a page of a tree that is full, is spread over them.
const TIMES: usize = 50;

/// Where callgrind writes down what it has counted, and begins anew.
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
    let wanted: Vec<_> = std::env::args().skip(1).collect();
    tracing::dispatcher::set_global_default(paths::log()).expect("no other log");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let world = World::open(runtime, Url::Memory, Figures::On);
    let all = paths::pure::pure().into_iter().chain(paths::stored(&world)).chain(paths::whole(&world));
    for mut path in all.filter(|path| wanted.is_empty() || wanted.iter().any(|name| name == path.name)) {
        count(&mut path);
    }
    std::io::stdout().flush().expect("standard output");
    // Nothing is to be put away in order: that would be counted for nothing.
    std::process::exit(0);
}
