//! The same is said to the layer of `tracing_subscriber` and to ours, and the lines are compared.

use super::*;
use proptest::prelude::*;
use std::io;
use std::sync::{Arc, Mutex};
use tracing::{Level, Span, field};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;

/// Keeps what is written.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl io::Write for Page {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What both layers write of what is said, without the times.
fn lines(say: impl FnOnce()) -> [Vec<String>; 2] {
    let pages = [Page::default(), Page::default()];
    let [theirs, ours] = pages.clone();
    let subscriber = tracing_subscriber::registry()
        .with(fmt::layer().json().with_writer(move || theirs.clone()))
        .with(Json::new(move || ours.clone()));
    tracing::subscriber::with_default(subscriber, say);
    pages.map(|page| {
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let untimed = |line: &str| {
            let (time, rest) = line.strip_prefix("{\"timestamp\":\"").unwrap().split_once('"').unwrap();
            assert!(DateTime::parse_from_rfc3339(time).is_ok() && time.len() == 27, "{time}");
            rest.to_owned()
        };
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().map(untimed).collect()
    })
}

/// Something to say, of every kind that a field may be of.
#[derive(Clone, Debug)]
struct Said {
    text: String,
    debug: (String, Vec<Option<char>>),
    whole: i64,
    natural: u64,
    float: f64,
    huge: i128,
    truth: bool,
    maybe: Option<u8>,
    bytes: Vec<u8>,
}

fn said() -> impl Strategy<Value = Said> {
    // Texts with much that has to be escaped, beside any.
    let text = || prop_oneof![any::<String>(), "[\"\\\\\u{0}-\u{20}\u{7f}-\u{a0}é🦀{}\\[,]{0,12}"];
    let debug = (text(), any::<Vec<Option<char>>>());
    let numbers = (any::<i64>(), any::<u64>(), any::<f64>(), any::<i128>());
    (text(), debug, numbers, any::<bool>(), any::<Option<u8>>(), any::<Vec<u8>>()).prop_map(
        |(text, debug, (whole, natural, float, huge), truth, maybe, bytes)| Said {
            text,
            debug,
            whole,
            natural,
            float,
            huge,
            truth,
            maybe,
            bytes,
        },
    )
}

fn event(said: &Said) {
    let error = io::Error::other(said.text.clone());
    tracing::info!(
        text = said.text,
        debug = ?said.debug,
        shown = %said.text,
        whole = said.whole,
        natural = said.natural,
        float = said.float,
        huge = said.huge,
        r#true = said.truth,
        r#type = ?said.debug,
        maybe = said.maybe,
        bytes = &said.bytes[..],
        error = &error as &dyn std::error::Error,
        empty = field::Empty,
        "{} says {:?}",
        said.text,
        said.debug,
    );
}

/// A span with what survives the other layer's way there and back: it reads its numbers again.
fn span(said: &Said) -> Span {
    tracing::info_span!(
        "a \"span\"",
        text = said.text,
        shown = %said.text,
        debug = ?said.debug,
        whole = said.whole,
        natural = said.natural,
        huge = said.huge,
        r#true = said.truth,
        r#type = ?said.debug,
        maybe = said.maybe,
        bytes = &said.bytes[..],
        later = field::Empty,
        name = field::Empty,
    )
}

proptest! {
    #[test]
    fn lines_are_those_of_the_other_layer(first in said(), second in said(), third in said()) {
        let [theirs, ours] = lines(|| {
            event(&first);
            let outer = span(&first);
            outer.in_scope(|| event(&second));
            outer.record("later", second.text.as_str());
            outer.record("whole", second.whole);
            outer.record("name", "a field of this name");
            outer.in_scope(|| {
                event(&third);
                let inner = tracing::debug_span!("inner");
                inner.in_scope(|| event(&first));
                tracing::event!(parent: None, Level::ERROR, natural = third.natural, "alone");
                tracing::event!(parent: &inner, Level::WARN, "another's");
            });
            tracing::event!(target: "elsewhere \\", parent: &outer, Level::TRACE, "from outside");
            span(&third).in_scope(|| outer.in_scope(|| tracing::debug!(first.truth)));
        });
        prop_assert_eq!(theirs.len(), 8);
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn floats_are_numbers_or_nothing(value in any::<f64>()) {
        let mut text = String::new();
        float(&mut text, value);
        prop_assert_eq!(text, serde_json::to_string(&value).unwrap());
    }
}

#[test]
fn floats_of_spans_are_written_as_those_of_events() {
    for value in [0.1, 1.0, -0.0, 1e300, f64::NAN, f64::INFINITY] {
        let [theirs, ours] = lines(|| tracing::info_span!("a", value).in_scope(|| tracing::info!(value)));
        assert_eq!(ours, theirs);
    }
}

#[test]
fn a_time_is_written_to_the_microsecond() {
    let mut scratch = Scratch::default();
    for (seconds, nanos, text) in [
        (0, 0, "1970-01-01T00:00:00.000000Z"),
        (0, 999_999_999, "1970-01-01T00:00:00.999999Z"),
        (1_777_852_800, 7_000, "2026-05-04T00:00:00.000007Z"),
        (1_777_852_801, 70_000, "2026-05-04T00:00:01.000070Z"),
        (1_777_852_800, 1_000, "2026-05-04T00:00:00.000001Z"),
        (-1, 500_000_000, "1969-12-31T23:59:59.500000Z"),
        (253_402_300_800, 0, "+10000-01-01T00:00:00.000000Z"),
    ] {
        scratch.line.clear();
        scratch.at(DateTime::from_timestamp(seconds, nanos).unwrap());
        assert_eq!(scratch.line, text);
    }
}

/// Breaks off, or panics.
struct Odd(&'static str);

impl Debug for Odd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("so far ")?;
        match self.0 {
            "breaks off" => Err(std::fmt::Error),
            _ => panic!("on purpose"),
        }
    }
}

#[test]
fn what_says_odd_things_of_itself_spoils_no_line() {
    let page = Page::default();
    let ours = page.clone();
    let subscriber = tracing_subscriber::registry().with(Json::new(move || ours.clone()));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(odd = ?Odd("breaks off"), after = 1, "a");
        let panicking = || tracing::info!(odd = ?Odd("panics"), "b");
        std::panic::catch_unwind(panicking).unwrap_err();
        tracing::info!("c");
    });
    let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
    let fields: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["fields"].take().to_string())
        .collect();
    let expected = [r#"{"after":1,"message":"a","odd":"so far "}"#, r#"{"message":"c"}"#];
    assert_eq!(fields, expected);
}
