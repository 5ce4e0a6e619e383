//! The emulated link on a virtual clock.

use greenroom_netem::{DropReason, Link, Profile};
use std::time::{Duration, Instant};

const PACKET: usize = 1_250;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn profile(text: &str) -> Profile {
    text.parse().unwrap()
}

/// Dropped packets: number and reason.
type Drops = Vec<(u32, DropReason)>;

/// Sends one packet of 10,000 bits every `interval`; returns the arrivals as (number, time) and the dropped packets.
fn run(link: &mut Link<u32>, start: Instant, packets: u32, interval: Duration) -> (Vec<(u32, Duration)>, Drops) {
    let (mut arrivals, mut drops) = (Vec::new(), Vec::new());
    for number in 0..packets {
        let now = start + interval * number;
        receive(link, start, now, &mut arrivals);
        if let Err(reason) = link.push(now, number, PACKET) {
            drops.push((number, reason));
        }
    }
    receive(link, start, start + Duration::from_secs(3_600), &mut arrivals);
    (arrivals, drops)
}

fn receive(link: &mut Link<u32>, start: Instant, until: Instant, arrivals: &mut Vec<(u32, Duration)>) {
    while let Some(at) = link.next_deadline().filter(|at| *at <= until) {
        arrivals.extend(link.pop(at).map(|number| (number, at - start)));
    }
}

#[test]
fn a_perfect_link_delivers_at_once_and_in_order() {
    let start = Instant::now();
    let (arrivals, drops) = run(&mut Link::new(Profile::PERFECT, 1), start, 3, ms(1));
    assert_eq!(arrivals, [(0, ms(0)), (1, ms(1)), (2, ms(2))]);
    assert_eq!(drops, []);
}

#[test]
fn the_lost_packets_follow_from_the_seed() {
    let lost = |seed| run(&mut Link::new(profile("loss=20%"), seed), Instant::now(), 5_000, ms(1)).1;
    assert_eq!(lost(1), lost(1));
    assert_ne!(lost(1), lost(2));
    assert!((900..=1_100).contains(&lost(1).len()), "{}", lost(1).len());
    let mut link = Link::new(profile("loss=20%"), 1);
    let first = run(&mut link, Instant::now(), 100, ms(1)).1;
    link.reseed(1);
    assert_eq!(run(&mut link, Instant::now(), 100, ms(1)).1, first);
}

#[test]
fn bursts_have_the_given_share_and_mean_length() {
    let (_, drops) = run(&mut Link::new(profile("loss=5%,burst=4"), 3), Instant::now(), 100_000, ms(1));
    let bursts = 1 + drops.windows(2).filter(|pair| pair[0].0 + 1 != pair[1].0).count();
    let (share, length) = (drops.len() as f64 / 100_000.0, drops.len() as f64 / bursts as f64);
    assert!((0.045..=0.055).contains(&share), "{share}");
    assert!((3.7..=4.3).contains(&length), "{length}");
}

#[test]
fn everything_can_be_lost() {
    for text in ["loss=100%", "loss=100%,burst=5"] {
        assert_eq!(run(&mut Link::new(profile(text), 1), Instant::now(), 100, ms(1)).1.len(), 100);
    }
}

#[test]
fn packets_are_duplicated() {
    let (arrivals, _) = run(&mut Link::new(profile("duplication=10%"), 1), Instant::now(), 10_000, ms(1));
    assert!((10_900..=11_100).contains(&arrivals.len()), "{}", arrivals.len());
}

#[test]
fn jitter_keeps_the_order_unless_reordering_is_on() {
    let start = Instant::now();
    let delays = |text| {
        let (arrivals, _) = run(&mut Link::new(profile(text), 5), start, 5_000, ms(5));
        let delays: Vec<_> =
            arrivals.iter().map(|(number, at)| at.as_millis() as i64 - i64::from(*number) * 5).collect();
        (arrivals.windows(2).filter(|pair| pair[0].0 > pair[1].0).count(), delays)
    };
    let (overtaken, kept) = delays("delay=100ms,jitter=30ms");
    assert_eq!(overtaken, 0);
    let (overtaken, mixed) = delays("delay=100ms,jitter=30ms,reorder");
    assert!(overtaken > 1_000, "{overtaken}");
    for delays in [kept, mixed] {
        assert!(delays.iter().all(|delay| (70..=130).contains(delay)), "{:?}", delays.iter().max());
        assert!(delays.iter().any(|delay| *delay < 80) && delays.iter().any(|delay| *delay > 120));
    }
}

#[test]
fn delayed_packets_are_not_overtaken_when_the_delay_changes() {
    let start = Instant::now();
    let mut link = Link::new(profile("delay=200ms"), 1);
    link.push(start, 1, PACKET).unwrap();
    link.set_profile(start, profile("delay=50ms"));
    link.push(start + ms(100), 2, PACKET).unwrap();
    assert_eq!(link.next_deadline(), Some(start + ms(200)));
    assert_eq!(link.pop(start + ms(199)), None);
    assert_eq!([link.pop(start + ms(200)), link.pop(start + ms(200))], [Some(1), Some(2)]);
    link.push(start + ms(201), 3, PACKET).unwrap();
    assert_eq!(link.next_deadline(), Some(start + ms(251)));
}

#[test]
fn the_rate_spaces_packets_and_the_queue_is_bounded_by_time() {
    // 10,000 bits at 1 Mbit/s take 10 ms; packets come every 5 ms.
    let (arrivals, drops) =
        run(&mut Link::new(profile("rate=1M,queue=100ms,delay=20ms"), 1), Instant::now(), 1_000, ms(5));
    assert_eq!(&arrivals[..3], [(0, ms(30)), (1, ms(40)), (2, ms(50))]);
    assert!(arrivals.windows(2).all(|pair| pair[1].1 - pair[0].1 == ms(10)));
    let waited = |(number, at): &(u32, Duration)| *at - ms(5) * *number - ms(30);
    assert_eq!(arrivals.iter().map(waited).max(), Some(ms(100)));
    assert!((480..=500).contains(&drops.len()), "{}", drops.len());
    assert!(drops.iter().all(|(_, reason)| *reason == DropReason::QueueFull));
}

#[test]
fn a_packet_passes_an_empty_queue_at_any_rate() {
    let mut link = Link::new(profile("rate=1k,queue=0ms"), 1);
    assert_eq!(link.push(Instant::now(), 1, PACKET), Ok(()));
    assert_eq!(link.push(Instant::now(), 2, PACKET), Err(DropReason::QueueFull));
}

#[test]
fn the_rate_changes_at_scheduled_times() {
    let start = Instant::now();
    let mut link = Link::new(profile("rate=4M"), 1);
    link.schedule(start + Duration::from_secs(1), profile("rate=1M"));
    link.schedule(start + Duration::from_secs(2), profile("rate=4M"));
    let (arrivals, _) = run(&mut link, start, 3_000, ms(1));
    let megabits = |second| arrivals.iter().filter(|(_, at)| at.as_secs() == second).count() as f64 / 100.0;
    for (second, rate) in [(0, 4.0), (1, 1.0), (2, 4.0)] {
        assert!((megabits(second) - rate).abs() < 0.05, "{second}: {} Mbit/s", megabits(second));
    }
}

#[test]
fn queued_packets_leave_at_once_when_the_limit_is_removed() {
    let start = Instant::now();
    let mut link = Link::new(profile("rate=8k,queue=10s"), 1);
    (0..3).for_each(|number| link.push(start, number, PACKET).unwrap());
    link.set_profile(start + ms(1), Profile::PERFECT);
    assert_eq!(link.next_deadline(), Some(start + ms(1)));
    assert_eq!([0; 3].map(|_| link.pop(start + ms(1))), [Some(0), Some(1), Some(2)]);
    assert_eq!(link.next_deadline(), None);
}

#[test]
fn the_packets_on_a_link_are_bounded_and_given_back() {
    let mut link = Link::new(profile("delay=10s"), 1);
    let accepted = (0..10_000).filter(|number| link.push(Instant::now(), *number, PACKET).is_ok()).count();
    assert_eq!(link.into_packets().count(), accepted);
    assert_eq!(accepted, 8_192);
}
