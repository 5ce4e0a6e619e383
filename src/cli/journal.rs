//! `greenroom journal`: the recorded API calls of a server that serves the test API.

use super::args::{JournalArgs, Output};
use super::error::CommandError;
use super::stop;
use super::test_api::{Call, TestApiClient};
use serde_json::{Value, json};
use std::io::Write as _;
use std::time::Duration;

/// Timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Duration of a long poll for new calls, in seconds; less than [`TIMEOUT`].
const POLL_SECONDS: u64 = 20;
/// Calls per page.
const PAGE: &str = "200";

pub(super) async fn run(args: JournalArgs) -> Result<String, CommandError> {
    let client = TestApiClient::new(&args.server, TIMEOUT)?;
    let printed = async {
        let mut after = print_pages(&client, &args, 0).await?;
        while let Some(printed) = after.filter(|_| args.follow) {
            let Some(newest) = wait(&client, &args, printed).await? else { continue };
            // Calls up to the newest one are listed, or do not match the filters.
            after = print_pages(&client, &args, printed).await?.map(|printed| printed.max(newest));
        }
        Ok::<_, CommandError>(())
    };
    tokio::select! {
        printed = printed => printed?,
        () = stop() => {}
    }
    Ok(String::new())
}

/// The account and region, or all of them.
fn selection(args: &JournalArgs) -> Vec<(&str, &str)> {
    if args.all {
        return vec![("all", "true")];
    }
    let account = args.account.as_deref().map(|account| ("account", account));
    account.into_iter().chain([("region", args.server.region.as_str())]).collect()
}

/// Prints the calls after a sequence, page by page. Returns the sequence of the last one; `None` if the reader has gone away.
async fn print_pages(client: &TestApiClient, args: &JournalArgs, mut after: u64) -> Result<Option<u64>, CommandError> {
    let filters = [("operation", &args.operation), ("outcome", &args.outcome), ("since", &args.since)];
    let filters = filters.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    let filters: Vec<_> = selection(args).into_iter().chain(filters).chain([("limit", PAGE)]).collect();
    loop {
        let start = after.to_string();
        let query: Vec<_> = filters.iter().copied().chain([("after", start.as_str())]).collect();
        let page = client.call(Call { method: "GET", path: "/journal", query: &query, body: None }).await?;
        for entry in page["entries"].as_array().into_iter().flatten() {
            after = entry["sequence"].as_u64().unwrap_or(after);
            let text = match args.output {
                Output::Json => format!("{entry}\n"),
                Output::Human => line(entry),
            };
            let mut out = std::io::stdout().lock();
            if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
                return Ok(None);
            }
        }
        if page["next"].is_null() {
            return Ok(Some(after));
        }
    }
}

/// Waits for a call after a sequence. Returns its sequence, or `None` after a while without one.
async fn wait(client: &TestApiClient, args: &JournalArgs, after: u64) -> Result<Option<u64>, CommandError> {
    let mut pattern = json!({"sequence": [{"exists": true}]});
    if let Some(operation) = &args.operation {
        pattern["operation"] = json!([operation]);
    }
    let body = json!({"call": pattern, "after": after, "timeoutSeconds": POLL_SECONDS});
    let call = Call { method: "POST", path: "/wait", query: &selection(args), body: Some(&body) };
    Ok(client.call(call).await?["entries"][0]["sequence"].as_u64())
}

/// A call as one line.
fn line(entry: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let status = entry["status"].as_u64().map_or("no response".to_owned(), |status| status.to_string());
    let mut line = format!(
        "{}  {}  {status}  {:.1} ms  {} {}  {}",
        text(&entry["time"]),
        text(&entry["operation"]),
        entry["durationMilliseconds"].as_f64().unwrap_or_default(),
        text(&entry["account"]),
        text(&entry["region"]),
        text(&entry["caller"]["accessKeyId"]),
    );
    if let Some(error) = entry["error"].as_object() {
        let member = |name| error.get(name).and_then(Value::as_str).unwrap_or_default().replace('\n', " ");
        line.push_str(&format!("  {}: {}", member("code"), member("message")));
    }
    if let Some(fault) = entry["fault"].as_str() {
        line.push_str(&format!("  (fault {fault})"));
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_call_its_outcome_and_its_fault() {
        let mut entry = json!({
            "time": "2026-01-31T12:00:00.5Z", "operation": "GetStage", "status": 200, "durationMilliseconds": 1.26,
            "account": "123456789012", "region": "us-east-1", "caller": {"accessKeyId": "test"},
        });
        let expected = "2026-01-31T12:00:00.5Z  GetStage  200  1.3 ms  123456789012 us-east-1  test";
        assert_eq!(line(&entry), format!("{expected}\n"));
        entry["error"] = json!({"code": "ConflictException", "message": "a\nb"});
        entry["fault"] = json!("f");
        assert_eq!(line(&entry), format!("{expected}  ConflictException: a b  (fault f)\n"));
        let unknown = line(&json!({"operation": null, "status": null, "account": null}));
        assert_eq!(unknown, "-  -  no response  0.0 ms  - -  -\n");
    }
}
