//! The program: parses what it was told, and does it.

use clap::error::ErrorKind;
use greenroom::admin::{self, AdminError};
use greenroom::api::openapi;
use greenroom::app::credentials::CredentialsError;
use greenroom::backup::BackupError;
use greenroom::clock::{self, Clock};
use greenroom::config::{
    self, Cli, Command, DoctorArgs, HealthArgs, JoinArgs, KeysCommand, LoadArgs, ServeArgs, Switch,
};
use greenroom::doctor;
use greenroom::events;
use greenroom::http::tls::{self, Tls};
use greenroom::ids::Ids;
use greenroom::server::{Server, ServerError, reachable};
use greenroom::store::OpenError;
use greenroom::telemetry;
use greenroom_client::ClientError;
use std::convert::Infallible;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};

/// Also for SQLite and the cryptography, which ask for memory in C. With it a request takes less time than with the
/// system's; that was measured where it is used, and nowhere else.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What a bad value ends the program with.
const USAGE: u8 = 2;

/// How long what hangs in the system, such as a full pipe or a look-up of a name, may keep the program at its end.
const HANGING: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error, false),
    };
    let code = runtime.block_on(run());
    runtime.shutdown_timeout(HANGING);
    code
}

async fn run() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let said = match cli.command {
        None => return ended(serve(cli.serve).await),
        Some(Command::Serve(args)) => return ended(serve(*args).await),
        Some(Command::Health(args)) => return health(&args).await,
        Some(Command::Doctor(args)) => return examine(*args).await,
        Some(Command::Join(args)) => return join(*args).await,
        Some(Command::Load(args)) => return load(*args).await,
        Some(Command::Openapi) => Ok(openapi::yaml()),
        Some(Command::Export(args)) => admin::export(args, stop).await,
        Some(Command::Import(args)) => admin::import(args).await,
        Some(Command::Migrate(store)) => admin::migrate(&store).await,
        Some(Command::Keys(KeysCommand::Rotate(store))) => admin::rotate_keys(&store).await,
        Some(Command::Credentials(command)) => admin::credentials(command).await,
        Some(Command::Events(command)) => admin::events(command).await,
    };
    match said {
        Ok(text) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(AdminError::Server(error)) => ended(Err(error)),
        Err(error) => {
            let usage = matches!(
                error,
                AdminError::PolicyFile(..)
                    | AdminError::Policy(..)
                    | AdminError::NoStore
                    | AdminError::BackupFile(..)
                    | AdminError::Targets(_)
                    | AdminError::Backup(BackupError::NotAKey)
            );
            failed(&error, usage)
        }
    }
}

/// What the program exits with.
fn ended(done: Result<(), ServerError>) -> ExitCode {
    let Err(error) = done else { return ExitCode::SUCCESS };
    let usage = matches!(
        error,
        ServerError::NoMasterKey
            | ServerError::Secret(..)
            | ServerError::Exposed(_)
            | ServerError::Region(..)
            | ServerError::BadAccessKey(_)
            | ServerError::Credentials(CredentialsError::Taken(_))
            | ServerError::UnknownOperation(_)
            | ServerError::Tls(_)
            | ServerError::Targets(_)
            | ServerError::Open(OpenError::File { .. } | OpenError::Address(_) | OpenError::Missing(_))
    );
    failed(&error, usage)
}

async fn join(args: JoinArgs) -> ExitCode {
    telemetry::start();
    let (mut out, terminal) = (std::io::stdout(), std::io::stdout().is_terminal());
    client_ended(greenroom_client::join::run(args.into(), &mut out, terminal, stop()).await)
}

async fn load(args: LoadArgs) -> ExitCode {
    telemetry::start();
    let (mut out, mut progress) = (std::io::stdout(), std::io::stderr());
    client_ended(greenroom_client::load::run(args.into(), clock::system_time, &mut out, &mut progress, stop()).await)
}

async fn examine(args: DoctorArgs) -> ExitCode {
    let (report, healthy) = doctor::run(args, &Clock::System, &Ids::Random).await;
    say(&report);
    if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the program exits with as a client.
fn client_ended(done: Result<(), ClientError>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, error.is_usage()),
    }
}

/// Says what went wrong in one line; a bad value is told from another failure by the exit code.
fn failed(error: &dyn std::error::Error, usage: bool) -> ExitCode {
    eprintln!("greenroom: {}", error.to_string().replace('\n', " "));
    if usage { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
}

/// Prints help and version as they are, and any other parse error as one line.
fn refuse(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            say(&error.to_string());
            ExitCode::SUCCESS
        }
        // `greenroom keys` alone.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            eprint!("{error}");
            ExitCode::from(USAGE)
        }
        _ => {
            eprintln!("greenroom: {} (see greenroom --help)", config::parse::one_line(error));
            ExitCode::from(USAGE)
        }
    }
}

/// Writes to standard output; a reader that has gone away is no failure.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

async fn serve(args: ServeArgs) -> Result<(), ServerError> {
    let telemetry = telemetry::start_serving();
    let done = answer(args).await;
    telemetry.stop().await;
    done
}

async fn answer(args: ServeArgs) -> Result<(), ServerError> {
    let (store, region) = (args.store.database_url.clone(), args.region.clone());
    let everywhere = args.participants.media_public_ip.is_empty();
    let given = args.access_key_id.clone();
    let (credentials, key, secret) = match (args.dev_credentials, given) {
        (Switch::On, _) => (format!("access key test, secret key test, region {region}"), "test".into(), "test"),
        (Switch::Off, Some(id)) => (format!("access key {id}, region {region}"), id, "…"),
        (Switch::Off, None) => ("made with: greenroom credentials create".into(), "…".into(), "…"),
    };
    // Whoever stops the program while it starts is heard as well.
    let stop = stop_signal();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), listen = %args.listen, store = %store, "starting");
    let server = Server::start(args, Clock::System, Ids::Random).await?;
    let endpoint = server.endpoint();
    let figures = server.figures.as_ref().map(|url| format!("  metrics      {url}\n")).unwrap_or_default();
    let media = match server.media {
        address if everywhere && address.ip().is_unspecified() => {
            format!("udp://{address}, told to clients as {}: set --media-public-ip for others", reachable(address))
        }
        address => format!("udp://{address}"),
    };
    // What reads events from standard output reads nothing else there.
    let say = if server.targets.uses_stdout() { |text: &str| eprint!("{text}") } else { say };
    say(&format!(
        "greenroom {} answers the Amazon IVS Real-Time API\n\
         \n\
         \x20 endpoint     {endpoint}\n\
         \x20 demo         {endpoint}/_greenroom/demo\n\
         \x20 media        {media}\n\
         \x20 store        {store}\n\
         {figures}\
         \x20 credentials  {credentials}\n\
         \n\
         Try it:\n\
         \n\
         \x20 AWS_ACCESS_KEY_ID={key} AWS_SECRET_ACCESS_KEY={secret} AWS_DEFAULT_REGION={region} \\\n\
         \x20   aws ivs-realtime create-stage --name hello --endpoint-url {endpoint}\n\
         \n",
        env!("CARGO_PKG_VERSION"),
    ));
    tracing::info!(endpoint, media = %server.media, "ready");
    let stop = async move {
        let signal = stop.await;
        tracing::info!(signal, "stopping");
    };
    let (tls, targets) = (server.tls.clone(), server.targets.clone());
    tokio::select! {
        () = server.run(stop) => tracing::info!("stopped"),
        never = reload(tls, targets) => match never {},
    }
    Ok(())
}

/// Reads the certificate and its key, and the file of targets, again at each SIGHUP. Without either, and without signal
/// handlers, the system's own apply.
async fn reload(tls: Option<Arc<Tls>>, targets: Arc<events::Config>) -> Infallible {
    let hangup = (tls.is_some() || targets.has_file()).then(|| signal(SignalKind::hangup()));
    let Some(Ok(mut hangup)) = hangup else { return std::future::pending().await };
    loop {
        hangup.recv().await;
        match tls.as_ref().map(|tls| tls.reload()) {
            None => {}
            Some(Ok(())) => tracing::info!("the certificate and its key were read again"),
            Some(Err(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the old certificate stays in use");
            }
        }
        match targets.has_file().then(|| targets.reload()) {
            None => {}
            Some(Ok(count)) => tracing::info!(targets = count, "the file of targets was read again"),
            Some(Err(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the old targets stay in use");
            }
        }
    }
}

/// Waits for SIGTERM or ctrl-c, and answers which of them came.
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
            // Without signal handlers the system's own apply: they end the program.
            _ => std::future::pending().await,
        }
    }
}

/// Done when the program is told to stop, by SIGTERM or ctrl-c.
fn stop() -> impl Future<Output = ()> + Send + 'static {
    let signal = stop_signal();
    async move {
        signal.await;
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
