//! The program: parses what it was told, and does it.

use clap::Parser as _;
use clap::error::ErrorKind;
use greenroom::api::openapi;
use greenroom::clock::Clock;
use greenroom::config::{Cli, Command, HealthArgs, KeysCommand, ServeArgs};
use greenroom::ids::Ids;
use greenroom::listener::tls::{self, Tls};
use greenroom::server::{self, Server, ServerError, reachable};
use greenroom::store::OpenError;
use greenroom::telemetry;
use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};

/// What a bad value ends the program with.
const USAGE: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let done = match cli.command {
        None => serve(cli.serve).await,
        Some(Command::Serve(args)) => serve(*args).await,
        Some(Command::Migrate(store)) => server::migrate(&store).await.map(|()| {
            say(&format!("The store {} is up to date.\n", store.database_url));
        }),
        Some(Command::Keys(KeysCommand::Rotate(store))) => server::rotate_keys(&store).await.map(|id| {
            say(&format!("Participant tokens are signed with the new key {id} from now on; older keys stay valid.\n"));
        }),
        Some(Command::Openapi) => {
            say(&openapi::yaml());
            Ok(())
        }
        Some(Command::Health(args)) => return health(&args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("greenroom: {}", error.to_string().replace('\n', " "));
            let usage = matches!(
                error,
                ServerError::NoMasterKey
                    | ServerError::Secret(..)
                    | ServerError::Tls(_)
                    | ServerError::Open(OpenError::File { .. })
            );
            if usage { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// Help and version as they are; anything else as one line.
fn refuse(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        say(&error.to_string());
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let line = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    eprintln!("greenroom: {} (see greenroom --help)", line.trim_start_matches("error: "));
    ExitCode::from(USAGE)
}

/// Writes to standard output; a reader that has gone away is no failure.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

async fn serve(args: ServeArgs) -> Result<(), ServerError> {
    telemetry::start();
    let (store, region) = (args.store.database_url.clone(), args.region.clone());
    // Whoever stops the program while it starts is heard as well.
    let stop = stop();
    let server = Server::start(args, Clock::System, Ids::Random).await?;
    let endpoint = server.endpoint();
    say(&format!(
        "greenroom {} answers the Amazon IVS Real-Time API\n\
         \n\
         \x20 endpoint     {endpoint}\n\
         \x20 store        {store}\n\
         \x20 credentials  access key test, secret key test, region {region}\n\
         \n\
         Try it:\n\
         \n\
         \x20 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION={region} \\\n\
         \x20   aws ivs-realtime create-stage --name hello --endpoint-url {endpoint}\n\
         \n",
        env!("CARGO_PKG_VERSION"),
    ));
    let tls = server.tls.clone();
    tokio::select! {
        () = server.run(stop) => Ok(()),
        never = reload(tls) => match never {},
    }
}

/// Reads the certificate and its key again at each SIGHUP. Without TLS, and without signal handlers, the system's own
/// apply.
async fn reload(tls: Option<Arc<Tls>>) -> Infallible {
    let (Some(tls), Ok(mut hangup)) = (tls, signal(SignalKind::hangup())) else { return std::future::pending().await };
    loop {
        hangup.recv().await;
        match tls.reload() {
            Ok(()) => tracing::info!("the certificate and its key were read again"),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the old certificate stays in use");
            }
        }
    }
}

/// Done when the program is told to stop, by SIGTERM or ctrl-c.
fn stop() -> impl Future<Output = ()> + Send + 'static {
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    async move {
        match (terminate, interrupt) {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            // Without signal handlers the system's own apply: they end the program.
            _ => std::future::pending().await,
        }
    }
}

async fn ask_health(mut stream: impl AsyncRead + AsyncWrite + Unpin, address: SocketAddr) -> std::io::Result<Vec<u8>> {
    let request = format!("GET /_greenroom/health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// Asks the server whether it lives; for container health checks, which have no other HTTP client at hand.
async fn health(args: &HealthArgs) -> ExitCode {
    let ask = async {
        let address = reachable(args.listen);
        let stream = TcpStream::connect(address).await?;
        match args.tls_cert {
            None => ask_health(stream, address).await,
            Some(_) => ask_health(tls::connect_unverified(stream, address.ip()).await?, address).await,
        }
    };
    match tokio::time::timeout(std::time::Duration::from_secs(3), ask).await {
        Ok(Ok(answer)) if answer.starts_with(b"HTTP/1.1 200") => ExitCode::SUCCESS,
        Ok(Ok(_)) => {
            eprintln!("greenroom: what listens on {} is not a healthy greenroom", args.listen);
            ExitCode::FAILURE
        }
        Ok(Err(error)) => {
            eprintln!("greenroom: {}: {error}", args.listen);
            ExitCode::FAILURE
        }
        Err(_) => {
            eprintln!("greenroom: {} did not answer in time", args.listen);
            ExitCode::FAILURE
        }
    }
}
