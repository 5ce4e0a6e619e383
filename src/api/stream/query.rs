//! The query of a request for the stream: where to begin, and which entries to send.

use crate::api::query::{Parameters, SignedQuery};
use crate::app::event_log::{EventKind, Start};
use crate::clock::Timestamp;
use crate::domain::pattern::Pattern;
use crate::model::fault::Fault;
use axum::http::request::Parts;

/// A parsed query.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    pub start: Start,
    pub kinds: &'static Kinds,
    /// A pattern that entries must match besides.
    pub pattern: Option<Pattern>,
}

/// A value of `kind`: kinds of entries, and the actions that a policy must allow.
#[derive(Debug, PartialEq, Eq)]
pub struct Kinds {
    name: &'static str,
    pub kinds: &'static [EventKind],
    actions: &'static [&'static str],
}

const EVENTS: &str = "ivs:StreamEvents";
const RECORDS: &str = "ivs:StreamAudit";
/// The values of `kind`; the first is the default.
const KINDS: [Kinds; 3] = [
    Kinds { name: "event", kinds: &[EventKind::Event], actions: &[EVENTS] },
    Kinds { name: "audit", kinds: &[EventKind::Audit], actions: &[RECORDS] },
    Kinds { name: "all", kinds: &[EventKind::Event, EventKind::Audit], actions: &[EVENTS, RECORDS] },
];

impl SignedQuery for Query {
    /// Parses the query string and `Last-Event-ID`.
    fn parse(parts: &Parts) -> Result<Query, Fault> {
        static DEFAULT: &Kinds = &KINDS[0];
        let parameters = Parameters::parse(parts, &["since", "kind", "pattern"])?;
        let mut start = parameters.get("since", time)?.map_or(Start::Now, Start::Since);
        let kinds = parameters.get("kind", kinds)?.unwrap_or(DEFAULT);
        let pattern = parameters.get("pattern", pattern)?;
        // A client that reconnects sends the id of the last event besides its first URL.
        if let Some(position) = parts.headers.get("last-event-id") {
            start = Start::After(last(position.to_str().unwrap_or_default())?);
        }
        Ok(Query { start, kinds, pattern })
    }

    fn actions(&self) -> &'static [&'static str] {
        self.kinds.actions
    }
}

fn time(text: &str) -> Result<Timestamp, Fault> {
    serde_json::from_value(text.into()).map_err(|_| {
        Fault::validation(format!("since: '{text}' is no time of ISO 8601 with a zone, such as 2026-01-31T12:00:00Z"))
    })
}

fn kinds(name: &str) -> Result<&'static Kinds, Fault> {
    static ALL: &[Kinds] = &KINDS;
    let found = ALL.iter().find(|kinds| kinds.name == name);
    found.ok_or_else(|| Fault::validation(format!("kind: '{name}' is none of event, audit and all")))
}

fn pattern(text: &str) -> Result<Pattern, Fault> {
    Pattern::parse(text).map_err(|error| Fault::validation(format!("pattern: {error}")))
}

fn last(text: &str) -> Result<i64, Fault> {
    let position =
        text.parse().ok().filter(|position| *position >= 0 && text.bytes().all(|byte| byte.is_ascii_digit()));
    position.ok_or_else(|| Fault::validation("Last-Event-ID: not one that this service has given"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str, last: Option<&str>) -> Result<Query, String> {
        let mut request = axum::http::Request::get(format!("/{query}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        Query::parse(&request.body(()).unwrap().into_parts().0).map_err(|fault| fault.message().to_owned())
    }

    #[test]
    fn a_stream_begins_now_or_at_a_time_or_after_the_last_event() {
        assert_eq!(parse("", None).unwrap().start, Start::Now);
        let since = parse("?since=2026-01-31T12:00:00.5Z", None).unwrap().start;
        assert_eq!(since, Start::Since(Timestamp(1_769_860_800_500)));
        assert_eq!(parse("?since=2026-01-31T13:00:00.5%2B01:00", None).unwrap().start, since);
        assert_eq!(parse("?since=2026-01-31T12:00:00Z", Some("7")).unwrap().start, Start::After(7));
    }

    #[test]
    fn events_are_the_default_kind() {
        let kinds = |query| parse(query, None).unwrap().kinds;
        assert_eq!((kinds("").kinds, kinds("").actions), (&[EventKind::Event][..], &[EVENTS][..]));
        assert_eq!(
            (kinds("?kind=audit").kinds, kinds("?kind=audit").actions),
            (&[EventKind::Audit][..], &[RECORDS][..])
        );
        assert_eq!(kinds("?kind=all").actions, [EVENTS, RECORDS]);
    }

    #[test]
    fn errors_name_the_parameter() {
        for (query, last, words) in [
            ("?since=yesterday", None, "since: 'yesterday' is no time"),
            ("?since=", None, "since: '' is no time"),
            ("?kind=events", None, "kind: 'events' is none of"),
            ("?from=1", None, "from: not known here"),
            ("?pattern=x", None, "pattern: the pattern: is not JSON"),
            ("?pattern=%7B%22source%22:1%7D", None, "pattern: source: "),
            ("?kind=all&kind=all", None, "kind: given more than once"),
            ("", Some("x"), "Last-Event-ID: not one"),
            ("", Some("-1"), "Last-Event-ID: not one"),
            ("", Some("+1"), "Last-Event-ID: not one"),
            ("", Some("99999999999999999999"), "Last-Event-ID: not one"),
            ("", Some(""), "Last-Event-ID: not one"),
        ] {
            let said = parse(query, last).unwrap_err();
            assert!(said.starts_with(words), "{query} {last:?}: {said}");
        }
    }
}
