//! Estimates from a receiver's feedback how much its network carries.
//!
//! A queue in the network shows as delay that exceeds the shortest delay seen, a policer as loss: then the estimate is what arrives.
//! Random loss and jitter alone are no congestion: of the packets of a fifth of a second, the fastest counts. That the network
//! carries more shows only if more is sent, by a probe: a short train of packets, whose rate is measured at both ends.

mod feedback;

pub(crate) use feedback::{Feedback, parse_rtcp};

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a network is assumed to carry at first.
const INITIAL_ESTIMATE: u64 = 600_000;
/// How long the packets of a probe are sent, and how long feedback on them may take.
const PROBE: (Duration, Duration) = (Duration::from_millis(60), Duration::from_secs(1));
/// The fewest packets of a train, and the shortest time in which they are sent.
const TRAIN: (usize, Duration) = (6, Duration::from_millis(10));
/// The share of the rate of a train that is taken as what the network carries, if it arrived more slowly than it was sent, in percent.
const SATURATED: u64 = 95;
/// Delay above the shortest from which the network's queue counts as building up.
const MAX_QUEUE: Duration = Duration::from_millis(60);
/// Share of lost packets, in percent, from which loss counts as congestion: more than repair can cope with.
const MAX_LOSS: usize = 25;
/// The window of the shortest current delay.
const DELAY_WINDOW: Duration = Duration::from_millis(200);
/// Delay above the shortest of a packet that had to queue.
const QUEUED: Duration = Duration::from_millis(20);
/// The window of the received rate, at least and at most.
const MIN_RATE_WINDOW: Duration = Duration::from_millis(100);
const RATE_WINDOW: Duration = Duration::from_millis(350);
/// The window of the loss, and the fewest packets that it must have.
const LOSS_WINDOW: (Duration, usize) = (Duration::from_millis(500), 40);
/// The share of the received rate that is taken as what the network carries, in percent: its queue has to drain.
const RATE_SHARE: u64 = 90;
/// Time between two measurements of the same congestion, and the delay by which the queue must have shrunk by then.
const REPEAT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(15));
/// The shortest delay is that of the last one to two periods of this length, as routes and clocks change.
const BASE_PERIOD: Duration = Duration::from_secs(10);
/// How long a sent packet is kept for its feedback, and how many at most.
const SENT_KEPT: (Duration, usize) = (Duration::from_secs(2), 8_192);
/// Most numbers in a row that may be skipped.
const MAX_SKIPPED: u16 = 256;
/// Measurements in a row of a queue that neither grows nor shrinks, after which its delay is taken as that of the route.
const MAX_REPEATS: u32 = 4;

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    bytes: usize,
    /// Whether it was reported as lost, and whether nothing more is expected of it. A packet that is late is reported again.
    lost: bool,
    reported: bool,
}

#[derive(Clone, Copy, Debug)]
struct Received {
    /// On the receiver's clock.
    at: Duration,
    sent: Instant,
    /// Arrival after sending, plus a constant.
    delay: i64,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    start: Instant,
    bitrate: u64,
}

#[derive(Debug)]
pub(crate) struct BandwidthEstimator {
    /// Bits per second.
    estimate: u64,
    started: Instant,
    /// By transport-wide sequence number, without gaps.
    sent: VecDeque<Sent>,
    first_number: u16,
    received: VecDeque<Received>,
    /// When a report of a packet came, and whether the packet was lost.
    reports: VecDeque<(Instant, bool)>,
    /// The shortest delays of the former and the current period, and when that began.
    base: (Option<i64>, Option<i64>),
    period_start: Instant,
    /// When congestion was measured last, and the delay then.
    measured: Option<(Instant, i64)>,
    /// How often it was measured with about the same delay.
    repeats: u32,
    /// The last probe, until its result is complete.
    probe: Option<Probe>,
}

impl BandwidthEstimator {
    pub(crate) fn new(now: Instant) -> BandwidthEstimator {
        BandwidthEstimator {
            estimate: INITIAL_ESTIMATE,
            started: now,
            sent: VecDeque::new(),
            first_number: 0,
            received: VecDeque::new(),
            reports: VecDeque::new(),
            base: (None, None),
            period_start: now,
            measured: None,
            repeats: 0,
            probe: None,
        }
    }

    /// Records a sent packet. `number`: its transport-wide sequence number.
    pub(crate) fn record_sent(&mut self, now: Instant, number: u16, bytes: usize) {
        let expected = self.first_number.wrapping_add(self.sent.len() as u16);
        // Numbers of packets that were not sent after all.
        let skipped = number.wrapping_sub(expected);
        if skipped > MAX_SKIPPED {
            self.sent.clear();
        }
        if self.sent.is_empty() {
            self.first_number = number;
        } else {
            self.sent.extend((0..skipped).map(|_| Sent { at: now, bytes: 0, lost: false, reported: true }));
        }
        self.sent.push_back(Sent { at: now, bytes, lost: false, reported: false });
        let is_old = |sent: &Sent| now.saturating_duration_since(sent.at) > SENT_KEPT.0;
        while self.sent.len() > SENT_KEPT.1 || self.sent.front().is_some_and(is_old) {
            self.sent.pop_front();
            self.first_number = self.first_number.wrapping_add(1);
        }
    }

    /// Bits per second that the network carries.
    pub(crate) fn estimate(&self) -> u64 {
        self.estimate
    }

    /// A probe begins: what is sent now has this many bits per second or more.
    pub(crate) fn start_probe(&mut self, now: Instant, bitrate: u64) {
        self.probe = Some(Probe { start: now, bitrate });
    }

    /// Whether the packets of the last probe have been sent.
    pub(crate) fn is_probe_sent(&self, now: Instant) -> bool {
        self.probe.is_none_or(|probe| now.saturating_duration_since(probe.start) > PROBE.0)
    }

    /// Records feedback. Returns the new estimate, if there is one.
    pub(crate) fn record_feedback(&mut self, now: Instant, feedback: &Feedback) -> Option<u64> {
        for (number, arrival) in feedback.packets() {
            let index = number.wrapping_sub(self.first_number);
            let Some(sent) = self.sent.get_mut(usize::from(index)).filter(|sent| !sent.reported) else { continue };
            let Some(arrival) = arrival else {
                // Counted once, as a client can report it any number of times.
                if !std::mem::replace(&mut sent.lost, true) {
                    self.reports.push_back((now, true));
                }
                continue;
            };
            self.reports.push_back((now, false));
            sent.reported = true;
            let sent_after = sent.at.saturating_duration_since(self.started);
            let delay = arrival.as_micros() as i64 - sent_after.as_micros() as i64;
            self.received.push_back(Received { at: arrival, sent: sent.at, delay, bytes: sent.bytes });
        }
        self.forget_old(now);
        let estimate = match (self.measure_congestion(now), self.measure_train(now)) {
            (Some(measured), _) => measured,
            (None, Some(measured)) => measured.max(self.estimate),
            (None, None) => self.estimate,
        };
        let is_changed = estimate != self.estimate;
        self.estimate = estimate;
        is_changed.then_some(estimate)
    }

    /// The rate at which the network carried the packets of a probe: of those that were sent fast enough, the longest train.
    fn measure_train(&mut self, now: Instant) -> Option<u64> {
        let Probe { start, bitrate } = self.probe?;
        if now.saturating_duration_since(start) > PROBE.1 {
            self.probe = None;
        }
        let is_part = |received: &&Received| received.sent >= start && received.sent - start <= PROBE.0;
        let mut packets: Vec<&Received> = self.received.iter().filter(is_part).collect();
        packets.sort_by_key(|received| received.sent);
        let (mut longest, mut measured) = (Duration::ZERO, None);
        for first in 0..packets.len() {
            let mut bytes = 0;
            for last in first + 1..packets.len() {
                // A packet's bytes are sent after its time, and have arrived by it.
                bytes += packets[last].bytes;
                let time = packets[last].sent - packets[first].sent;
                if last - first + 1 < TRAIN.0 || time < TRAIN.1 || time < longest {
                    continue;
                }
                let sent = rate(bytes + packets[first].bytes - packets[last].bytes, time).unwrap_or(0);
                if sent < bitrate * 9 / 10 {
                    continue;
                }
                let arrival = packets[last].at.saturating_sub(packets[first].at);
                let received = rate(bytes, arrival).unwrap_or(u64::MAX);
                longest = time;
                measured = Some(if received * 10 < sent * 9 { received * SATURATED / 100 } else { received.min(sent) });
            }
        }
        measured
    }

    fn forget_old(&mut self, now: Instant) {
        let newest = self.received.iter().map(|received| received.at).max().unwrap_or_default();
        // Arrivals are what the client says: all of them can be at the same time.
        let is_kept = |received: &Received| now.saturating_duration_since(received.sent) <= SENT_KEPT.0;
        self.received.retain(|received| is_kept(received) && newest.saturating_sub(received.at) <= RATE_WINDOW);
        while self.reports.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > LOSS_WINDOW.0) {
            self.reports.pop_front();
        }
    }

    fn measure_congestion(&mut self, now: Instant) -> Option<u64> {
        let newest = self.received.iter().map(|received| received.at).max()?;
        let current = self.received.iter().filter(|received| newest - received.at <= DELAY_WINDOW);
        let delay = current.map(|received| received.delay).min()?;
        let queue = self.queue(now, delay);
        let lost = self.reports.iter().filter(|(_, lost)| *lost).count();
        let is_lossy = self.reports.len() >= LOSS_WINDOW.1 && lost * 100 > self.reports.len() * MAX_LOSS;
        if queue <= MAX_QUEUE && !is_lossy {
            (self.measured, self.repeats) = (None, 0);
            return None;
        }
        if let Some((at, former)) = self.measured {
            if now.saturating_duration_since(at) < REPEAT.0 {
                return None;
            }
            let change = REPEAT.1.as_micros() as i64;
            if former - delay >= change {
                self.measured = Some((now, delay));
                return None;
            }
            self.repeats = if delay - former >= change { 0 } else { self.repeats + 1 };
            if self.repeats >= MAX_REPEATS {
                self.base = (None, Some(delay));
            }
        }
        // What had to queue came at the rate of the network.
        let is_queue = queue > MAX_QUEUE;
        let from = delay - queue.as_micros() as i64 + QUEUED.as_micros() as i64;
        let counted = self.received.iter().filter(|received| !is_queue || received.delay >= from);
        let oldest = counted.clone().min_by_key(|received| received.at)?;
        let window = newest - oldest.at;
        if window < MIN_RATE_WINDOW {
            return None;
        }
        self.measured = Some((now, delay));
        let bytes = counted.map(|received| received.bytes).sum::<usize>() - oldest.bytes;
        Some(rate(bytes, window)? * RATE_SHARE / 100)
    }

    /// The delay above the shortest one.
    fn queue(&mut self, now: Instant, delay: i64) -> Duration {
        if now.saturating_duration_since(self.period_start) >= BASE_PERIOD {
            self.base = (self.base.1, None);
            self.period_start = now;
        }
        let shortest = |known: Option<i64>| known.map_or(delay, |known| known.min(delay));
        self.base.1 = Some(shortest(self.base.1));
        let base = self.base.0.map_or(shortest(self.base.1), |former| former.min(shortest(self.base.1)));
        Duration::from_micros((delay - base).max(0) as u64)
    }
}

/// Bits per second.
fn rate(bytes: usize, time: Duration) -> Option<u64> {
    (bytes as u64 * 8_000_000).checked_div(time.as_micros() as u64)
}

#[cfg(test)]
mod tests;
