//! `greenroom inspect`: the media connections of a stage, as a table that is refreshed.

pub(super) mod table;

use super::args::{InspectArgs, Output};
use super::error::CommandError;
use super::stop;
use crate::clock::{self, Clock};
use crate::http::client::HttpClient;
use crate::http::tls;
use greenroom_client::{Signer, Unsigned};
use serde_json::{Value, json};
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

/// The path of the statistics; the rest of a node's URL before it is removed by a proxy.
const PATH: &str = "/_greenroom/media";
/// Timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum bytes of a response.
const MAX_RESPONSE: usize = 16 << 20;
/// Connections per response.
const PAGE: &str = "500";
/// Redirects that are followed for a page: the stage may move to another node meanwhile.
const MAX_REDIRECTS: usize = 3;
/// Moves the cursor to the first line and erases the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub(super) async fn run(args: InspectArgs) -> Result<String, CommandError> {
    let mut client = Client::new(&args)?;
    let is_live = std::io::stdout().is_terminal() && !args.once && args.output == Output::Human;
    let printed = async {
        // An error of the first request ends the command: it is most often a wrong argument.
        let mut shown = client.read().await?;
        loop {
            if !print(&args, &shown, None, is_live) || args.once {
                return Ok::<_, CommandError>(());
            }
            tokio::time::sleep(Duration::from_secs(u64::from(args.interval))).await;
            loop {
                match client.read().await {
                    Ok(new) => break shown = new,
                    Err(error) => print(&args, &shown, Some(&error), is_live),
                };
                tokio::time::sleep(Duration::from_secs(u64::from(args.interval))).await;
            }
        }
    };
    tokio::select! {
        printed = printed => printed?,
        () = stop() => {}
    }
    Ok(String::new())
}

/// Prints what was read last, and why there is nothing newer. Returns false if the reader has gone away.
fn print(args: &InspectArgs, shown: &Value, error: Option<&CommandError>, is_live: bool) -> bool {
    if let Some(error) = error.filter(|_| !is_live) {
        eprintln!("greenroom: {}", table::escape(&error.to_string()));
        return true;
    }
    let now = Clock::System.now();
    let text = match args.output {
        Output::Json => {
            let mut line = shown.clone();
            line["time"] = json!(now);
            format!("{line}\n")
        }
        Output::Human => {
            let table = table::table(&args.stage, &now.to_string(), shown, error.map(ToString::to_string).as_deref());
            if is_live { format!("{CLEAR}{table}") } else { table }
        }
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// A client of the statistics of one stage.
struct Client {
    http: HttpClient,
    signer: Signer,
    /// URL of the API, then of the node that has the stage's media.
    node: String,
    query: Vec<(&'static str, String)>,
}

impl Client {
    fn new(args: &InspectArgs) -> Result<Client, CommandError> {
        let failed = |error: &dyn std::fmt::Display| CommandError::Inspect(error.to_string());
        let region = args.stage.strip_prefix("arn:aws:ivs:").and_then(|rest| rest.split(':').next());
        let region = args.api.region.as_deref().or(region);
        let region = region.ok_or_else(|| failed(&"STAGE must be the ARN of a stage: arn:aws:ivs:…:stage/…"))?;
        let roots = args.ca.as_deref().map(tls::read_certificates).transpose();
        let roots = roots.map_err(|error| failed(&error))?.unwrap_or_default();
        let session_token = args.api.session_token.as_ref().map(|token| token.0.as_str());
        let (id, secret) = (&args.api.access_key_id, &args.api.secret_access_key.0);
        let participant = args.participant.clone().map(|participant| ("participantId", participant));
        let query = [("stageArn", args.stage.clone()), ("limit", PAGE.to_owned())].into_iter().chain(participant);
        Ok(Client {
            http: HttpClient::new(&roots, TIMEOUT, 1).map_err(|error| failed(&error))?,
            signer: Signer::new(id, secret, session_token, region, clock::system_time),
            node: args.api.endpoint.trim_end_matches('/').to_owned(),
            query: query.collect(),
        })
    }

    /// Reads all pages; returns the last one with the connections of all.
    async fn read(&mut self) -> Result<Value, CommandError> {
        let (mut after, mut connections) = (0, Vec::new());
        loop {
            let mut page = self.page(after).await?;
            let Some(Value::Array(read)) = page.get_mut("connections").map(Value::take) else {
                return Err(CommandError::Inspect(format!("{}: the server is not one of greenroom", self.node)));
            };
            connections.extend(read);
            match page["next"].as_u64() {
                Some(next) if next > after => after = next,
                _ => {
                    page["connections"] = connections.into();
                    return Ok(page);
                }
            }
        }
    }

    async fn page(&mut self, after: u64) -> Result<Value, CommandError> {
        for _ in 0..MAX_REDIRECTS {
            match self.request(after).await? {
                Answer::Page(page) => return Ok(page),
                Answer::Redirect(node) => self.node = node,
            }
        }
        Err(CommandError::Inspect(format!("{}: more than {MAX_REDIRECTS} redirects", self.node)))
    }

    async fn request(&self, after: u64) -> Result<Answer, CommandError> {
        const CONTENT: &str = "application/json";
        let failed = |text: String| CommandError::Inspect(format!("{}: {text}", self.node));
        let after = ("after", after.to_string());
        let pairs = self.query.iter().chain([&after]).map(|(name, value)| (name, value));
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let url = format!("{}{PATH}?{query}", self.node);
        // The path as the server sees it.
        let origin = self.node.find("://").map_or(0, |at| at + 3);
        let end = self.node[origin..].find('/').map_or(self.node.len(), |at| origin + at);
        let signed = format!("{}{PATH}?{query}", &self.node[..end]);
        let unsigned = Unsigned { method: "GET", url: &signed, content_type: CONTENT, body: &[] };
        let mut headers = self.signer.sign(unsigned).map_err(|error| failed(error.to_string()))?;
        headers.push(("content-type".to_owned(), CONTENT.to_owned()));
        let exchange = self.http.exchange("GET", &url, &headers, Vec::new(), MAX_RESPONSE).await;
        let (status, headers, body) = exchange.map_err(|error| failed(error.to_string()))?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(Answer::Page(answer));
        }
        let location = headers.get("location").and_then(|location| location.to_str().ok());
        if let Some((node, _)) = location.filter(|_| status.is_redirection()).and_then(|url| url.split_once(PATH)) {
            return Ok(Answer::Redirect(node.to_owned()));
        }
        let kind = headers.get("x-amzn-errortype").and_then(|kind| kind.to_str().ok());
        let kind = kind.map_or_else(|| status.to_string(), str::to_owned);
        let message = answer["message"].as_str().unwrap_or("the server is not one of greenroom");
        Err(CommandError::Inspect(table::escape(&format!("{kind}: {message}"))))
    }
}

enum Answer {
    Page(Value),
    /// The URL of the node that has the stage's media.
    Redirect(String),
}
