//! `greenroom serve`: starts a server, prints its addresses, and serves until a signal or the end of standard input.

use super::version::VERSION;
use super::{print, stop_signal};
use crate::clock::Clock;
use crate::config::{ServeArgs, Switch, Url};
use crate::events;
use crate::http::tls::Tls;
use crate::ids::Ids;
use crate::server::{Server, ServerError};
use crate::telemetry;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tracing::field::display;

pub(super) async fn run(args: ServeArgs) -> Result<(), ServerError> {
    let telemetry = telemetry::start_serving();
    let done = serve(args).await;
    telemetry.stop().await;
    done
}

async fn serve(args: ServeArgs) -> Result<(), ServerError> {
    let summary = Summary::of(&args);
    // Installed before the start, so that a signal during the start stops the program.
    let signal = stop_signal();
    let exit_on_stdin_close = args.testing.exit_on_stdin_close;
    tracing::info!(version = VERSION, listen = %args.listen, store = %args.store.database_url, "starting");
    let server = Server::start(args, Clock::System, Ids::Random).await?;
    // If standard output is an event target, it gets only events.
    let print = if server.targets.uses_stdout() { |text: &str| eprint!("{text}") } else { print };
    print(&summary.text(&server));
    let (rtmp, rtmps) = (server.encoders.rtmp.map(display), server.encoders.rtmps.map(display));
    tracing::info!(endpoint = server.endpoint(), media = %server.media, rtmp, rtmps, "ready");
    let stop = async move {
        tokio::select! {
            signal = signal => tracing::info!(signal, "stopping"),
            () = stdin_closed(), if exit_on_stdin_close == Switch::On => {
                tracing::info!(reason = "standard input closed", "stopping");
            }
        }
    };
    let certificates: Vec<_> = [&server.tls, &server.rtmps_tls].into_iter().flatten().cloned().collect();
    let targets = server.targets.clone();
    tokio::select! {
        () = server.run(stop) => tracing::info!("stopped"),
        never = reload(certificates, targets) => match never {},
    }
    Ok(())
}

/// The startup output: addresses, and an example command.
struct Summary {
    store: Url,
    region: String,
    advertises_listen_address: bool,
    credentials: String,
    access_key: String,
    secret_key: &'static str,
}

impl Summary {
    fn of(args: &ServeArgs) -> Self {
        let region = args.region.clone();
        let (credentials, access_key, secret_key) = match (args.dev_credentials, args.access_key_id.clone()) {
            (Switch::On, _) => (format!("access key test, secret key test, region {region}"), "test".into(), "test"),
            (Switch::Off, Some(id)) => (format!("access key {id}, region {region}"), id, "…"),
            (Switch::Off, None) => ("made with: greenroom credentials create".into(), "…".into(), "…"),
        };
        Summary {
            store: args.store.database_url.clone(),
            region,
            advertises_listen_address: args.participants.media_public_ip.is_empty(),
            credentials,
            access_key,
            secret_key,
        }
    }

    fn text(&self, server: &Server) -> String {
        let Summary { store, region, credentials, access_key, secret_key, .. } = self;
        let endpoint = server.endpoint();
        let metrics = server.metrics_url.as_ref().map(|url| format!("  metrics      {url}\n")).unwrap_or_default();
        let encoders = server.encoders.summary().map(|urls| format!("  encoders     {urls}\n")).unwrap_or_default();
        let mut media = format!("udp://{}", server.media);
        if let Some(tcp) = server.media_tcp {
            media += &format!(", tcp://{tcp}");
        }
        if self.advertises_listen_address && server.media.ip().is_unspecified() {
            let advertised: Vec<_> = server.media_candidates().iter().map(|address| address.ip().to_string()).collect();
            media += &format!(", advertised as {}: set --media-public-ip behind NAT", advertised.join(", "));
        }
        format!(
            "greenroom {VERSION} answers the Amazon IVS Real-Time API\n\
             \n\
             \x20 endpoint     {endpoint}\n\
             \x20 demo         {endpoint}/_greenroom/demo\n\
             \x20 media        {media}\n\
             {encoders}\
             \x20 store        {store}\n\
             {metrics}\
             \x20 credentials  {credentials}\n\
             \n\
             Try it:\n\
             \n\
             \x20 AWS_ACCESS_KEY_ID={access_key} AWS_SECRET_ACCESS_KEY={secret_key} AWS_DEFAULT_REGION={region} \\\n\
             \x20   aws ivs-realtime create-stage --name hello --endpoint-url {endpoint}\n\
             \n",
        )
    }
}

/// Completes when standard input closes. What can be read from it is discarded.
async fn stdin_closed() {
    let (closed, end) = tokio::sync::oneshot::channel::<()>();
    // Not a blocking task of the runtime: it would delay the end of the program after a signal.
    std::thread::spawn(move || {
        // After an error, the other end cannot be observed either.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        drop(closed);
    });
    let _ = end.await;
}

/// Reloads the certificates with their keys, and the event targets, at each SIGHUP. Without either, and without signal
/// handlers, the system's default applies.
async fn reload(mut certificates: Vec<Arc<Tls>>, targets: Arc<events::Config>) -> Infallible {
    certificates.retain(|tls| tls.file().is_some());
    let hangup = (!certificates.is_empty() || targets.has_file()).then(|| signal(SignalKind::hangup()));
    let Some(Ok(mut hangup)) = hangup else { return std::future::pending().await };
    loop {
        hangup.recv().await;
        for tls in &certificates {
            match tls.reload() {
                Ok(()) => tracing::info!(file = ?tls.file(), "certificate reloaded"),
                Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "certificate not reloaded"),
            }
        }
        match targets.has_file().then(|| targets.reload()) {
            None => {}
            Some(Ok(count)) => tracing::info!(targets = count, "event targets reloaded"),
            Some(Err(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "event targets not reloaded");
            }
        }
    }
}
