//! `greenroom doctor`: checks of settings, machine and network before a server is started.

mod database;
mod encoders;
mod finding;
mod machine;
mod network;
mod storage;
mod stun;
mod turn;

use super::args::{DoctorArgs, Output};
use crate::clock::Clock;
use crate::config::ServeArgs;
use crate::ids::Ids;
use finding::{Finding, Status};

/// Runs every check. Returns the report, and whether no check failed.
pub(super) async fn run(args: DoctorArgs, clock: &Clock, ids: &Ids) -> (String, bool) {
    let serve = &args.serve;
    let mut found = network::exposure(serve);
    found.extend(certificate(serve));
    let (api, running) = network::api(serve).await;
    found.push(api);
    found.extend(network::media(serve, running, ids).await);
    found.extend(encoders::listeners(serve, running, clock).await);
    found.extend(ice_servers(serve, clock, ids).await);
    found.extend(database::database(&serve.store, clock).await);
    found.extend(storage::storage(serve).await);
    found.push(machine::files(serve));
    found.extend(machine::buffers());
    let healthy = found.iter().all(|one| one.status != Status::Failed);
    let text = match args.output {
        Output::Human => finding::lines(&found),
        Output::Json => format!("{:#}\n", finding::json(&found)),
    };
    (text, healthy)
}

fn certificate(args: &ServeArgs) -> Option<Finding> {
    match crate::server::open_tls(&args.listener) {
        Ok(None) => None,
        Ok(Some(_)) => Some(Finding::ok("certificate", "certificate and key are readable and match".into())),
        Err(error) => Some(Finding::failed("certificate", error.to_string())),
    }
}

/// STUN and TURN servers: each responds, and accepts the credentials that participants get.
async fn ice_servers(args: &ServeArgs, clock: &Clock, ids: &Ids) -> Vec<Finding> {
    let ice = &args.participants.ice;
    let mut found = Vec::new();
    for server in &ice.ice_servers {
        let url = server.url();
        if !server.is_turn() {
            found.push(match turn::binding(server, network::transaction(ids)).await {
                Ok(address) => Finding::ok("stun", format!("{url} responds, and sees this machine as {address}")),
                Err(error) => Finding::failed("stun", format!("{url}: {error}")),
            });
            continue;
        }
        let Some(credentials) = ice.credentials(server, "doctor", clock.now().0 / 1000) else {
            let text = format!(
                "{url} has no credentials, so browsers ignore it: set --turn-secret, or turn:USER:PASSWORD@HOST"
            );
            found.push(Finding::warning("turn", text));
            continue;
        };
        found.push(match turn::allocation(server, &credentials, || network::transaction(ids)).await {
            Ok(address) => Finding::ok("turn", format!("{url} accepts the credentials, and relays by {address}")),
            Err(turn::TurnError::Dtls) => Finding::skipped("turn", format!("{url}: {}", turn::TurnError::Dtls)),
            Err(error) => Finding::failed("turn", format!("{url}: {error}")),
        });
    }
    if ice.turn_secret.is_some() && !ice.ice_servers.iter().any(|server| server.is_turn()) {
        found.push(Finding::warning("turn", "--turn-secret is set, but --ice-servers has no TURN server".into()));
    }
    found
}
