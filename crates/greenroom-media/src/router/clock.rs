//! The clock of a source: maps RTP timestamps of all its streams to one time line of this process.
//!
//! Sender reports tie a stream's timestamps to the publisher's NTP clock, which its streams share. The offset of that clock
//! is common to all streams, so that an error in it delays sound and picture alike and never one against the other.

use super::packet::{CaptureTime, SenderReport, SourcePacket};
use std::time::{Duration, Instant};

/// How fast the offset may grow: by 200 ppm, more than the clocks of two machines drift apart.
const DRIFT_DIVISOR: u32 = 5_000;
/// Capture times are at most this far in the past; older ones come from an invalid report.
const MAX_AGE: Duration = Duration::from_secs(10);

/// The offset between a source's NTP clock and the clock of this process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SourceClock {
    /// An NTP time and the earliest local time at which a report of it can have been sent.
    anchor: Option<(Duration, Instant)>,
}

/// A stream's last sender report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StreamClock {
    report: Option<SenderReport>,
}

impl SourceClock {
    /// When a packet of a stream was captured; its arrival, if that is unknown or not credible.
    pub(crate) fn capture_time(
        &mut self,
        now: Instant,
        stream: &mut StreamClock,
        packet: &SourcePacket,
        clock_rate: u32,
    ) -> Instant {
        match packet.capture_time {
            CaptureTime::Known(at) if now.saturating_duration_since(at) < MAX_AGE => return at.min(now),
            CaptureTime::Known(_) => return now,
            CaptureTime::Reported(report) => self.update(now, stream, report),
            CaptureTime::Unknown => {}
        }
        self.captured(now, stream, packet.timestamp, clock_rate)
    }

    /// Takes a sender report of one of the streams. The network only ever delays reports, so the earliest arrival counts.
    fn update(&mut self, now: Instant, stream: &mut StreamClock, report: SenderReport) {
        if stream.report.is_some_and(|known| known.ntp == report.ntp) {
            return;
        }
        stream.report = Some(report);
        let expected = self.local_time(report.ntp);
        let elapsed = self.anchor.map_or(Duration::ZERO, |(ntp, _)| report.ntp.saturating_sub(ntp));
        let local = match expected {
            // A clock that was set anew is followed at once.
            Some(expected) if now.saturating_duration_since(expected) < MAX_AGE => {
                (expected + elapsed / DRIFT_DIVISOR).min(now)
            }
            _ => now,
        };
        self.anchor = Some((report.ntp, local));
    }

    fn local_time(&self, ntp: Duration) -> Option<Instant> {
        let (anchor_ntp, anchor) = self.anchor?;
        match ntp.checked_sub(anchor_ntp) {
            Some(later) => anchor.checked_add(later),
            None => anchor.checked_sub(anchor_ntp - ntp),
        }
    }

    /// When a packet of a stream was captured by its last report; its arrival, as long as there is none.
    fn captured(&self, now: Instant, stream: &StreamClock, timestamp: u32, clock_rate: u32) -> Instant {
        let captured = stream.report.and_then(|report| {
            let ticks = i64::from(timestamp.wrapping_sub(report.timestamp) as i32);
            let distance = Duration::from_micros(ticks.unsigned_abs() * 1_000_000 / u64::from(clock_rate));
            let ntp = match ticks < 0 {
                true => report.ntp.checked_sub(distance)?,
                false => report.ntp.checked_add(distance)?,
            };
            self.local_time(ntp)
        });
        match captured {
            Some(captured) if now.saturating_duration_since(captured) < MAX_AGE => captured.min(now),
            _ => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(ntp_ms: u64, timestamp: u32) -> SenderReport {
        SenderReport { ntp: Duration::from_millis(ntp_ms), timestamp }
    }

    #[test]
    fn streams_of_a_source_share_one_offset() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (mut clock, mut audio, mut video) =
            (SourceClock::default(), StreamClock::default(), StreamClock::default());
        // The report of the video arrives 300 ms later than that of the audio.
        clock.update(at(50), &mut audio, report(1_000_000, 48_000));
        clock.update(at(350), &mut video, report(1_000_000, 7));
        assert_eq!(clock.captured(at(400), &audio, 48_000 + 4_800, 48_000), at(150));
        assert_eq!(clock.captured(at(700), &video, 7 + 9_000, 90_000), at(150));
        assert_eq!(clock.captured(at(700), &video, 7u32.wrapping_sub(900), 90_000), at(40));
    }

    #[test]
    fn the_earliest_report_counts_and_drift_is_followed_slowly() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (mut clock, mut stream) = (SourceClock::default(), StreamClock::default());
        clock.update(at(80), &mut stream, report(5_000, 0));
        clock.update(at(1_010), &mut stream, report(6_000, 90_000));
        assert_eq!(clock.captured(at(1_050), &stream, 90_000, 90_000), at(1_010));
        clock.update(at(6_500), &mut stream, report(11_000, 540_000));
        assert_eq!(clock.captured(at(6_600), &stream, 540_000, 90_000), at(6_011), "5 s at 200 ppm");
    }

    #[test]
    fn invalid_reports_fall_back_to_the_arrival() {
        let start = Instant::now() + Duration::from_secs(60);
        let (mut clock, mut stream) = (SourceClock::default(), StreamClock::default());
        assert_eq!(clock.captured(start, &stream, 5, 90_000), start);
        clock.update(start, &mut stream, report(5_000, 0));
        let later = start + Duration::from_secs(20);
        assert_eq!(clock.captured(later, &stream, 90, 90_000), later, "20 s old");
        assert_eq!(clock.captured(start, &stream, 90_000, 90_000), start, "in the future");
        // The clock was set back by an hour.
        clock.update(later, &mut stream, SenderReport { ntp: Duration::ZERO, timestamp: 100 });
        assert_eq!(clock.captured(later, &stream, 100, 90_000), later);
    }
}
