//! `greenroom simulate`: runs a scenario of simulated participants on a server.

use super::args::{Output, ScenarioTime, SimulateArgs};
use super::error::CommandError;
use super::stop;
use super::test_api::{Call, TestApiClient};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

/// Time limit of a request: a scenario in virtual time takes as long as its work in the store.
const TIMEOUT: Duration = Duration::from_secs(6 * 3600);
/// Interval at which the progress of a scenario in real time is read.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

pub(super) async fn run(args: SimulateArgs) -> Result<String, CommandError> {
    let unreadable = |error| CommandError::ScenarioFile(args.file.clone(), error);
    let text = read(&args.file).map_err(unreadable)?;
    let client = TestApiClient::new(&args.server, TIMEOUT)?;
    let mut body = json!({"scenario": text, "time": if is_real(&args) { "real" } else { "virtual" }});
    if let Some(stage) = &args.stage {
        body["stage"] = stage.as_str().into();
    }
    let scope = if is_real(&args) { scope(&args) } else { vec![("all", "true")] };
    let call = Call { method: "POST", path: "/scenarios", query: &scope, body: Some(&body) };
    let mut scenario = client.call(call).await?;
    if is_real(&args) {
        scenario = follow(&client, &scope, scenario).await?;
    }
    match scenario["error"].as_str() {
        Some(error) => Err(CommandError::TestApi(error.to_owned())),
        None => Ok(shown(&scenario, args.output)),
    }
}

fn is_real(args: &SimulateArgs) -> bool {
    args.time == ScenarioTime::Real
}

/// The account and region of the stage's ARN; a signature has them already.
fn scope(args: &SimulateArgs) -> Vec<(&str, &str)> {
    let fields: Vec<_> = args.stage.as_deref().unwrap_or_default().split(':').collect();
    match fields[..] {
        ["arn", _, _, region, account, _] => vec![("account", account), ("region", region)],
        _ => Vec::new(),
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    if file != Path::new("-") {
        return std::fs::read_to_string(file);
    }
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text)?;
    Ok(text)
}

/// Waits until a scenario in real time has ended; ctrl-c stops it.
async fn follow(client: &TestApiClient, scope: &[(&str, &str)], begun: Value) -> Result<Value, CommandError> {
    let path = format!("/scenarios/{}", begun["id"].as_str().unwrap_or_default());
    let call = |method| Call { method, path: &path, query: scope, body: None };
    let ended = async {
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            let scenario = client.call(call("GET")).await?;
            if scenario["state"] != "RUNNING" {
                return Ok(scenario);
            }
        }
    };
    tokio::select! {
        scenario = ended => scenario,
        () = stop() => client.call(call("DELETE")).await,
    }
}

fn shown(scenario: &Value, output: Output) -> String {
    if output == Output::Json {
        return format!("{scenario:#}\n");
    }
    let text = |name: &str| scenario[name].as_str().unwrap_or_default();
    let count = |name: &str, one: &str| {
        let count = scenario[name].as_u64().unwrap_or_default();
        format!("{count} {one}{}", if count == 1 { "" } else { "s" })
    };
    let mut lines = format!(
        "{} on {}: {}, {}, from {} to {}\n",
        text("state").to_lowercase(),
        text("stageArn"),
        count("participantCount", "participant"),
        count("steps", "step"),
        text("startedAt"),
        text("endedAt"),
    );
    let named = scenario["participants"].as_object().into_iter().flatten();
    for (name, id) in named {
        let _ = writeln!(lines, "  {name}  {}", id.as_str().unwrap_or_default());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_shown_in_lines() {
        let scenario = json!({
            "state": "FINISHED", "stageArn": "arn:x", "participantCount": 2, "steps": 1, "startedAt": "a", "endedAt": "b",
            "participants": {"alice": "P1", "bob": "P2"},
        });
        let expected = "finished on arn:x: 2 participants, 1 step, from a to b\n  alice  P1\n  bob  P2\n";
        assert_eq!(shown(&scenario, Output::Human), expected);
        assert_eq!(serde_json::from_str::<Value>(&shown(&scenario, Output::Json)).unwrap(), scenario);
    }
}
