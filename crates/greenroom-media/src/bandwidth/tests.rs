use super::feedback::Feedback;
use super::*;

/// A link with a queue, and a receiver that reports every 50 ms.
struct Link {
    start: Instant,
    now: Duration,
    estimator: BandwidthEstimator,
    rate: u64,
    max_queue: Duration,
    /// Until when the link is busy.
    busy: Duration,
    /// Of the packets sent since the last report.
    arrivals: Vec<Option<Duration>>,
    next_number: u16,
    random: fastrand::Rng,
    loss: f64,
    delay: Duration,
    jitter: Duration,
}

impl Link {
    fn new(rate: u64) -> Link {
        let start = Instant::now();
        Link {
            start,
            now: Duration::ZERO,
            estimator: BandwidthEstimator::new(start),
            rate,
            max_queue: Duration::from_millis(200),
            busy: Duration::ZERO,
            arrivals: Vec::new(),
            next_number: 60_000,
            random: fastrand::Rng::with_seed(7),
            loss: 0.0,
            delay: Duration::from_millis(20),
            jitter: Duration::ZERO,
        }
    }

    /// Sends packets of 1,000 bytes evenly for a time; returns what was measured, and when.
    fn send(&mut self, bitrate: u64, time: Duration) -> Vec<(Duration, u64)> {
        let end = self.now + time;
        let interval = Duration::from_secs_f64(8_000.0 / bitrate as f64);
        let (mut next_report, mut measured) = (self.now + Duration::from_millis(50), Vec::new());
        while self.now < end {
            self.estimator.record_sent(self.start + self.now, self.next_number, 1_000);
            self.next_number = self.next_number.wrapping_add(1);
            let start = self.busy.max(self.now);
            let is_lost = start - self.now > self.max_queue || self.random.f64() < self.loss;
            self.arrivals.push((!is_lost).then(|| {
                self.busy = start + Duration::from_secs_f64(8_000.0 / self.rate as f64);
                self.busy + self.delay + self.jitter.mul_f64(self.random.f64())
            }));
            self.now += interval;
            if self.now >= next_report {
                next_report += Duration::from_millis(50);
                let arrivals = std::mem::take(&mut self.arrivals);
                let first = self.next_number.wrapping_sub(arrivals.len() as u16);
                // Feedback takes another 30 ms.
                let at = self.now + Duration::from_millis(30);
                let feedback = Feedback::new(first, arrivals);
                measured.extend(self.estimator.record_feedback(self.start + at, &feedback).map(|rate| (at, rate)));
            }
        }
        measured
    }
}

#[test]
fn the_rate_of_a_congested_link_is_measured_within_half_a_second() {
    for rate in [1_500_000, 600_000, 300_000] {
        let mut link = Link::new(10_000_000);
        assert_eq!(link.send(1_900_000, Duration::from_secs(15)), []);
        link.rate = rate;
        let capped = link.now;
        let measured = link.send(1_900_000, Duration::from_secs(1));
        let (at, first) = measured[0];
        assert!(at - capped < Duration::from_millis(500), "{rate}: {:?}", at - capped);
        assert!((rate * 8 / 10..rate * 12 / 10).contains(&first), "{rate}: {first}");
        // The queue drains.
        assert!(link.send(rate / 2, Duration::from_secs(3)).len() <= 1, "{rate}");
        assert_eq!(link.send(rate / 2, Duration::from_secs(20)), [], "{rate}");
    }
}

#[test]
fn jitter_and_random_loss_are_no_congestion() {
    let mut link = Link::new(10_000_000);
    (link.jitter, link.loss) = (Duration::from_millis(60), 0.10);
    assert_eq!(link.send(1_900_000, Duration::from_secs(60)), []);
    assert_eq!(link.send(100_000, Duration::from_secs(60)), []);
}

#[test]
fn a_policer_is_congestion() {
    let mut link = Link::new(10_000_000);
    link.loss = 0.5;
    let measured = link.send(2_000_000, Duration::from_secs(2));
    assert!(measured.iter().all(|(_, rate)| (700_000..1_100_000).contains(rate)), "{measured:?}");
    assert!(!measured.is_empty());
}

#[test]
fn a_longer_route_is_congestion_for_a_while_only() {
    let mut link = Link::new(10_000_000);
    assert_eq!(link.send(500_000, Duration::from_secs(5)), []);
    link.delay += Duration::from_millis(100);
    assert!(link.send(500_000, Duration::from_secs(5)).len() <= 5);
    assert_eq!(link.send(500_000, Duration::from_secs(10)), []);
}

#[test]
fn feedback_on_packets_that_were_not_sent_is_ignored() {
    let mut estimator = BandwidthEstimator::new(Instant::now());
    let now = Instant::now();
    let arrivals = vec![Some(Duration::from_secs(5)); 1_000];
    assert_eq!(estimator.record_feedback(now, &Feedback::new(9, arrivals.clone())), None);
    estimator.record_sent(now, 5, 1_000);
    estimator.record_sent(now, 700, 1_000);
    assert_eq!(estimator.record_feedback(now, &Feedback::new(9, arrivals)), None);
    assert_eq!(estimator.reports.len(), 1);
}

#[test]
fn a_probe_finds_the_rate_of_the_link() {
    for (link_rate, bitrate, expected) in
        [(10_000_000, 3_000_000, 2_700_000..3_100_000), (1_500_000, 3_000_000, 1_300_000..1_500_000)]
    {
        let mut link = Link::new(link_rate);
        assert_eq!(link.send(500_000, Duration::from_secs(1)), []);
        link.estimator.start_probe(link.start + link.now, bitrate);
        assert!(!link.estimator.is_probe_sent(link.start + link.now));
        link.send(bitrate, Duration::from_millis(20));
        link.send(500_000, Duration::from_millis(500));
        assert!(expected.contains(&link.estimator.estimate()), "{}", link.estimator.estimate());
        assert!(link.estimator.is_probe_sent(link.start + link.now));
    }
}

#[test]
fn a_probe_that_was_not_sent_fast_enough_finds_nothing() {
    let mut link = Link::new(10_000_000);
    link.estimator.start_probe(link.start, 4_000_000);
    assert_eq!(link.send(2_000_000, Duration::from_secs(2)), []);
    assert_eq!(link.estimator.estimate(), INITIAL_ESTIMATE);
}

#[test]
fn what_a_client_reports_takes_bounded_memory() {
    let start = Instant::now();
    let mut estimator = BandwidthEstimator::new(start);
    for number in 0..2_000u16 {
        let now = start + Duration::from_millis(2 * u64::from(number));
        estimator.record_sent(now, number, 1_000);
        // Every packet arrived at the same time, and another one is lost again and again.
        let arrival = if number == 1_900 { None } else { Some(Duration::from_secs(1)) };
        estimator.record_feedback(now, &Feedback::new(number, vec![arrival]));
        for _ in 0..2 {
            estimator.record_feedback(now, &Feedback::new(1_900, vec![None]));
        }
    }
    assert!(estimator.received.len() <= 1_001, "{}", estimator.received.len());
    assert!(estimator.reports.len() <= 251, "{}", estimator.reports.len());
    assert_eq!(estimator.reports.iter().filter(|(_, lost)| *lost).count(), 1);
}
