//! Drives load for `benches/run`: one program, one JSON value a line of output.
//!
//! It knows nothing of greenroom: it is the other end. What it shares the processor with is what is measured, so it does
//! as little as it can for each answer, and says what it cost itself.

mod constant;
mod joins;
mod keys;
mod link;
mod load;
mod report;
mod request;

use clap::Parser;

#[derive(Parser)]
enum Cli {
    /// Send requests over connections that stay open, each as soon as the one before is answered, or so many a second
    Load(load::Args),
    /// Answer every request with the same bytes, with axum and nothing else
    Constant(constant::Args),
    /// Sign with ES384 on every core
    Sign(keys::Args),
    /// Join stages over the events WebSocket, and leave
    Joins(joins::Args),
}

fn main() {
    let outcome = match Cli::parse() {
        Cli::Load(args) => load::run(&args),
        Cli::Constant(args) => constant::run(args),
        Cli::Sign(args) => keys::run(&args),
        Cli::Joins(args) => joins::run(args),
    };
    match outcome {
        Ok(value) => println!("{value}"),
        Err(error) => {
            eprintln!("driver: {error}");
            std::process::exit(1);
        }
    }
}
