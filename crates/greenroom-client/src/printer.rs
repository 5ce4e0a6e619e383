//! The output of `greenroom join`: a table that is redrawn on a terminal, else lines of text, or JSON lines.

use super::events::Participant;
use super::http::ServiceError;
use super::stats::{ConnectionStats, millis, seconds};
use crate::options::OutputFormat;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

/// Minimum interval over which rates are computed.
const MIN_RATE_INTERVAL: Duration = Duration::from_millis(250);

/// Identifies a published or received stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamId {
    Publish,
    /// With the id of the publisher.
    Subscribe(String),
}

impl StreamId {
    fn direction(&self) -> &'static str {
        match self {
            StreamId::Publish => "publish",
            StreamId::Subscribe(_) => "subscribe",
        }
    }

    fn remote(&self) -> Option<&str> {
        match self {
            StreamId::Publish => None,
            StreamId::Subscribe(id) => Some(id),
        }
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StreamId::Publish => f.write_str("publish"),
            StreamId::Subscribe(id) => write!(f, "subscribe {}", sanitize(id)),
        }
    }
}

/// Writes the output.
pub struct Printer<'a> {
    out: &'a mut (dyn Write + Send),
    format: OutputFormat,
    /// Whether the table is redrawn in place.
    redraw: bool,
    /// Lines of the last table.
    drawn_lines: usize,
    /// When rates were last computed, and the bytes of each stream at that time.
    previous: (Duration, BTreeMap<StreamId, u64>),
    /// Rates in bits per second.
    rates: BTreeMap<StreamId, f64>,
}

impl std::fmt::Debug for Printer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Printer").field("format", &self.format).finish_non_exhaustive()
    }
}

impl<'a> Printer<'a> {
    /// `terminal`: whether `out` is a terminal.
    pub fn new(out: &'a mut (dyn Write + Send), format: OutputFormat, terminal: bool) -> Printer<'a> {
        Printer {
            out,
            format,
            redraw: terminal && format == OutputFormat::Human,
            drawn_lines: 0,
            previous: Default::default(),
            rates: BTreeMap::new(),
        }
    }

    /// Writes an event: as `line` or as `value`.
    fn event(&mut self, line: &str, value: &Value) {
        self.erase_table();
        match self.format {
            OutputFormat::Human => self.write(&format!("{line}\n")),
            OutputFormat::Json => self.write(&format!("{value}\n")),
        }
    }

    /// Prints that the participant joins.
    pub fn joined(&mut self, participant: &str, stage: &str) {
        let line = format!("{} joins the stage {}", sanitize(participant), sanitize(stage));
        self.event(&line, &json!({"type": "joined", "participantId": participant, "stageId": stage}));
    }

    /// Prints the participants of the stage.
    pub fn stage(&mut self, participants: &[Participant]) {
        let entry = |participant: &Participant| {
            json!({
                "id": participant.id,
                "userId": participant.user_id,
                "attributes": participant.attributes,
                "isPublishing": participant.is_publishing,
            })
        };
        let name = |participant: &Participant| {
            format!("{}{}", sanitize(&participant.id), if participant.is_publishing { " (publishing)" } else { "" })
        };
        let names = participants.iter().map(name).collect::<Vec<_>>().join(", ");
        let entries: Vec<_> = participants.iter().map(entry).collect();
        self.event(&format!("on the stage: {names}"), &json!({"type": "stage", "participants": entries}));
    }

    /// Prints an error of a stream, or of the events WebSocket.
    pub fn error(&mut self, stream: Option<&StreamId>, error: &ServiceError) {
        let ServiceError { code, message } = error;
        let source = stream.map_or("events".into(), ToString::to_string);
        let value = json!({
            "type": "refused",
            "direction": stream.map(StreamId::direction),
            "remote": stream.and_then(StreamId::remote),
            "code": code,
            "message": message,
        });
        self.event(&format!("{source}: {}: {}", sanitize(code), sanitize(message)), &value);
    }

    /// Prints that a connection was closed.
    pub fn ended(&mut self, stream: &StreamId, stats: &ConnectionStats) {
        let value = json!({
            "type": "ended",
            "direction": stream.direction(),
            "remote": stream.remote(),
            "figures": stats.to_json(),
        });
        self.event(&format!("{stream}: {}", stats.state.name()), &value);
    }

    /// Prints the statistics of all connections.
    pub fn stats(&mut self, at: Duration, all: &BTreeMap<StreamId, ConnectionStats>) {
        if at.saturating_sub(self.previous.0) >= MIN_RATE_INTERVAL {
            self.update_rates(at, all);
        }
        let rate = |stream: &StreamId| self.rates.get(stream).copied().unwrap_or_default();
        let text = match self.format {
            OutputFormat::Json => format!("{}\n", value(at, all, rate)),
            OutputFormat::Human if self.redraw => table(all, rate),
            OutputFormat::Human => all.iter().map(|(stream, now)| row(stream, now, rate(stream)) + "\n").collect(),
        };
        self.erase_table();
        self.write(&text);
        if self.redraw {
            self.drawn_lines = text.lines().count();
        }
    }

    fn update_rates(&mut self, at: Duration, all: &BTreeMap<StreamId, ConnectionStats>) {
        let seconds = at.saturating_sub(self.previous.0).as_secs_f64();
        let bytes = |stream: &StreamId, now: &ConnectionStats| match stream {
            StreamId::Publish => now.sent.bytes,
            StreamId::Subscribe(_) => now.received.bytes,
        };
        let totals: BTreeMap<StreamId, u64> =
            all.iter().map(|(stream, now)| (stream.clone(), bytes(stream, now))).collect();
        let before = |stream: &StreamId| self.previous.1.get(stream).copied().unwrap_or_default();
        let rate = |(stream, now): (&StreamId, &u64)| {
            (stream.clone(), 8.0 * now.saturating_sub(before(stream)) as f64 / seconds)
        };
        self.rates = totals.iter().map(rate).collect();
        self.previous = (at, totals);
    }

    /// Erases the last table.
    fn erase_table(&mut self) {
        if self.drawn_lines > 0 {
            let up = format!("\x1b[{}A\x1b[J", self.drawn_lines);
            self.drawn_lines = 0;
            self.write(&up);
        }
    }

    /// Errors are ignored: a closed pipe is not a failure.
    fn write(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

fn value(at: Duration, all: &BTreeMap<StreamId, ConnectionStats>, rate: impl Fn(&StreamId) -> f64) -> Value {
    let connection = |(stream, now): (&StreamId, &ConnectionStats)| {
        json!({
            "direction": stream.direction(),
            "remote": stream.remote(),
            "bitsPerSecond": rate(stream).round(),
            "figures": now.to_json(),
        })
    };
    json!({
        "type": "figures",
        "seconds": seconds(at),
        "connections": all.iter().map(connection).collect::<Vec<_>>(),
    })
}

fn table(all: &BTreeMap<StreamId, ConnectionStats>, rate: impl Fn(&StreamId) -> f64) -> String {
    let head = format!(
        "{:<24} {:<16} {:>10} {:>9} {:>7} {:>9} {:>5} {:>9} {:>8}\n",
        "", "state", "kbit/s", "packets", "loss", "frames", "keys", "audio", "rtt ms"
    );
    all.iter().fold(head, |text, (stream, now)| text + &row(stream, now, rate(stream)) + "\n")
}

fn row(stream: &StreamId, now: &ConnectionStats, rate: f64) -> String {
    let (packets, lost, frames, keys, audio) = match stream {
        StreamId::Publish => {
            let sent = &now.sent;
            (sent.packets(), sent.lost(), sent.frames, sent.key_frames, sent.audio_frames)
        }
        StreamId::Subscribe(_) => {
            let received = &now.received;
            (received.packets, received.lost, received.frames, received.key_frames, received.audio_frames)
        }
    };
    let round_trip = now.round_trip.map_or("-".into(), |time| format!("{:.1}", millis(time)));
    format!(
        "{:<24} {:<16} {:>10.0} {packets:>9} {:>6.2}% {frames:>9} {keys:>5} {audio:>9} {round_trip:>8}",
        stream.to_string(),
        now.state.name(),
        rate / 1000.0,
        percent(lost, packets),
    )
}

/// Loss in percent.
pub fn percent(lost: u64, received: u64) -> f64 {
    let total = lost + received;
    if total == 0 { 0.0 } else { 100.0 * lost as f64 / total as f64 }
}

/// Untrusted text, without control characters and at most 200 characters long.
pub fn sanitize(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn streams() -> BTreeMap<StreamId, ConnectionStats> {
        let mut stats = ConnectionStats::new(Instant::now());
        stats.received.bytes = 125_000;
        stats.received.packets = 99;
        stats.received.lost = 1;
        stats.received.frames = 30;
        BTreeMap::from([(StreamId::Subscribe("AbC".into()), stats)])
    }

    fn printed(form: OutputFormat, terminal: bool, print: impl Fn(&mut Printer<'_>)) -> String {
        let mut out = Vec::new();
        print(&mut Printer::new(&mut out, form, terminal));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_is_one_value_a_line() {
        let text = printed(OutputFormat::Json, true, |printer| {
            printer.joined("me", "s");
            printer.stats(Duration::from_secs(2), &streams());
        });
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0], json!({"type": "joined", "participantId": "me", "stageId": "s"}));
        let connection = &lines[1]["connections"][0];
        assert_eq!(connection["remote"], "AbC");
        assert_eq!(connection["bitsPerSecond"], 500_000.0);
        assert_eq!(connection["figures"]["received"]["lost"], 1);
    }

    #[test]
    fn a_terminal_gets_a_redrawn_table_and_other_outputs_get_lines() {
        let twice = |printer: &mut Printer<'_>| {
            printer.stats(Duration::from_secs(1), &streams());
            printer.stats(Duration::from_millis(1001), &streams());
        };
        assert!(printed(OutputFormat::Human, true, twice).contains("\x1b[2A\x1b[J"));
        let lines = printed(OutputFormat::Human, false, twice);
        assert!(!lines.contains('\x1b') && lines.lines().count() == 2, "{lines}");
        assert!(lines.contains("1.00%"), "{lines}");
        assert!(
            lines.lines().all(|line| line.contains(" 1000 ")),
            "rates are not computed over short intervals: {lines}"
        );
    }

    #[test]
    fn control_characters_are_removed() {
        let error = ServiceError { code: "X".into(), message: "\x1b]0;boo\x07".into() };
        let text = printed(OutputFormat::Human, true, |printer| printer.error(None, &error));
        assert!(!text.contains('\x1b') && text.contains("boo"), "{text:?}");
    }
}
