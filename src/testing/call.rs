//! A request to the test API, parsed: who sends it, what it applies to, its parameters and its body.

use super::endpoint::Parameters;
use super::{Settings, TestState, access};
use crate::http::ReceivedBody;
use crate::model::arn::Scope;
use crate::model::fault::Fault;
use crate::model::json::explain;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The accounts and regions that a request applies to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selection {
    /// All of them (`all=true`).
    All,
    /// One account in one region.
    One(Scope),
}

impl Selection {
    /// The account and region; `None` for all.
    pub fn scope(&self) -> Option<&Scope> {
        match self {
            Selection::All => None,
            Selection::One(scope) => Some(scope),
        }
    }

    /// Whether an account and region is selected.
    pub fn includes(&self, scope: &Scope) -> bool {
        self.scope().is_none_or(|one| one == scope)
    }
}

/// For the log.
impl std::fmt::Display for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Selection::All => f.write_str("all"),
            Selection::One(scope) => write!(f, "{} {}", scope.account, scope.region),
        }
    }
}

/// A request.
pub struct Call {
    pub state: Arc<TestState>,
    pub selection: Selection,
    parameters: Parameters,
    query: Vec<(String, String)>,
    /// Content type without parameters, in lower case.
    pub content_type: String,
    pub body: ReceivedBody,
}

impl Call {
    /// Checks the access of a request, and receives it.
    pub async fn receive(state: Arc<TestState>, parameters: Parameters, request: Request) -> Result<Call, Fault> {
        let (parts, body) = request.into_parts();
        let sender = access::check(&state, &parts, body).await?;
        let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let mut query: Vec<(String, String)> = query.into_owned().collect();
        let selection = select(&state, sender.signer, &mut query)?;
        let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let content_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Ok(Call { state, selection, parameters, query, content_type, body: sender.body })
    }

    /// A parameter of the path, by its position.
    pub fn parameter(&self, n: usize) -> &str {
        self.parameters.get(n).map_or("", String::as_str)
    }

    /// A query parameter.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Refuses query parameters other than the `known` ones, and those that are given twice.
    pub fn check_query(&self, known: &[(&str, &str)]) -> Result<(), Fault> {
        for (n, (name, _)) in self.query.iter().enumerate() {
            if !known.iter().any(|(known, _)| known == name) {
                return Err(Fault::validation(format!("{name}: not a parameter of this request")));
            }
            if self.query[..n].iter().any(|(other, _)| other == name) {
                return Err(Fault::validation(format!("{name}: given more than once")));
            }
        }
        Ok(())
    }

    /// A query parameter of another type.
    pub fn parsed_query<T: std::str::FromStr>(&self, name: &str, kind: &str) -> Result<Option<T>, Fault> {
        let parse = |text: &str| text.parse().map_err(|_| Fault::validation(format!("{name}: '{text}' is not {kind}")));
        self.query(name).map(parse).transpose()
    }

    /// The body, of JSON; an empty body is an empty object.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        let body = if self.body.is_empty() { b"{}" } else { &*self.body };
        serde_json::from_slice(body).map_err(|error| Fault::validation(format!("body: {}", problem(&error))))
    }

    /// The account and region, where a request applies to one.
    pub fn scope(&self) -> Result<&Scope, Fault> {
        match &self.selection {
            Selection::One(scope) => Ok(scope),
            Selection::All => Err(Fault::validation("all: this request applies to one account and region")),
        }
    }

    /// The account and region that resources are created in: those of the server where a request applies to all.
    pub fn scope_or_default(&self) -> Scope {
        let settings = &self.state.settings;
        let default = || Scope { account: settings.account.clone(), region: settings.region.clone() };
        self.selection.scope().cloned().unwrap_or_else(default)
    }

    /// The selection of a request whose body may name an account and a region: it applies to all (`all=true`), such as by
    /// moving the clock, and acts in one.
    pub fn narrowed(&self, account: Option<String>, region: Option<String>) -> Result<Selection, Fault> {
        if account.is_none() && region.is_none() {
            return Ok(self.selection.clone());
        }
        if self.selection != Selection::All {
            return Err(Fault::validation("account, region: are members of the body with all=true only"));
        }
        let default = self.scope_or_default();
        let scope = Scope { account: account.unwrap_or(default.account), region: region.unwrap_or(default.region) };
        check(&self.state, scope).map(Selection::One)
    }

    /// Refuses a body with members, where a request has none.
    pub fn no_body(&self) -> Result<(), Fault> {
        match self.body.trim_ascii() {
            b"" | b"{}" => Ok(()),
            _ => Err(Fault::validation("body: this request has none")),
        }
    }

    /// Requires `all=true`, where a request applies to the whole server.
    pub fn require_all(&self) -> Result<(), Fault> {
        match &self.selection {
            Selection::All => Ok(()),
            Selection::One(_) => {
                Err(Fault::validation("all: this request applies to all accounts and regions; set all=true"))
            }
        }
    }
}

/// The problem of a body. Errors of its data are those of our own types, and name the field.
pub fn problem(error: &serde_json::Error) -> String {
    if error.is_data() { error.to_string() } else { explain(error) }
}

/// Takes `account`, `region` and `all` from the query. A signed request applies to the account of its access key, and one of
/// the server's own account to any.
fn select(state: &TestState, signer: Option<Scope>, query: &mut Vec<(String, String)>) -> Result<Selection, Fault> {
    let mut take = |name: &str| {
        let at = query.iter().position(|(key, _)| key == name)?;
        Some(query.remove(at).1)
    };
    let (account, region, all) = (take("account"), take("region"), take("all"));
    let all = match all.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(Fault::validation(format!("all: '{other}' is neither true nor false"))),
    };
    if all && (account.is_some() || region.is_some()) {
        return Err(Fault::validation("all: cannot be used with account or region"));
    }
    let Settings { account: own, region: default, .. } = &state.settings;
    let others =
        all || account.as_ref().is_some_and(|account| signer.as_ref().is_some_and(|signer| signer.account != *account));
    if others && signer.as_ref().is_some_and(|signer| signer.account != *own) {
        let member = if all { "all" } else { "account" };
        let text =
            format!("{member}: only access keys of the server's own account (--account) may act on other accounts");
        return Err(Fault::denied(text));
    }
    if all {
        return Ok(Selection::All);
    }
    let signer = signer.unwrap_or_else(|| Scope { account: own.clone(), region: default.clone() });
    let scope = Scope { account: account.unwrap_or(signer.account), region: region.unwrap_or(signer.region) };
    check(state, scope).map(Selection::One)
}

fn check(state: &TestState, scope: Scope) -> Result<Scope, Fault> {
    if let Err(problem) = crate::config::account(&scope.account) {
        return Err(Fault::validation(format!("account: {problem}")));
    }
    if !state.app.settings().regions.contains(&scope.region) {
        return Err(Fault::validation(format!("region: '{}' is not one of --regions", scope.region)));
    }
    Ok(scope)
}
