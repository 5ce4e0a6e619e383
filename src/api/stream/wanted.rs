//! What a request for the stream asks for: where to begin, and what is meant.

use crate::app::log::{self, AUDIT, EVENT};
use crate::clock::Timestamp;
use crate::domain::pattern::Pattern;
use crate::model::fault::Fault;
use axum::http::request::Parts;

/// What a request for the stream asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Where to begin.
    pub start: log::Start,
    /// What kinds of entries.
    pub kinds: &'static Kinds,
    /// What else they must be like.
    pub pattern: Option<Pattern>,
}

/// Some of what is in the log, and the rights that it takes.
#[derive(Debug, PartialEq, Eq)]
pub struct Kinds {
    word: &'static str,
    /// Their names in the log.
    pub kinds: &'static [&'static str],
    /// What a policy must allow.
    pub actions: &'static [&'static str],
}

const EVENTS: &str = "ivs:StreamEvents";
const RECORDS: &str = "ivs:StreamAudit";
/// The first is meant if none is named.
const KINDS: [Kinds; 3] = [
    Kinds { word: "event", kinds: &[EVENT], actions: &[EVENTS] },
    Kinds { word: "audit", kinds: &[AUDIT], actions: &[RECORDS] },
    Kinds { word: "all", kinds: &[EVENT, AUDIT], actions: &[EVENTS, RECORDS] },
];

impl Wanted {
    /// Reads the query and the header.
    pub fn of(parts: &Parts) -> Result<Wanted, Fault> {
        static MEANT: &Kinds = &KINDS[0];
        let mut wanted = Wanted { start: log::Start::Now, kinds: MEANT, pattern: None };
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            if seen.contains(&name) {
                return Err(Fault::validation(format!("{name}: given more than once")));
            }
            match &*name {
                "since" => wanted.start = log::Start::Since(time(&value)?),
                "kind" => wanted.kinds = kinds(&value)?,
                "pattern" => wanted.pattern = Some(pattern(&value)?),
                _ => {
                    let text = format!("{name}: not known here; there are since, kind and pattern");
                    return Err(Fault::validation(text));
                }
            }
            seen.push(name);
        }
        // A client that comes back sends what it has seen last, and the URL that it began with.
        if let Some(position) = parts.headers.get("last-event-id") {
            wanted.start = log::Start::After(last(position.to_str().unwrap_or_default())?);
        }
        Ok(wanted)
    }
}

fn time(text: &str) -> Result<Timestamp, Fault> {
    serde_json::from_value(text.into()).map_err(|_| {
        Fault::validation(format!("since: '{text}' is no time of ISO 8601 with a zone, such as 2026-01-31T12:00:00Z"))
    })
}

fn kinds(word: &str) -> Result<&'static Kinds, Fault> {
    static ALL: &[Kinds] = &KINDS;
    let found = ALL.iter().find(|kinds| kinds.word == word);
    found.ok_or_else(|| Fault::validation(format!("kind: '{word}' is none of event, audit and all")))
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

    fn wanted(query: &str, last: Option<&str>) -> Result<Wanted, String> {
        let mut request = axum::http::Request::get(format!("/{query}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        Wanted::of(&request.body(()).unwrap().into_parts().0).map_err(|fault| fault.message().to_owned())
    }

    #[test]
    fn a_client_begins_now_or_at_a_time_or_where_it_was() {
        assert_eq!(wanted("", None).unwrap().start, log::Start::Now);
        let since = wanted("?since=2026-01-31T12:00:00.5Z", None).unwrap().start;
        assert_eq!(since, log::Start::Since(Timestamp(1_769_860_800_500)));
        assert_eq!(wanted("?since=2026-01-31T13:00:00.5%2B01:00", None).unwrap().start, since);
        assert_eq!(wanted("?since=2026-01-31T12:00:00Z", Some("7")).unwrap().start, log::Start::After(7));
    }

    #[test]
    fn events_alone_are_meant_unless_something_else_is_named() {
        let kinds = |query| wanted(query, None).unwrap().kinds;
        assert_eq!((kinds("").kinds, kinds("").actions), (&[EVENT][..], &[EVENTS][..]));
        assert_eq!((kinds("?kind=audit").kinds, kinds("?kind=audit").actions), (&[AUDIT][..], &[RECORDS][..]));
        assert_eq!(kinds("?kind=all").actions, [EVENTS, RECORDS]);
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
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
            let said = wanted(query, last).unwrap_err();
            assert!(said.starts_with(words), "{query} {last:?}: {said}");
        }
    }
}
