//! What verification, policy, logs and metrics cost: shares of a GetStage through the door, of one run.
//!
//! `cargo bench --bench shares` prints the medians of interleaved rounds. Nothing is asserted: only ratios of one run
//! mean anything.

#[expect(dead_code, reason = "others use all of it")]
mod paths;

use greenroom::config::{Figures, Url};
use greenroom::domain::policy::{Context, Policy, Request};
use paths::Path;
use paths::pure::{LARGE_POLICY, check};
use paths::world::{Key, World};
use std::rc::Rc;
use std::time::{Duration, Instant};

const ROUNDS: usize = 41;
const TIMES: u32 = 200;

/// A way to get a stage.
struct Way {
    name: &'static str,
    path: Path,
    /// Whether lines are written to the log, as a server does, if to nowhere.
    logs: bool,
    took: Vec<Duration>,
}

impl Way {
    fn new(name: &'static str, logs: bool, walk: impl FnMut() + 'static) -> Way {
        Way { name, path: Path { name, walk: Box::new(walk) }, logs, took: Vec::new() }
    }

    fn round(&mut self, log: &tracing::Dispatch) {
        let mut walk = || {
            let begun = Instant::now();
            (0..TIMES).for_each(|_| (self.path.walk)());
            begun.elapsed()
        };
        let took = if self.logs { tracing::dispatcher::with_default(log, walk) } else { walk() };
        self.took.push(took);
    }

    /// Microseconds of one.
    fn median(&mut self) -> f64 {
        self.took.sort();
        self.took[self.took.len() / 2].as_secs_f64() * 1e6 / f64::from(TIMES)
    }
}

fn world(metrics: Figures) -> Rc<World> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    World::open(runtime, Url::Memory, metrics)
}

fn ask(name: &'static str, logs: bool, world: &Rc<World>, key: &Key) -> Way {
    let body = format!(r#"{{"arn":"{}"}}"#, &*world.arn);
    let (world, request) = (world.clone(), world.signed("/GetStage", body.as_bytes(), key));
    Way::new(name, logs, move || world.ask(&request))
}

fn main() {
    let (counted, uncounted) = (world(Figures::On), world(Figures::Off));
    let (development, stored) = (Key::development(), counted.stored_key(LARGE_POLICY));
    let body = format!(r#"{{"arn":"{}"}}"#, &*counted.arn);
    let checked = counted.signed("/GetStage", body.as_bytes(), &development);
    let policy = Policy::parse(LARGE_POLICY).expect("a policy");
    let context = Context { region: "us-east-1".into(), source_ip: "127.0.0.1".parse().ok(), ..Context::default() };
    let (bare, arn) = (uncounted.clone(), counted.arn.to_string());
    let mut ways = [
        ask("all of it: metrics, logs, a key with a policy", true, &counted, &stored),
        ask("with metrics and logs", true, &counted, &development),
        ask("with metrics", false, &counted, &development),
        ask("with logs", true, &uncounted, &development),
        ask("with neither", false, &uncounted, &development),
        Way::new("the operation and its store alone", false, move || bare.get_stage()),
        Way::new("the signature alone", false, move || check(&checked, "test")),
        Way::new("the decision of the policy alone", false, move || {
            let request = Request { action: "ivs:GetStage", resource: &arn, context: &context };
            std::hint::black_box(policy.decide(&request));
        }),
    ];
    let log = paths::log();
    for _ in 0..ROUNDS {
        ways.iter_mut().for_each(|way| way.round(&log));
    }
    let took = ways.each_mut().map(Way::median);
    println!("GetStage through the door, SQLite in memory: medians of {ROUNDS} rounds of {TIMES}");
    for (way, took) in ways.iter().zip(took) {
        println!("  {:<48}{took:>8.1} us", way.name);
    }
    let [all, both, metrics, logs, neither, bare, signature, decision] = took;
    let of_metrics = ((both - logs) + (metrics - neither)) / 2.0;
    let of_logs = ((both - metrics) + (logs - neither)) / 2.0;
    // What is left where nothing is checked, decided, written or counted.
    let without = neither - signature;
    println!("shares of these {all:.1} us, and of the {without:.1} us that are left without them");
    for (name, cost) in [
        ("verification: the signature", signature),
        ("policy: a stored key, its policy, the decision", all - both),
        ("  of it the decision", decision),
        ("logs: spans, and a line", of_logs),
        ("metrics", of_metrics),
        ("together", all - without),
        ("the operation and its store", bare),
    ] {
        println!("  {name:<48}{cost:>8.1} us  {:>5.1} %  {:>5.1} %", 100.0 * cost / all, 100.0 * cost / without);
    }
    let parts = serde_json::json!({
        "verification": signature, "policy": all - both, "logs": of_logs, "metrics": of_metrics,
    });
    let cost = all - without;
    let last = serde_json::json!({
        "bench": "shares", "rounds": ROUNDS, "whole_us": all, "without_us": without, "parts": parts,
        "share": cost / all, "share_of_rest": cost / without,
    });
    println!("{last}");
}
