//! Event targets: the operator's file, parsed and validated.
//!
//! `docs/reference/events.md` describes every key.

#[cfg(test)]
mod tests;

use crate::config::Secret;
use crate::config::table::{self, Table};
use crate::domain::pattern::Pattern;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

/// An event target.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Lower-case letters, digits and hyphens.
    pub name: String,
    pub kind: Kind,
    /// Filter; `None` matches all events.
    pub pattern: Option<Pattern>,
    /// Replaces the `source` of events.
    pub source: Option<String>,
    /// Retry period of an event.
    pub retry: Duration,
    /// Whether a new target starts with the oldest event in the log rather than with the next one.
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

    /// The location; URLs without their query, which can contain secrets.
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

/// Host and port, without credentials.
fn host(authority: &hyper::http::uri::Authority) -> &str {
    authority.as_str().rsplit('@').next().unwrap_or_default()
}

/// A webhook.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    pub url: Uri,
    /// Signing keys; a request has one signature by each.
    pub keys: Vec<Key>,
    /// The timeout of a request.
    pub timeout: Duration,
    /// Maximum requests in flight.
    pub concurrency: usize,
    /// Additional root certificates.
    pub ca: Vec<CertificateDer<'static>>,
}

/// An EventBridge bus.
#[derive(Clone, Debug, PartialEq)]
pub struct Bus {
    /// Name or ARN.
    pub bus: String,
    /// Region; by default that of the AWS configuration.
    pub region: Option<String>,
    /// Endpoint URL; by default that of AWS.
    pub endpoint: Option<String>,
    /// Access key id and secret; by default the credentials of the AWS configuration.
    pub credentials: Option<(String, Secret)>,
    /// The timeout of a request.
    pub timeout: Duration,
    /// Maximum requests in flight.
    pub concurrency: usize,
    /// Member of `detail` for the event's id, as the bus assigns its own id to each entry.
    pub id_member: Option<String>,
}

/// A signing key of a webhook.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub Vec<u8>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// An error in the target file: one line with target and key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct TargetsError {
    file: PathBuf,
    problem: String,
}

/// Maximum targets in a file.
const MAX_TARGETS: usize = 100;

/// Reads a target file, and the files named in it.
pub fn read(file: &Path) -> Result<Vec<Target>, TargetsError> {
    load(file, true)
}

/// Reads a target file without secrets, to list the targets.
pub fn read_without_secrets(file: &Path) -> Result<Vec<Target>, TargetsError> {
    load(file, false)
}

fn load(file: &Path, with_secrets: bool) -> Result<Vec<Target>, TargetsError> {
    let error_at = |problem: String| TargetsError { file: file.to_owned(), problem };
    let text = std::fs::read_to_string(file).map_err(|error| error_at(format!("cannot be read: {error}")))?;
    parse(&text, with_secrets).map_err(error_at)
}

fn parse(text: &str, with_secrets: bool) -> Result<Vec<Target>, String> {
    let tables = table::tables(text, "target", MAX_TARGETS)?;
    let targets: Vec<_> = tables
        .into_iter()
        .enumerate()
        .map(|(n, table)| target(n + 1, table, with_secrets))
        .collect::<Result<_, _>>()?;
    let (mut names, mut places) = (HashSet::new(), HashSet::new());
    for target in &targets {
        if !names.insert(&target.name) {
            return Err(format!("target '{}': name: another target has it", target.name));
        }
        let exclusive = matches!(target.kind, Kind::File(_) | Kind::Stdout);
        if exclusive && !places.insert(target.kind.place()) {
            return Err(format!("target '{}': another target writes to {}", target.name, target.kind.place()));
        }
    }
    Ok(targets)
}

fn target(n: usize, table: toml::Table, with_secrets: bool) -> Result<Target, String> {
    let mut table = Table::new("target", n, table, with_secrets);
    let name = table.required("name", "a name such as \"billing\"")?;
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=64).contains(&name.len()) || !name.bytes().all(is_allowed) {
        return Err(table.error_at("name", "use 1 to 64 lower-case letters, digits and hyphens"));
    }
    table.named(&name);
    let kind = table.required("type", "one of webhook, eventbridge, file and stdout")?;
    let source = table.text("source")?;
    if source.as_ref().is_some_and(|source| !(1..=256).contains(&source.chars().count())) {
        return Err(table.error_at("source", "use 1 to 256 characters"));
    }
    let kind = match kind.as_str() {
        "webhook" => Kind::Webhook(webhook(&mut table)?),
        "eventbridge" => Kind::EventBridge(bus(&mut table, source.as_deref())?),
        "file" => Kind::File(table.required("path", "the path of the file to append to")?.into()),
        "stdout" => Kind::Stdout,
        _ => return Err(table.error_at("type", &format!("'{kind}' is none of webhook, eventbridge, file and stdout"))),
    };
    let from_oldest = match table.text("from")?.as_deref() {
        None | Some("latest") => false,
        Some("oldest") => true,
        Some(_) => return Err(table.error_at("from", "use latest or oldest")),
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
        Some(value) => match table::json(value) {
            Some(value) => Pattern::of(value),
            None => return Err(table.error_at("pattern", "dates and numbers without end match nothing")),
        },
    };
    pattern.map(Some).map_err(|error| table.error_at("pattern", &error.to_string()))
}

fn webhook(table: &mut Table) -> Result<Webhook, String> {
    let url = table.required("url", "an http:// or https:// URL")?;
    let parsed = url.parse::<Uri>().ok().filter(|url| {
        matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some_and(|host| !host.is_empty())
    });
    let Some(url) = parsed else { return Err(table.error_at("url", "use an http:// or https:// URL")) };
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(table.error_at("url", "use a URL without a user and a password: webhooks are signed"));
    }
    let secrets = table.secrets("secret")?;
    if secrets.is_empty() {
        let problem = "a webhook is signed: set secret, secret_env or secret_file (make one with: echo whsec_$(openssl rand -base64 32))";
        return Err(table.error_at("secret", problem));
    }
    let keys = secrets.iter().map(key).collect::<Option<Vec<_>>>();
    let keys = keys.ok_or_else(|| {
        table.error_at(
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
    let Some(path) = table.text("ca_file")?.filter(|_| table.with_secrets) else { return Ok(Vec::new()) };
    let pem =
        std::fs::read(&path).map_err(|error| table.error_at("ca_file", &format!("cannot read {path}: {error}")))?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.unwrap_or_default();
    let mut roots = RootCertStore::empty();
    let good = certificates.iter().all(|certificate| roots.add(certificate.clone()).is_ok());
    if certificates.is_empty() || !good {
        return Err(table.error_at("ca_file", &format!("{path} must hold certificates in PEM, and nothing else")));
    }
    Ok(certificates)
}

/// Decodes a secret in the format of Standard Webhooks.
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
        return Err(table.error_at("endpoint_url", "use an http:// or https:// URL"));
    }
    // Emulators accept sources that start with `aws.`.
    if endpoint.is_none() && source.is_none_or(|source| source.starts_with("aws.")) {
        let problem =
            "AWS refuses events of others whose source begins with 'aws.': set another one, such as \"greenroom.ivs\"";
        return Err(table.error_at("source", problem));
    }
    let id = table.text("access_key_id")?;
    let secret = table.secrets("secret_access_key")?.pop();
    let credentials = match (id, secret) {
        (Some(id), Some(secret)) => Some((id, secret)),
        (None, None) => None,
        _ => return Err(table.error_at("access_key_id", "set it together with secret_access_key, or neither")),
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
