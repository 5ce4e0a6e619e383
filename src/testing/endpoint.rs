//! An endpoint of the test API: a row of a table.

use super::call::Call;
use super::endpoints;
use crate::api::JsonReply;
use crate::model::fault::{Fault, RejectionKind};
use axum::http::Method;
use serde_json::Value;
use std::pin::Pin;

/// The future of a handler.
pub type Answer = Pin<Box<dyn Future<Output = Result<JsonReply, Fault>> + Send>>;

/// An endpoint.
#[derive(Debug)]
pub struct Endpoint {
    pub method: Method,
    /// Path below [`super::ROOT`]; a segment in braces is a parameter.
    pub path: &'static str,
    /// The name in the OpenAPI document, in metrics and in the log.
    pub name: &'static str,
    /// One sentence for the OpenAPI document.
    pub summary: &'static str,
    /// Names and descriptions of the query parameters besides `account`, `region` and `all`.
    pub query: &'static [(&'static str, &'static str)],
    /// JSON Schema of the request's body, if it has one.
    pub request: Option<fn() -> Value>,
    /// JSON Schema of the response's body.
    pub response: fn() -> Value,
    pub handler: fn(Call) -> Answer,
}

/// The parameters of a path, in its order.
pub type Parameters = Vec<String>;

/// The parameters of `path`, if it has the form of `template`.
fn parameters(template: &str, path: &str) -> Option<Parameters> {
    let (mut own, mut given) = (template.split('/'), path.split('/'));
    let mut parameters = Vec::new();
    loop {
        match (own.next(), given.next()) {
            (None, None) => return Some(parameters),
            (Some(own), Some(given)) if own.starts_with('{') && !given.is_empty() => {
                let given = percent_encoding::percent_decode_str(given).decode_utf8().ok()?;
                parameters.push(given.into_owned());
            }
            (Some(own), Some(given)) if own == given => {}
            _ => return None,
        }
    }
}

/// The endpoint of a method and a path, with the path's parameters. The error names the methods of the path, if it has any.
pub fn find(method: &Method, path: &str) -> Result<(&'static Endpoint, Parameters), Fault> {
    let mut others = Vec::new();
    for endpoint in endpoints() {
        match parameters(endpoint.path, path) {
            Some(parameters) if endpoint.method == *method => return Ok((endpoint, parameters)),
            Some(_) => others.push(endpoint.method.as_str()),
            None => {}
        }
    }
    let root = super::ROOT;
    let text = match others.is_empty() {
        true => format!("The test API has no endpoint {root}{path}"),
        false => format!("The test API has no endpoint {method} {root}{path}; its methods are {}", others.join(", ")),
    };
    Err(Fault::rejected(RejectionKind::UnknownOperation, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_matched_by_their_templates() {
        let of = |path| parameters("/snapshots/{name}/restore", path);
        assert_eq!(of("/snapshots/a%20b/restore"), Some(vec!["a b".to_owned()]));
        for path in [
            "/snapshots//restore",
            "/snapshots/a",
            "/snapshots/a/restore/",
            "snapshots/a/restore",
            "/snapshots/%ff/restore",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
        assert!(find(&Method::GET, "/nothing").is_err_and(|fault| fault.message().contains("no endpoint")));
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = endpoints().map(|endpoint| endpoint.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
