//! What `greenroom load` has found out.

use super::figures::{Figures, State, millis, seconds};
use super::process::Sample;
use super::view::{percent, plain};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How a load went: numbers of participants, failures, and the figures of all connections.
#[derive(Debug, Default)]
pub struct Report {
    /// How many were to publish, and how many did.
    pub publishers: (u32, u32),
    /// How many were to subscribe, and how many did.
    pub subscribers: (u32, u32),
    /// What went wrong, and how often.
    pub failures: BTreeMap<String, u32>,
    /// Those of what was published when everybody had joined, and at the end.
    pub sent: (Vec<Figures>, Vec<Figures>),
    /// Those of subscriptions, likewise.
    pub received: (Vec<Figures>, Vec<Figures>),
    /// Time between the two.
    pub held: Duration,
    /// The server's process, likewise.
    pub server: Option<(Sample, Sample)>,
    /// This process, likewise.
    pub client: Option<(Sample, Sample)>,
}

/// Sums over connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    packets: u64,
    lost: u64,
    bytes: u64,
    datagrams: u64,
    frames: u64,
    key_frames: u64,
    audio_frames: u64,
    asked: u64,
}

impl Sums {
    fn received(all: &[Figures]) -> Sums {
        all.iter().fold(Sums::default(), |sums, figures| {
            let received = &figures.received;
            Sums {
                packets: sums.packets + received.packets,
                lost: sums.lost + received.lost,
                bytes: sums.bytes + received.bytes,
                datagrams: sums.datagrams + received.datagrams,
                frames: sums.frames + received.frames,
                key_frames: sums.key_frames + received.key_frames,
                audio_frames: sums.audio_frames + received.audio_frames,
                asked: sums.asked + received.nacks(),
            }
        })
    }

    fn sent(all: &[Figures]) -> Sums {
        all.iter().fold(Sums::default(), |sums, figures| {
            let sent = &figures.sent;
            Sums {
                packets: sums.packets + sent.packets(),
                lost: sums.lost + sent.lost(),
                bytes: sums.bytes + sent.bytes,
                datagrams: sums.datagrams + sent.datagrams,
                frames: sums.frames + sent.frames,
                key_frames: sums.key_frames + sent.key_frames,
                audio_frames: sums.audio_frames + sent.audio_frames,
                asked: sums.asked + sent.key_frames_asked,
            }
        })
    }

    fn to_json(self, before: Sums, held: Duration, asked: &str) -> Value {
        let held = held.as_secs_f64();
        let rate = |now: u64, before: u64| {
            if held == 0.0 { 0.0 } else { (now.saturating_sub(before) as f64 / held).round() }
        };
        json!({
            "packets": self.packets,
            "lost": self.lost,
            "lossPercent": (percent(self.lost, self.packets) * 1000.0).round() / 1000.0,
            "bits": self.bytes * 8,
            "datagrams": self.datagrams,
            "frames": self.frames,
            "keyFrames": self.key_frames,
            "audioFrames": self.audio_frames,
            asked: self.asked,
            "bitsPerSecond": rate(self.bytes * 8, before.bytes * 8),
            "datagramsPerSecond": rate(self.datagrams, before.datagrams),
            "framesPerSecond": rate(self.frames, before.frames),
        })
    }
}

/// The median, the 99th percentile and the largest of some times, in milliseconds; `null` without any.
fn spread(times: impl Iterator<Item = Duration>) -> Value {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    // The nearest rank: the smallest that so many of a hundred do not exceed.
    let rank = |percent: usize| (times.len() * percent).div_ceil(100).checked_sub(1);
    let at = |percent: usize| rank(percent).and_then(|n| times.get(n)).copied().map(millis);
    json!({"p50": at(50), "p99": at(99), "max": at(100), "count": times.len()})
}

fn usage(samples: &Option<(Sample, Sample)>) -> Option<Value> {
    let (before, after) = samples.as_ref()?;
    Some(json!({
        "cpuPercent": (after.percent_since(before) * 10.0).round() / 10.0,
        "residentBytes": after.resident.0,
        "residentBytesMost": after.resident.1,
    }))
}

impl Report {
    /// How many did not join.
    pub fn missing(&self) -> u32 {
        let missing = |(asked, joined): (u32, u32)| asked.saturating_sub(joined);
        missing(self.publishers) + missing(self.subscribers)
    }

    /// As JSON; the names are documented.
    pub fn to_json(&self) -> Value {
        let dropped = |all: &[Figures]| all.iter().filter(|figures| figures.state != State::Connected).count();
        let (sent, received) = (&self.sent.1, &self.received.1);
        json!({
            "type": "report",
            "heldSeconds": seconds(self.held),
            "publishers": {"asked": self.publishers.0, "joined": self.publishers.1, "dropped": dropped(sent)},
            "subscribers": {"asked": self.subscribers.0, "joined": self.subscribers.1},
            "subscriptions": {"connected": received.len(), "dropped": dropped(received)},
            "failures": self.failures,
            "publishJoinMs": spread(sent.iter().filter_map(Figures::join_time)),
            "subscribeJoinMs": spread(received.iter().filter_map(Figures::join_time)),
            "keyFrameWaitMs": spread(received.iter().filter_map(Figures::key_frame_wait)),
            "sent": Sums::sent(sent).to_json(Sums::sent(&self.sent.0), self.held, "keyFramesAsked"),
            "received": Sums::received(received).to_json(Sums::received(&self.received.0), self.held, "nacks"),
            "server": usage(&self.server),
            "client": usage(&self.client),
        })
    }

    /// As lines for people.
    pub fn to_text(&self) -> String {
        let all = self.to_json();
        let mut text = format!("Held for {} s.\n\n", all["heldSeconds"]);
        let mut line = |name: &str, said: String| text += &format!("  {name:<22}{said}\n");
        for (name, who) in [("publishers", "publishers"), ("subscribers", "subscribers")] {
            line(name, format!("{} of {} joined", all[who]["joined"], all[who]["asked"]));
        }
        let subscriptions = &all["subscriptions"];
        line("subscriptions", format!("{}, {} dropped", subscriptions["connected"], subscriptions["dropped"]));
        for (code, count) in &self.failures {
            line("failed", format!("{count} × {}", plain(code)));
        }
        for (name, key) in [
            ("publish join", "publishJoinMs"),
            ("subscribe join", "subscribeJoinMs"),
            ("key-frame wait", "keyFrameWaitMs"),
        ] {
            let times = &all[key];
            if times["count"] == 0 {
                line(name, "none".into());
                continue;
            }
            line(name, format!("p50 {} ms, p99 {} ms, max {} ms", times["p50"], times["p99"], times["max"]));
        }
        for name in ["sent", "received"] {
            let sums = &all[name];
            let megabits = sums["bitsPerSecond"].as_f64().unwrap_or_default() / 1e6;
            line(
                name,
                format!(
                    "{megabits:.2} Mbit/s, {} datagrams/s; {} packets, {} lost ({} %); {} frames, {} key frames, {} of audio",
                    sums["datagramsPerSecond"],
                    sums["packets"],
                    sums["lost"],
                    sums["lossPercent"],
                    sums["frames"],
                    sums["keyFrames"],
                    sums["audioFrames"],
                ),
            );
        }
        for name in ["server", "client"] {
            let usage = &all[name];
            if let Some(bytes) = usage["residentBytes"].as_u64() {
                line(name, format!("{} % of a processor, {} MiB", usage["cpuPercent"], bytes / 1024 / 1024));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn ms(all: &[u64]) -> impl Iterator<Item = Duration> {
        all.iter().map(|ms| Duration::from_millis(*ms))
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(spread(ms(&hundred)), json!({"p50": 50.0, "p99": 99.0, "max": 100.0, "count": 100}));
        assert_eq!(spread(ms(&[7, 3])), json!({"p50": 3.0, "p99": 7.0, "max": 7.0, "count": 2}));
        assert_eq!(spread(ms(&[])), json!({"p50": null, "p99": null, "max": null, "count": 0}));
    }

    #[test]
    fn what_was_not_measured_is_not_printed_as_null() {
        let text = Report { publishers: (1, 0), subscribers: (3, 0), ..Report::default() }.to_text();
        assert!(text.contains("0 of 3 joined") && text.contains("publish join          none"), "{text}");
        assert!(!text.contains("null"), "{text}");
    }

    #[test]
    fn rates_are_of_the_time_that_was_held_and_totals_of_all() {
        let now = Instant::now();
        let with = |bytes, packets, lost| {
            let mut figures = Figures::new(now);
            figures.received.bytes = bytes;
            figures.received.packets = packets;
            figures.received.lost = lost;
            figures
        };
        let report = Report {
            subscribers: (3, 2),
            received: (vec![with(100, 1, 0); 2], vec![with(1100, 98, 2); 2]),
            held: Duration::from_secs(4),
            failures: BTreeMap::from([("QUOTA_EXCEEDED".into(), 1)]),
            ..Report::default()
        };
        let json = report.to_json();
        assert_eq!(json["received"]["bits"], 17_600);
        assert_eq!(json["received"]["bitsPerSecond"], 4000.0);
        assert_eq!(json["received"]["lossPercent"], 2.0);
        assert_eq!(json["subscriptions"], json!({"connected": 2, "dropped": 2}), "they never connected");
        assert_eq!(report.missing(), 1);
        assert!(report.to_text().contains("1 × QUOTA_EXCEEDED"), "{}", report.to_text());
    }
}
