//! The report of `greenroom load`.

use super::printer::{percent, sanitize};
use super::process_stats::ProcessSample;
use super::stats::{ConnectionStats, State, millis, seconds};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The result of a load test. Pairs are of the start and the end of the measurement.
#[derive(Debug, Default)]
pub struct Report {
    /// Requested and joined publishers.
    pub publishers: (u32, u32),
    /// Requested and joined subscribers.
    pub subscribers: (u32, u32),
    /// Failures by error code.
    pub failures: BTreeMap<String, u32>,
    /// Statistics of publications.
    pub sent: (Vec<ConnectionStats>, Vec<ConnectionStats>),
    /// Statistics of subscriptions.
    pub received: (Vec<ConnectionStats>, Vec<ConnectionStats>),
    /// Duration of the measurement.
    pub held: Duration,
    /// The server's process.
    pub server: Option<(ProcessSample, ProcessSample)>,
    /// This process.
    pub client: Option<(ProcessSample, ProcessSample)>,
}

/// Totals over all connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    packets: u64,
    lost: u64,
    bytes: u64,
    datagrams: u64,
    frames: u64,
    key_frames: u64,
    audio_frames: u64,
    /// Key frame requests of sent, NACKs of received streams.
    requests: u64,
}

impl Totals {
    fn received(all: &[ConnectionStats]) -> Totals {
        all.iter().fold(Totals::default(), |totals, stats| {
            let received = &stats.received;
            Totals {
                packets: totals.packets + received.packets,
                lost: totals.lost + received.lost,
                bytes: totals.bytes + received.bytes,
                datagrams: totals.datagrams + received.datagrams,
                frames: totals.frames + received.frames,
                key_frames: totals.key_frames + received.key_frames,
                audio_frames: totals.audio_frames + received.audio_frames,
                requests: totals.requests + received.nacks(),
            }
        })
    }

    fn sent(all: &[ConnectionStats]) -> Totals {
        all.iter().fold(Totals::default(), |totals, stats| {
            let sent = &stats.sent;
            Totals {
                packets: totals.packets + sent.packets(),
                lost: totals.lost + sent.lost(),
                bytes: totals.bytes + sent.bytes,
                datagrams: totals.datagrams + sent.datagrams,
                frames: totals.frames + sent.frames,
                key_frames: totals.key_frames + sent.key_frames,
                audio_frames: totals.audio_frames + sent.audio_frames,
                requests: totals.requests + sent.key_frame_requests,
            }
        })
    }

    fn to_json(self, before: Totals, held: Duration, requests_name: &str) -> Value {
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
            requests_name: self.requests,
            "bitsPerSecond": rate(self.bytes * 8, before.bytes * 8),
            "datagramsPerSecond": rate(self.datagrams, before.datagrams),
            "framesPerSecond": rate(self.frames, before.frames),
        })
    }
}

/// The median, the 99th percentile and the maximum in milliseconds; `null` without values.
fn percentiles(times: impl Iterator<Item = Duration>) -> Value {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    // Nearest-rank method.
    let rank = |percent: usize| (times.len() * percent).div_ceil(100).checked_sub(1);
    let at = |percent: usize| rank(percent).and_then(|n| times.get(n)).copied().map(millis);
    json!({"p50": at(50), "p99": at(99), "max": at(100), "count": times.len()})
}

fn usage(samples: &Option<(ProcessSample, ProcessSample)>) -> Option<Value> {
    let (before, after) = samples.as_ref()?;
    Some(json!({
        "cpuPercent": (after.percent_since(before) * 10.0).round() / 10.0,
        "residentBytes": after.resident.0,
        "residentBytesMost": after.resident.1,
    }))
}

impl Report {
    /// Participants that did not join.
    pub fn missing(&self) -> u32 {
        let missing = |(requested, joined): (u32, u32)| requested.saturating_sub(joined);
        missing(self.publishers) + missing(self.subscribers)
    }

    /// As JSON; `docs/clients/join-and-load.md` documents the names.
    pub fn to_json(&self) -> Value {
        let dropped = |all: &[ConnectionStats]| all.iter().filter(|stats| stats.state != State::Connected).count();
        let (sent, received) = (&self.sent.1, &self.received.1);
        json!({
            "type": "report",
            "heldSeconds": seconds(self.held),
            "publishers": {"asked": self.publishers.0, "joined": self.publishers.1, "dropped": dropped(sent)},
            "subscribers": {"asked": self.subscribers.0, "joined": self.subscribers.1},
            "subscriptions": {"connected": received.len(), "dropped": dropped(received)},
            "failures": self.failures,
            "publishJoinMs": percentiles(sent.iter().filter_map(ConnectionStats::join_time)),
            "subscribeJoinMs": percentiles(received.iter().filter_map(ConnectionStats::join_time)),
            "keyFrameWaitMs": percentiles(received.iter().filter_map(ConnectionStats::key_frame_wait)),
            "sent": Totals::sent(sent).to_json(Totals::sent(&self.sent.0), self.held, "keyFramesAsked"),
            "received": Totals::received(received).to_json(Totals::received(&self.received.0), self.held, "nacks"),
            "server": usage(&self.server),
            "client": usage(&self.client),
        })
    }

    /// As text.
    pub fn to_text(&self) -> String {
        let all = self.to_json();
        let mut text = format!("Held for {} s.\n\n", all["heldSeconds"]);
        let mut line = |name: &str, value: String| text += &format!("  {name:<22}{value}\n");
        for (name, who) in [("publishers", "publishers"), ("subscribers", "subscribers")] {
            line(name, format!("{} of {} joined", all[who]["joined"], all[who]["asked"]));
        }
        let subscriptions = &all["subscriptions"];
        line("subscriptions", format!("{}, {} dropped", subscriptions["connected"], subscriptions["dropped"]));
        for (code, count) in &self.failures {
            line("failed", format!("{count} × {}", sanitize(code)));
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
            let totals = &all[name];
            let megabits = totals["bitsPerSecond"].as_f64().unwrap_or_default() / 1e6;
            line(
                name,
                format!(
                    "{megabits:.2} Mbit/s, {} datagrams/s; {} packets, {} lost ({} %); {} frames, {} key frames, {} of audio",
                    totals["datagramsPerSecond"],
                    totals["packets"],
                    totals["lost"],
                    totals["lossPercent"],
                    totals["frames"],
                    totals["keyFrames"],
                    totals["audioFrames"],
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
    fn percentiles_are_measured_values() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(percentiles(ms(&hundred)), json!({"p50": 50.0, "p99": 99.0, "max": 100.0, "count": 100}));
        assert_eq!(percentiles(ms(&[7, 3])), json!({"p50": 3.0, "p99": 7.0, "max": 7.0, "count": 2}));
        assert_eq!(percentiles(ms(&[])), json!({"p50": null, "p99": null, "max": null, "count": 0}));
    }

    #[test]
    fn missing_measurements_are_not_printed_as_null() {
        let text = Report { publishers: (1, 0), subscribers: (3, 0), ..Report::default() }.to_text();
        assert!(text.contains("0 of 3 joined") && text.contains("publish join          none"), "{text}");
        assert!(!text.contains("null"), "{text}");
    }

    #[test]
    fn rates_cover_the_measurement_and_totals_the_whole_run() {
        let now = Instant::now();
        let with = |bytes, packets, lost| {
            let mut stats = ConnectionStats::new(now);
            stats.received.bytes = bytes;
            stats.received.packets = packets;
            stats.received.lost = lost;
            stats
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
