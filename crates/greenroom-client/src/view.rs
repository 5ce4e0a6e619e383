//! What `greenroom join` prints: a table that is drawn over and over on a terminal, lines elsewhere, JSON on demand.

use super::events::Participant;
use super::figures::{Figures, millis, seconds};
use super::http::ServiceError;
use crate::options::OutputFormat;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

/// Shortest time that rates are worked out over.
const SHORTEST: Duration = Duration::from_millis(250);

/// Media in one direction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// What this client sends.
    Publish,
    /// What it receives of somebody.
    Subscribe(String),
}

impl Lane {
    fn direction(&self) -> &'static str {
        match self {
            Lane::Publish => "publish",
            Lane::Subscribe(_) => "subscribe",
        }
    }

    fn remote(&self) -> Option<&str> {
        match self {
            Lane::Publish => None,
            Lane::Subscribe(id) => Some(id),
        }
    }
}

impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Lane::Publish => f.write_str("publish"),
            Lane::Subscribe(id) => write!(f, "subscribe {}", plain(id)),
        }
    }
}

/// Where the output goes, and in which form.
pub struct View<'a> {
    out: &'a mut (dyn Write + Send),
    form: OutputFormat,
    /// Whether the table is drawn over itself.
    live: bool,
    /// Lines of the table that was drawn last.
    drawn: usize,
    /// Bytes of each lane when rates were worked out last, and when that was.
    before: (Duration, BTreeMap<Lane, u64>),
    /// Those rates, in bits a second.
    rates: BTreeMap<Lane, f64>,
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("form", &self.form).finish_non_exhaustive()
    }
}

impl<'a> View<'a> {
    /// An output. `terminal` says whether it is one.
    pub fn new(out: &'a mut (dyn Write + Send), form: OutputFormat, terminal: bool) -> View<'a> {
        View {
            out,
            form,
            live: terminal && form == OutputFormat::Human,
            drawn: 0,
            before: Default::default(),
            rates: BTreeMap::new(),
        }
    }

    /// Writes one event; `line` is it in words.
    fn event(&mut self, line: &str, value: &Value) {
        self.wipe();
        match self.form {
            OutputFormat::Human => self.write(&format!("{line}\n")),
            OutputFormat::Json => self.write(&format!("{value}\n")),
        }
    }

    /// Says who joined where.
    pub fn joined(&mut self, participant: &str, stage: &str) {
        let line = format!("{} joins the stage {}", plain(participant), plain(stage));
        self.event(&line, &json!({"type": "joined", "participantId": participant, "stageId": stage}));
    }

    /// Says who is there.
    pub fn stage(&mut self, there: &[Participant]) {
        let entry = |participant: &Participant| {
            json!({
                "id": participant.id,
                "userId": participant.user_id,
                "attributes": participant.attributes,
                "isPublishing": participant.is_publishing,
            })
        };
        let word = |participant: &Participant| {
            format!("{}{}", plain(&participant.id), if participant.is_publishing { " (publishing)" } else { "" })
        };
        let words = there.iter().map(word).collect::<Vec<_>>().join(", ");
        let entries: Vec<_> = there.iter().map(entry).collect();
        self.event(&format!("on the stage: {words}"), &json!({"type": "stage", "participants": entries}));
    }

    /// Says that something was refused, and that the rest goes on.
    pub fn refused(&mut self, lane: Option<&Lane>, refusal: &ServiceError) {
        let ServiceError { code, message } = refusal;
        let what = lane.map_or("events".into(), ToString::to_string);
        let value = json!({
            "type": "refused",
            "direction": lane.map(Lane::direction),
            "remote": lane.and_then(Lane::remote),
            "code": code,
            "message": message,
        });
        self.event(&format!("{what}: {}: {}", plain(code), plain(message)), &value);
    }

    /// Says that a connection is over.
    pub fn ended(&mut self, lane: &Lane, figures: &Figures) {
        let value = json!({
            "type": "ended",
            "direction": lane.direction(),
            "remote": lane.remote(),
            "figures": figures.to_json(),
        });
        self.event(&format!("{lane}: {}", figures.state.name()), &value);
    }

    /// Prints the figures of all connections.
    pub fn figures(&mut self, at: Duration, all: &BTreeMap<Lane, Figures>) {
        if at.saturating_sub(self.before.0) >= SHORTEST {
            self.work_out(at, all);
        }
        let rate = |lane: &Lane| self.rates.get(lane).copied().unwrap_or_default();
        let text = match self.form {
            OutputFormat::Json => format!("{}\n", value(at, all, rate)),
            OutputFormat::Human if self.live => table(all, rate),
            OutputFormat::Human => all.iter().map(|(lane, now)| row(lane, now, rate(lane)) + "\n").collect(),
        };
        self.wipe();
        self.write(&text);
        if self.live {
            self.drawn = text.lines().count();
        }
    }

    /// Works the rates out anew.
    fn work_out(&mut self, at: Duration, all: &BTreeMap<Lane, Figures>) {
        let seconds = at.saturating_sub(self.before.0).as_secs_f64();
        let bytes = |lane: &Lane, now: &Figures| match lane {
            Lane::Publish => now.sent.bytes,
            Lane::Subscribe(_) => now.received.bytes,
        };
        let totals: BTreeMap<Lane, u64> = all.iter().map(|(lane, now)| (lane.clone(), bytes(lane, now))).collect();
        let before = |lane: &Lane| self.before.1.get(lane).copied().unwrap_or_default();
        let rate = |(lane, now): (&Lane, &u64)| (lane.clone(), 8.0 * now.saturating_sub(before(lane)) as f64 / seconds);
        self.rates = totals.iter().map(rate).collect();
        self.before = (at, totals);
    }

    /// Takes the table away that was drawn last.
    fn wipe(&mut self) {
        if self.drawn > 0 {
            let up = format!("\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
            self.write(&up);
        }
    }

    /// A reader that has gone away is no failure.
    fn write(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

fn value(at: Duration, all: &BTreeMap<Lane, Figures>, rate: impl Fn(&Lane) -> f64) -> Value {
    let connection = |(lane, now): (&Lane, &Figures)| {
        json!({
            "direction": lane.direction(),
            "remote": lane.remote(),
            "bitsPerSecond": rate(lane).round(),
            "figures": now.to_json(),
        })
    };
    json!({
        "type": "figures",
        "seconds": seconds(at),
        "connections": all.iter().map(connection).collect::<Vec<_>>(),
    })
}

fn table(all: &BTreeMap<Lane, Figures>, rate: impl Fn(&Lane) -> f64) -> String {
    let head = format!(
        "{:<24} {:<16} {:>10} {:>9} {:>7} {:>9} {:>5} {:>9} {:>8}\n",
        "", "state", "kbit/s", "packets", "loss", "frames", "keys", "audio", "rtt ms"
    );
    all.iter().fold(head, |text, (lane, now)| text + &row(lane, now, rate(lane)) + "\n")
}

fn row(lane: &Lane, now: &Figures, rate: f64) -> String {
    let (packets, lost, frames, keys, audio) = match lane {
        Lane::Publish => {
            let sent = &now.sent;
            (sent.packets(), sent.lost(), sent.frames, sent.key_frames, sent.audio_frames)
        }
        Lane::Subscribe(_) => {
            let received = &now.received;
            (received.packets, received.lost, received.frames, received.key_frames, received.audio_frames)
        }
    };
    let round_trip = now.round_trip.map_or("-".into(), |time| format!("{:.1}", millis(time)));
    format!(
        "{:<24} {:<16} {:>10.0} {packets:>9} {:>6.2}% {frames:>9} {keys:>5} {audio:>9} {round_trip:>8}",
        lane.to_string(),
        now.state.name(),
        rate / 1000.0,
        percent(lost, packets),
    )
}

/// How many of a hundred are lost.
pub fn percent(lost: u64, there: u64) -> f64 {
    let all = lost + there;
    if all == 0 { 0.0 } else { 100.0 * lost as f64 / all as f64 }
}

/// Text of somebody else's, without what a terminal would obey.
pub fn plain(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn lanes() -> BTreeMap<Lane, Figures> {
        let mut figures = Figures::new(Instant::now());
        figures.received.bytes = 125_000;
        figures.received.packets = 99;
        figures.received.lost = 1;
        figures.received.frames = 30;
        BTreeMap::from([(Lane::Subscribe("AbC".into()), figures)])
    }

    fn printed(form: OutputFormat, terminal: bool, print: impl Fn(&mut View<'_>)) -> String {
        let mut out = Vec::new();
        print(&mut View::new(&mut out, form, terminal));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_is_one_value_a_line() {
        let text = printed(OutputFormat::Json, true, |view| {
            view.joined("me", "s");
            view.figures(Duration::from_secs(2), &lanes());
        });
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0], json!({"type": "joined", "participantId": "me", "stageId": "s"}));
        let connection = &lines[1]["connections"][0];
        assert_eq!(connection["remote"], "AbC");
        assert_eq!(connection["bitsPerSecond"], 500_000.0);
        assert_eq!(connection["figures"]["received"]["lost"], 1);
    }

    #[test]
    fn a_terminal_gets_a_table_drawn_over_itself_and_others_get_lines() {
        let twice = |view: &mut View<'_>| {
            view.figures(Duration::from_secs(1), &lanes());
            view.figures(Duration::from_millis(1001), &lanes());
        };
        assert!(printed(OutputFormat::Human, true, twice).contains("\x1b[2A\x1b[J"));
        let lines = printed(OutputFormat::Human, false, twice);
        assert!(!lines.contains('\x1b') && lines.lines().count() == 2, "{lines}");
        assert!(lines.contains("1.00%"), "{lines}");
        assert!(lines.lines().all(|line| line.contains(" 1000 ")), "a moment has no rate of its own: {lines}");
    }

    #[test]
    fn a_terminal_is_not_commanded_by_others() {
        let refusal = ServiceError { code: "X".into(), message: "\x1b]0;boo\x07".into() };
        let text = printed(OutputFormat::Human, true, |view| view.refused(None, &refusal));
        assert!(!text.contains('\x1b') && text.contains("boo"), "{text:?}");
    }
}
