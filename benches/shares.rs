//! Shares of verification, policy, logs and metrics in a GetStage request, within one run.
//!
//! `cargo bench --bench shares` prints the medians of interleaved rounds. Nothing is asserted: only ratios within one
//! run mean anything.

#[expect(dead_code, reason = "the other benches use all of it")]
mod paths;

use greenroom::app::credentials::SecretAccessKey;
use greenroom::config::{MetricsMode, Url};
use greenroom::domain::policy::{Context, Policy, Request};
use paths::Path;
use paths::pure::{LARGE_POLICY, check};
use paths::world::{Key, World};
use std::rc::Rc;
use std::time::{Duration, Instant};

const ROUNDS: usize = 201;
const TIMES: u32 = 40;

/// A variant of getting a stage.
struct Way {
    name: &'static str,
    path: Path,
    /// Whether log lines are written, as a server does, to a sink.
    logs: bool,
    took: Vec<Duration>,
}

impl Way {
    fn new(name: &'static str, logs: bool, walk: impl FnMut() + 'static) -> Way {
        Way { name, path: Path { name, walk: Box::new(walk) }, logs, took: Vec::new() }
    }

    fn round(&mut self, log: &tracing::Dispatch) {
        let mut walk = || {
            // Warm-up.
            (0..TIMES / 4).for_each(|_| (self.path.walk)());
            let begun = Instant::now();
            (0..TIMES).for_each(|_| (self.path.walk)());
            begun.elapsed()
        };
        let took = if self.logs { tracing::dispatcher::with_default(log, walk) } else { walk() };
        self.took.push(took);
    }
}

/// The median over all rounds of a figure of the variants' times in a round, in microseconds. Other load on the machine
/// affects all variants of a round.
fn median(ways: &[Way; 8], of: impl Fn([f64; 8]) -> f64) -> f64 {
    let took = |way: &Way, round: usize| way.took[round].as_secs_f64() * 1e6 / f64::from(TIMES);
    let mut rounds: Vec<_> = (0..ROUNDS).map(|round| of(ways.each_ref().map(|way| took(way, round)))).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn world(folder: &std::path::Path, metrics: MetricsMode) -> Rc<World> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    World::open(runtime, Url::File(folder.join(format!("{metrics:?}.db"))), metrics)
}

fn ask(name: &'static str, logs: bool, world: &Rc<World>, key: &Key) -> Way {
    let body = format!(r#"{{"arn":"{}"}}"#, &*world.arn);
    let (world, request) = (world.clone(), world.signed("/GetStage", body.as_bytes(), key));
    Way::new(name, logs, move || world.ask(&request))
}

fn main() {
    let folder = std::env::temp_dir().join(format!("greenroom-shares-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (counted, uncounted) = (world(&folder, MetricsMode::On), world(&folder, MetricsMode::Off));
    let (development, stored) = (Key::development(), counted.stored_key(LARGE_POLICY));
    let body = format!(r#"{{"arn":"{}"}}"#, &*counted.arn);
    let checked = counted.signed("/GetStage", body.as_bytes(), &development);
    let policy = Policy::parse(LARGE_POLICY).expect("a policy");
    let context = Context { region: "us-east-1".into(), source_ip: "127.0.0.1".parse().ok(), ..Context::default() };
    let secret = SecretAccessKey::from("test".to_owned());
    let (bare, arn) = (uncounted.clone(), counted.arn.to_string());
    let mut ways = [
        ask("all of it: metrics, logs, a key with a policy", true, &counted, &stored),
        ask("with metrics and logs", true, &counted, &development),
        ask("with metrics", false, &counted, &development),
        ask("with logs", true, &uncounted, &development),
        ask("with neither", false, &uncounted, &development),
        Way::new("the operation and its store alone", false, move || bare.get_stage()),
        Way::new("the signature alone", false, move || check(&checked, &secret)),
        Way::new("the decision of the policy alone", false, move || {
            let request = Request { action: "ivs:GetStage", resource: &arn, context: &context };
            std::hint::black_box(policy.decide(&request));
        }),
    ];
    let log = paths::log();
    for _ in 0..ROUNDS {
        ways.iter_mut().for_each(|way| way.round(&log));
    }
    println!("GetStage through the API, SQLite in a file: medians of {ROUNDS} rounds of {TIMES}");
    for (n, way) in ways.iter().enumerate() {
        println!("  {:<48}{:>8.1} us", way.name, median(&ways, |took| took[n]));
    }
    let all = median(&ways, |[all, ..]| all);
    let policy = median(&ways, |[all, both, ..]| all - both);
    let of_metrics = median(&ways, |[_, both, metrics, logs, neither, ..]| ((both - logs) + (metrics - neither)) / 2.0);
    let of_logs = median(&ways, |[_, both, metrics, logs, neither, ..]| ((both - metrics) + (logs - neither)) / 2.0);
    let bare = median(&ways, |[.., bare, _, _]| bare);
    let signature = median(&ways, |[.., signature, _]| signature);
    let decision = median(&ways, |[.., decision]| decision);
    // The rest: nothing is verified, decided, logged or counted.
    let without = median(&ways, |[_, _, _, _, neither, _, signature, _]| neither - signature);
    println!("shares of these {all:.1} us, and of the {without:.1} us that are left without them");
    for (name, cost) in [
        ("verification: the signature", signature),
        ("policy: a stored key, its policy, the decision", policy),
        ("  of it the decision", decision),
        ("logs: spans, and a line", of_logs),
        ("metrics", of_metrics),
        ("together", all - without),
        ("the operation and its store", bare),
    ] {
        println!("  {name:<48}{cost:>8.1} us  {:>5.1} %  {:>5.1} %", 100.0 * cost / all, 100.0 * cost / without);
    }
    let parts = serde_json::json!({
        "verification": signature, "policy": policy, "logs": of_logs, "metrics": of_metrics,
    });
    let cost = all - without;
    let last = serde_json::json!({
        "bench": "shares", "rounds": ROUNDS, "whole_us": all, "without_us": without, "parts": parts,
        "share": cost / all, "share_of_rest": cost / without,
    });
    println!("{last}");
    std::fs::remove_dir_all(folder).expect("the folder exists");
}
