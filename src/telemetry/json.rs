//! Lines of JSON: byte for byte those of `tracing_subscriber::fmt::layer().json()`, which a test holds.
//!
//! Every request has a span, and nearly none says anything in it. So what a span has is put down as it comes, and only
//! put in its order when a line needs it; the other layer makes a tree of values of it, a text, and a tree again.

use chrono::{DateTime, Utc};
use std::cell::Cell;
use std::fmt::{self, Debug, Write as _};
use std::io::Write as _;
use std::time::SystemTime;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

/// A buffer of this many bytes is not kept for the next line.
const LONG: usize = 1 << 16;
/// The members of a request's span have fewer bytes, unless its path is long.
const SPAN: usize = 160;

/// Writes events as lines of JSON, each with the spans that it is in.
#[derive(Debug)]
pub(super) struct Json<W>(W);

impl<W> Json<W> {
    /// Lines that go where `writer` says.
    pub fn new(writer: W) -> Self {
        Json(writer)
    }
}

/// What is used again for the next line of the same thread.
#[derive(Default)]
struct Scratch {
    line: String,
    /// A second since 1970, and how it is written.
    second: Option<(i64, String)>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// The members of a span: `"name":value` one after the other, and where each ends. Of those of one name the last counts.
#[derive(Debug, Default)]
struct Members {
    text: String,
    ends: Vec<(&'static str, usize)>,
}

impl<S, W> Layer<S> for Json<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let (text, ends) = (String::with_capacity(SPAN), Vec::with_capacity(attributes.fields().len()));
        let mut members = Members { text, ends };
        attributes.record(&mut members);
        span.extensions_mut().replace(members);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let mut extensions = span.extensions_mut();
        if extensions.get_mut::<Members>().is_none() {
            extensions.insert(Members::default());
        }
        if let Some(members) = extensions.get_mut::<Members>() {
            values.record(members);
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        // Taken, so that a value that logs while it is written down finds another one.
        let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
        scratch.line.clear();
        write(&mut scratch, event, &ctx);
        drop(self.0.make_writer_for(event.metadata()).write_all(scratch.line.as_bytes()));
        if scratch.line.capacity() < LONG {
            let _ = SCRATCH.try_with(|kept| kept.set(scratch));
        }
    }
}

fn write<S>(scratch: &mut Scratch, event: &Event<'_>, ctx: &Context<'_, S>)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let what = event.metadata();
    scratch.line.push_str("{\"timestamp\":\"");
    scratch.time();
    let line = &mut scratch.line;
    line.push_str("\",\"level\":\"");
    line.push_str(what.level().as_str());
    line.push_str("\",\"fields\":{");
    event.record(&mut Fields(line));
    line.push_str("},\"target\":");
    string(line, what.target());
    if let Some(span) = event.parent().and_then(|id| ctx.span(id)).or_else(|| ctx.lookup_current()) {
        line.push_str(",\"span\":");
        object(line, &span);
        line.push_str(",\"spans\":[");
        for span in ctx.lookup_current().iter().flat_map(|span| span.scope().from_root()) {
            comma(line);
            object(line, &span);
        }
        line.push(']');
    }
    line.push_str("}\n");
}

impl Scratch {
    #[expect(clippy::disallowed_methods, reason = "when something was said is no one's argument")]
    fn time(&mut self) {
        self.at(SystemTime::now().into());
    }

    /// Writes a time. All but its fraction is the same for many lines.
    fn at(&mut self, time: DateTime<Utc>) {
        let second = time.timestamp();
        if self.second.as_ref().is_none_or(|(known, _)| *known != second) {
            self.second = Some((second, time.format("%Y-%m-%dT%H:%M:%S.").to_string()));
        }
        if let Some((_, text)) = &self.second {
            self.line.push_str(text);
        }
        let _ = write!(self.line, "{:06}Z", time.timestamp_subsec_micros());
    }
}

/// A span as an object: its members by their names, and then what it is called.
fn object<S>(line: &mut String, span: &SpanRef<'_, S>)
where
    S: for<'a> LookupSpan<'a>,
{
    line.push('{');
    let extensions = span.extensions();
    if let Some(Members { text, ends }) = extensions.get::<Members>() {
        let begins = std::iter::once(0).chain(ends.iter().map(|(_, end)| *end));
        let mut members: Vec<_> = begins.zip(ends).map(|(begin, (name, end))| (*name, &text[begin..*end])).collect();
        members.sort_by_key(|(name, _)| *name);
        for (at, (name, member)) in members.iter().enumerate() {
            if members.get(at + 1).is_none_or(|(next, _)| next != name) {
                comma(line);
                line.push_str(member);
            }
        }
    }
    comma(line);
    line.push_str("\"name\":");
    string(line, span.metadata().name());
    line.push('}');
}

/// Parts what comes from what was there, if anything was.
fn comma(line: &mut String) {
    if !line.ends_with(['{', '[']) {
        line.push(',');
    }
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    escape(out, text);
    out.push('"');
}

/// What stands between quotes for a text.
fn escape(out: &mut String, text: &str) {
    let mut done = 0;
    for (at, byte) in text.bytes().enumerate() {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[done..at]);
        out.push_str(short);
        if short.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        }
        done = at + 1;
    }
    out.push_str(&text[done..]);
}

/// Escapes what is written.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}

/// What something says of itself. If it cannot say all of it, what it has said stands.
fn debug(out: &mut String, value: &dyn Debug) {
    out.push('"');
    let _ = write!(Escaped(out), "{value:?}");
    out.push('"');
}

/// JSON has no words for what is no finite number.
fn float(out: &mut String, value: f64) {
    let _ = match serde_json::Number::from_f64(value) {
        Some(number) => write!(out, "{number}"),
        None => write!(out, "null"),
    };
}

fn display(out: &mut String, value: impl fmt::Display) {
    let _ = write!(out, "{value}");
}

/// The fields of an event, as the members of the object that was begun last.
struct Fields<'a>(&'a mut String);

impl Fields<'_> {
    fn name(&mut self, field: &Field) -> &mut String {
        comma(self.0);
        string(self.0, field.name());
        self.0.push(':');
        self.0
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        float(self.name(field), value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        display(self.name(field), value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        display(self.name(field), value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        display(self.name(field), value);
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        string(self.name(field), value);
    }
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        debug(self.name(field), value);
    }
}

impl Members {
    fn add(&mut self, name: &'static str, write: impl FnOnce(&mut String)) {
        string(&mut self.text, name);
        self.text.push(':');
        write(&mut self.text);
        self.ends.push((name, self.text.len()));
    }
}

impl Visit for Members {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), |out| float(out, value));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), |out| display(out, value));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), |out| display(out, value));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), |out| display(out, value));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), |out| string(out, value));
    }
    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        let numbers = value.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
        self.add(field.name(), |out| display(out, format_args!("[{numbers}]")));
    }
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let name = field.name();
        self.add(name.strip_prefix("r#").unwrap_or(name), |out| debug(out, value));
    }
}

#[cfg(test)]
mod tests;
