//! Signatures a second of this machine.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub struct Args {
    /// Duration in seconds
    #[arg(long, default_value_t = 2.0, value_name = "S")]
    seconds: f64,
    /// Size of the message in bytes
    #[arg(long, default_value_t = 700, value_name = "N")]
    bytes: usize,
    /// Threads [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

pub fn run(args: &Args) -> Result<Value, String> {
    let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).map_err(|error| error.to_string())?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.unwrap_or(cores);
    let text = vec![b'x'; args.bytes];
    let begun = Instant::now();
    let end = begun + Duration::from_secs_f64(args.seconds);
    let sign = || {
        let random = SystemRandom::new();
        let mut signatures = 0_u64;
        while Instant::now() < end {
            std::hint::black_box(key.sign(&random, &text).expect("a signature"));
            signatures += 1;
        }
        signatures
    };
    let signatures: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(sign)).collect();
        workers.into_iter().map(|worker| worker.join().expect("it does not panic")).sum()
    });
    let seconds = begun.elapsed().as_secs_f64();
    Ok(json!({"threads": threads, "signatures": signatures, "rate": signatures as f64 / seconds}))
}
