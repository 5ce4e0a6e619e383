//! The command line: parsing, one module per command, exit codes.

#![allow(clippy::large_futures, reason = "a command's future is started once")]

pub mod args;
mod backup;
mod config;
mod credentials;
mod doctor;
mod error;
mod events;
mod health;
mod inspect;
mod journal;
mod keys;
mod parse;
mod participants;
mod recordings;
mod reference;
mod serve;
mod simulate;
mod store;
mod test_api;
mod version;

use crate::api;
use crate::clock::Clock;
use crate::ids::Ids;
use crate::testing;
use args::{Command, DoctorArgs};
use error::CommandError;
use parse::Stop;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Exit code of a usage error: a bad flag, value or file.
const USAGE: u8 = 2;

/// Time limit for what still blocks when the program ends, such as a full pipe or a DNS lookup.
const RUNTIME_SHUTDOWN: Duration = Duration::from_secs(1);

/// Runs the program with the arguments and the environment of the process.
pub fn main() -> ExitCode {
    let command = match parse::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(stop) => return refuse(stop),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error, false),
    };
    let code = runtime.block_on(run(command));
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN);
    code
}

async fn run(command: Command) -> ExitCode {
    let result = match command {
        Command::Serve(args) => serve::run(*args).await.map(|()| String::new()).map_err(CommandError::from),
        Command::Migrate(args) => store::migrate(&args).await,
        Command::Keys(command) => keys::run(command).await,
        Command::Credentials(command) => credentials::run(command).await,
        Command::Events(command) => events::run(command).await,
        Command::Recordings(command) => recordings::run(command).await,
        Command::Export(args) => backup::export(args, stop).await,
        Command::Import(args) => backup::import(args).await,
        Command::Config(command) => config::run(command),
        Command::Doctor(args) => return doctor(*args).await,
        Command::Join(args) => participants::join(*args).await,
        Command::Load(args) => participants::load(*args).await,
        Command::Inspect(args) => inspect::run(*args).await,
        Command::Simulate(args) => simulate::run(*args).await,
        Command::Health(args) => health::run(&args).await,
        Command::Journal(args) => journal::run(*args).await,
        Command::Openapi => Ok(openapi()),
        Command::Completions(args) => reference::completions(args.shell),
        Command::Man(args) => reference::man(&args.folder),
        Command::Docs(command) => reference::docs(command),
        Command::Version(args) => Ok(version::text(args.verbose)),
    };
    match result {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error, error.is_usage()),
    }
}

/// The OpenAPI document: the AWS API and the test API.
fn openapi() -> String {
    let mut document = api::openapi::document();
    testing::describe(&mut document);
    api::openapi::yaml(&document)
}

async fn doctor(args: DoctorArgs) -> ExitCode {
    let (report, healthy) = doctor::run(args, &Clock::System, &Ids::Random).await;
    print(&report);
    if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints an error as one line; the exit code distinguishes usage errors from other failures.
fn failed(error: &dyn std::error::Error, usage: bool) -> ExitCode {
    eprintln!("greenroom: {}", error.to_string().replace('\n', " "));
    if usage { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
}

/// Prints help, or why the command line was refused.
fn refuse(stop: Stop) -> ExitCode {
    match stop {
        Stop::Help(error) => {
            let code = if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
            // A reader that has gone away is not a failure.
            let _ = error.print();
            code
        }
        Stop::Usage(line) => {
            eprintln!("greenroom: {line}");
            ExitCode::from(USAGE)
        }
    }
}

/// Writes to standard output; a reader that has gone away is not a failure.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Waits for SIGTERM or ctrl-c, and returns its name.
fn stop_signal() -> impl Future<Output = &'static str> + Send + 'static {
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    async move {
        match (terminate, interrupt) {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                }
            }
            // Without signal handlers the system's defaults apply: they end the program.
            _ => std::future::pending().await,
        }
    }
}

/// Completes at SIGTERM or ctrl-c.
fn stop() -> impl Future<Output = ()> + Send + 'static {
    let signal = stop_signal();
    async move {
        signal.await;
    }
}
