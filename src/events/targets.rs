//! Event targets: the operator's file, parsed and validated.
//!
//! `docs/reference/events.md` describes every key.

mod reader;
#[cfg(test)]
mod tests;

use crate::config::Secret;
use crate::domain::pattern::Pattern;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use reader::Table;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

/// An event target.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Its name: lower-case letters, digits and hyphens.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Selects events; `None` selects all.
    pub pattern: Option<Pattern>,
    /// Replaces the `source` of events.
    pub source: Option<String>,
    /// How long an event is retried.
    pub retry: Duration,
    /// Whether a new target begins with the oldest event that is kept, rather than with the next one.
    pub from_oldest: bool,
}

/// The kind of a target.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// An HTTP server.
    Webhook(Webhook),
    /// A bus of EventBridge.
    EventBridge(Bus),
    /// A file of JSON lines.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

impl Kind {
    /// Its name in the file.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Webhook(_) => "webhook",
            Kind::EventBridge(_) => "eventbridge",
            Kind::File(_) => "file",
            Kind::Stdout => "stdout",
        }
    }

    /// Its location, without the query of a URL, which may be secret.
    pub fn place(&self) -> String {
        match self {
            Kind::Webhook(Webhook { url, .. }) => {
                let (scheme, host) = (url.scheme_str().unwrap_or_default(), url.authority().map_or("", host));
                format!("{scheme}://{host}{}", url.path())
            }
            Kind::EventBridge(Bus { bus, endpoint, .. }) => match endpoint {
                Some(endpoint) => format!("{bus} at {endpoint}"),
                None => bus.clone(),
            },
            Kind::File(path) => path.display().to_string(),
            Kind::Stdout => "standard output".into(),
        }
    }
}

/// The host and port, without a user and a password.
fn host(authority: &hyper::http::uri::Authority) -> &str {
    authority.as_str().rsplit('@').next().unwrap_or_default()
}

/// A webhook.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    pub url: Uri,
    /// The keys of the signatures: one signature by each.
    pub keys: Vec<Key>,
    /// The timeout of a request.
    pub timeout: Duration,
    /// Most requests in flight.
    pub concurrency: usize,
    /// Root certificates besides those of the system.
    pub ca: Vec<CertificateDer<'static>>,
}

/// An EventBridge bus.
#[derive(Clone, Debug, PartialEq)]
pub struct Bus {
    /// Its name or ARN.
    pub bus: String,
    /// Its region; that of the AWS configuration without one.
    pub region: Option<String>,
    /// URL of the service; AWS's own without one.
    pub endpoint: Option<String>,
    /// Credentials; those of the AWS configuration without them.
    pub credentials: Option<(String, Secret)>,
    /// The timeout of a request.
    pub timeout: Duration,
    /// Most requests in flight.
    pub concurrency: usize,
    /// Member of the detail that the event's id is put in: the bus gives each entry an id of its own.
    pub id_member: Option<String>,
}

/// The key of a webhook's signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub Vec<u8>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// An error in the file: one line that names the target and the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct TargetsError {
    file: PathBuf,
    problem: String,
}

/// Most targets of a file.
const MOST: usize = 100;

/// Reads a file of targets, and every file that it names.
pub fn read(file: &Path) -> Result<Vec<Target>, TargetsError> {
    load(file, true)
}

/// Reads a file of targets without its secrets, to list them.
pub fn outline(file: &Path) -> Result<Vec<Target>, TargetsError> {
    load(file, false)
}

fn load(file: &Path, whole: bool) -> Result<Vec<Target>, TargetsError> {
    let wrong = |problem: String| TargetsError { file: file.to_owned(), problem };
    let text = std::fs::read_to_string(file).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    parse(&text, whole).map_err(wrong)
}

fn parse(text: &str, whole: bool) -> Result<Vec<Target>, String> {
    let mut file: toml::Table = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let at = line.map_or(String::new(), |line| format!("line {line}: "));
        format!("{at}{}", error.message().replace('\n', " "))
    })?;
    let tables = match file.remove("target") {
        None => Vec::new(),
        Some(toml::Value::Array(tables)) => tables,
        Some(_) => return Err("target: write each target under [[target]], in double brackets".into()),
    };
    if let Some(key) = file.keys().next() {
        return Err(format!("{key}: there is no such key; a file of targets has [[target]] tables only"));
    }
    if tables.len() > MOST {
        return Err(format!("there are {} targets; use {MOST} at most", tables.len()));
    }
    let targets: Vec<_> =
        tables.into_iter().enumerate().map(|(n, table)| target(n + 1, table, whole)).collect::<Result<_, _>>()?;
    let (mut names, mut places) = (HashSet::new(), HashSet::new());
    for target in &targets {
        if !names.insert(&target.name) {
            return Err(format!("target '{}': name: another target has it", target.name));
        }
        let alone = matches!(target.kind, Kind::File(_) | Kind::Stdout);
        if alone && !places.insert(target.kind.place()) {
            return Err(format!("target '{}': another target writes to {}", target.name, target.kind.place()));
        }
    }
    Ok(targets)
}

fn target(n: usize, table: toml::Value, whole: bool) -> Result<Target, String> {
    let toml::Value::Table(table) = table else { return Err("target: write each target under [[target]]".into()) };
    let mut table = Table::new(n, table, whole);
    let name = table.required("name", "a name such as \"billing\"")?;
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=64).contains(&name.len()) || !name.bytes().all(fits) {
        return Err(table.wrong("name", "use 1 to 64 lower-case letters, digits and hyphens"));
    }
    table.named(&name);
    let kind = table.required("type", "one of webhook, eventbridge, file and stdout")?;
    let source = table.text("source")?;
    if source.as_ref().is_some_and(|source| !(1..=256).contains(&source.chars().count())) {
        return Err(table.wrong("source", "use 1 to 256 characters"));
    }
    let kind = match kind.as_str() {
        "webhook" => Kind::Webhook(webhook(&mut table)?),
        "eventbridge" => Kind::EventBridge(bus(&mut table, source.as_deref())?),
        "file" => Kind::File(table.required("path", "the path of the file to append to")?.into()),
        "stdout" => Kind::Stdout,
        _ => return Err(table.wrong("type", &format!("'{kind}' is none of webhook, eventbridge, file and stdout"))),
    };
    let from_oldest = match table.text("from")?.as_deref() {
        None | Some("latest") => false,
        Some("oldest") => true,
        Some(_) => return Err(table.wrong("from", "use latest or oldest")),
    };
    let pattern = pattern(&mut table)?;
    let retry = table.seconds("retry_seconds", 259_200, 0..=2_592_000)?;
    table.end(kind.name())?;
    Ok(Target { name, kind, pattern, source, retry, from_oldest })
}

fn pattern(table: &mut Table) -> Result<Option<Pattern>, String> {
    let pattern = match table.value("pattern") {
        None => return Ok(None),
        Some(toml::Value::String(text)) => Pattern::parse(&text),
        Some(value) => match reader::json(value) {
            Some(value) => Pattern::of(value),
            None => return Err(table.wrong("pattern", "dates and numbers without end match nothing")),
        },
    };
    pattern.map(Some).map_err(|error| table.wrong("pattern", &error.to_string()))
}

fn webhook(table: &mut Table) -> Result<Webhook, String> {
    let url = table.required("url", "an http:// or https:// URL")?;
    let parsed = url.parse::<Uri>().ok().filter(|url| {
        matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some_and(|host| !host.is_empty())
    });
    let Some(url) = parsed else { return Err(table.wrong("url", "use an http:// or https:// URL")) };
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(table.wrong("url", "use a URL without a user and a password: webhooks are signed"));
    }
    let secrets = table.secrets("secret")?;
    if secrets.is_empty() {
        let problem = "a webhook is signed: set secret, secret_env or secret_file (make one with: echo whsec_$(openssl rand -base64 32))";
        return Err(table.wrong("secret", problem));
    }
    let keys = secrets.iter().map(key).collect::<Option<Vec<_>>>();
    let keys = keys.ok_or_else(|| {
        table.wrong(
            "secret",
            "use whsec_ and 24 to 64 bytes in base64 (make one with: echo whsec_$(openssl rand -base64 32))",
        )
    })?;
    Ok(Webhook {
        url,
        keys,
        timeout: table.seconds("timeout_seconds", 15, 1..=300)?,
        concurrency: table.count("concurrency", 8, 1..=64)?,
        ca: certificates(table)?,
    })
}

fn certificates(table: &mut Table) -> Result<Vec<CertificateDer<'static>>, String> {
    let Some(path) = table.text("ca_file")?.filter(|_| table.whole) else { return Ok(Vec::new()) };
    let pem = std::fs::read(&path).map_err(|error| table.wrong("ca_file", &format!("cannot read {path}: {error}")))?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.unwrap_or_default();
    let mut roots = RootCertStore::empty();
    let good = certificates.iter().all(|certificate| roots.add(certificate.clone()).is_ok());
    if certificates.is_empty() || !good {
        return Err(table.wrong("ca_file", &format!("{path} must hold certificates in PEM, and nothing else")));
    }
    Ok(certificates)
}

/// A secret as the Standard Webhooks specification has it.
fn key(Secret(text): &Secret) -> Option<Key> {
    let bytes = STANDARD.decode(text.strip_prefix("whsec_")?).ok()?;
    (24..=64).contains(&bytes.len()).then_some(Key(bytes))
}

fn bus(table: &mut Table, source: Option<&str>) -> Result<Bus, String> {
    let endpoint = table.text("endpoint_url")?;
    let is_url = |text: &String| {
        let url = text.parse::<Uri>().ok();
        url.is_some_and(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some())
    };
    if !endpoint.as_ref().is_none_or(is_url) {
        return Err(table.wrong("endpoint_url", "use an http:// or https:// URL"));
    }
    // Emulators accept it.
    if endpoint.is_none() && source.is_none_or(|source| source.starts_with("aws.")) {
        let problem =
            "AWS refuses events of others whose source begins with 'aws.': set another one, such as \"greenroom.ivs\"";
        return Err(table.wrong("source", problem));
    }
    let id = table.text("access_key_id")?;
    let secret = table.secrets("secret_access_key")?.pop();
    let credentials = match (id, secret) {
        (Some(id), Some(secret)) => Some((id, secret)),
        (None, None) => None,
        _ => return Err(table.wrong("access_key_id", "set it together with secret_access_key, or neither")),
    };
    Ok(Bus {
        bus: table.text("bus")?.unwrap_or_else(|| "default".into()),
        region: table.text("region")?,
        endpoint,
        credentials,
        timeout: table.seconds("timeout_seconds", 15, 1..=300)?,
        concurrency: table.count("concurrency", 4, 1..=64)?,
        id_member: table.text("id_member")?,
    })
}
