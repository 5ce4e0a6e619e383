//! Load driver of `benches/run`: one program that writes one JSON value a line.
//!
//! It knows nothing of greenroom. It shares the processor with the server that it measures, so that it does as little
//! as it can for each response, and reports its own processor time.

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
    /// Send requests over keep-alive connections, in a closed loop or at a fixed rate
    Load(load::Args),
    /// Answer every request with the same bytes, with plain axum
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
