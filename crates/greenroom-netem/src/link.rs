//! One direction of a link.

use crate::Profile;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Maximum packets on a link, queued and delayed; further ones are dropped.
const MAX_PACKETS: usize = 8192;
/// How long a random deviation from the delay applies to all packets, if the order is kept: packets that are sent together
/// arrive together.
const JITTER_PERIOD: Duration = Duration::from_millis(20);

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// At random.
    Lost,
    /// It would have waited longer for the rate than the queue allows, or too many packets are on the link.
    QueueFull,
}

/// One direction of a link with packets of type `T`. Time passed in must not go back.
#[derive(Debug)]
pub struct Link<T> {
    profile: Profile,
    random: fastrand::Rng,
    /// Whether the last packet was lost (the bad state of the Gilbert–Elliott model).
    losing: bool,
    /// Changes of the profile that are not due yet, in the order of time.
    scheduled: VecDeque<(Instant, Profile)>,
    /// Packets that wait for the rate, with their sizes in bytes; the first one is being sent.
    queue: VecDeque<(T, usize)>,
    /// When sending the first packet of the queue began.
    sending_since: Option<Instant>,
    /// Delayed packets by arrival; the number keeps the order of packets that arrive at the same time.
    in_flight: BTreeMap<(Instant, u64), T>,
    sent: u64,
    /// Delay with its random deviation, and how long it applies.
    delay: Option<(Duration, Instant)>,
    last_arrival: Option<Instant>,
}

impl<T: Clone> Link<T> {
    pub fn new(profile: Profile, seed: u64) -> Link<T> {
        Link {
            profile,
            random: fastrand::Rng::with_seed(seed),
            losing: false,
            scheduled: VecDeque::new(),
            queue: VecDeque::new(),
            sending_since: None,
            in_flight: BTreeMap::new(),
            sent: 0,
            delay: None,
            last_arrival: None,
        }
    }

    /// Restarts the random numbers.
    pub fn reseed(&mut self, seed: u64) {
        (self.random, self.losing) = (fastrand::Rng::with_seed(seed), false);
    }

    /// Changes the profile now, and drops scheduled changes. Delayed packets keep their time; packets in the queue are sent at
    /// the new rate.
    pub fn set_profile(&mut self, now: Instant, profile: Profile) {
        self.advance(now);
        self.scheduled.clear();
        self.apply(now, profile);
    }

    /// Changes the profile at a time that is not before changes that are scheduled already.
    pub fn schedule(&mut self, at: Instant, profile: Profile) {
        self.scheduled.push_back((at, profile));
    }

    /// Sends a packet. It comes out of [`Link::pop`] unless it is dropped.
    pub fn push(&mut self, now: Instant, packet: T, bytes: usize) -> Result<(), DropReason> {
        self.advance(now);
        if self.is_lost() {
            return Err(DropReason::Lost);
        }
        self.enqueue(now, packet.clone(), bytes)?;
        if self.profile.duplication > 0.0 && self.random.f64() < self.profile.duplication {
            let _ = self.enqueue(now, packet, bytes);
        }
        Ok(())
    }

    /// The next packet that has arrived.
    pub fn pop(&mut self, now: Instant) -> Option<T> {
        self.advance(now);
        let entry = self.in_flight.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    /// When to call [`Link::pop`].
    pub fn next_deadline(&self) -> Option<Instant> {
        let arrival = self.in_flight.keys().next().map(|(at, _)| *at);
        // The rate can change while a packet is being sent.
        let change = self.scheduled.front().map(|(at, _)| *at).filter(|_| !self.queue.is_empty());
        [arrival, self.sending_until(), change].into_iter().flatten().min()
    }

    /// All packets on the link, in the order of their arrival.
    pub fn into_packets(self) -> impl Iterator<Item = T> {
        self.in_flight.into_values().chain(self.queue.into_iter().map(|(packet, _)| packet))
    }

    fn is_lost(&mut self) -> bool {
        let Profile { loss, burst, .. } = self.profile;
        if loss <= 0.0 {
            return false;
        }
        // In the bad state every packet is lost; the chances of a change follow from the share and the mean length.
        let chance = match self.losing {
            _ if burst <= 1.0 || loss >= 1.0 => loss,
            true => 1.0 - 1.0 / burst,
            false => loss / (burst * (1.0 - loss)),
        };
        self.losing = self.random.f64() < chance;
        self.losing
    }

    fn enqueue(&mut self, now: Instant, packet: T, bytes: usize) -> Result<(), DropReason> {
        if self.in_flight.len() + self.queue.len() >= MAX_PACKETS {
            return Err(DropReason::QueueFull);
        }
        let Some(rate) = self.profile.rate else {
            self.fly(now, packet);
            return Ok(());
        };
        let since = *self.sending_since.get_or_insert(now);
        let queued = self.queue.iter().map(|(_, bytes)| bytes).sum();
        if !self.queue.is_empty() && since + transmission_time(queued, rate) > now + self.profile.queue {
            return Err(DropReason::QueueFull);
        }
        self.queue.push_back((packet, bytes));
        Ok(())
    }

    /// When the first packet of the queue is sent.
    fn sending_until(&self) -> Option<Instant> {
        let (_, bytes) = self.queue.front()?;
        Some(self.sending_since? + self.profile.rate.map_or(Duration::ZERO, |rate| transmission_time(*bytes, rate)))
    }

    /// Applies the changes that are due, and delays the packets that are sent.
    fn advance(&mut self, now: Instant) {
        while let Some((at, profile)) = self.scheduled.pop_front_if(|(at, _)| *at <= now) {
            self.send_queued(at);
            self.apply(at, profile);
        }
        self.send_queued(now);
    }

    fn apply(&mut self, at: Instant, profile: Profile) {
        (self.profile, self.delay) = (profile, None);
        // The packet that is being sent starts again.
        self.sending_since = self.sending_since.map(|_| at);
        self.send_queued(at);
    }

    fn send_queued(&mut self, now: Instant) {
        while let Some(at) = self.sending_until().filter(|at| *at <= now) {
            if let Some((packet, _)) = self.queue.pop_front() {
                self.fly(at, packet);
            }
            self.sending_since = (!self.queue.is_empty()).then_some(at);
        }
    }

    fn fly(&mut self, sent: Instant, packet: T) {
        let mut arrival = sent + self.delay(sent);
        if !self.profile.reorder {
            arrival = self.last_arrival.map_or(arrival, |last| last.max(arrival));
        }
        self.last_arrival = self.last_arrival.max(Some(arrival));
        self.sent += 1;
        self.in_flight.insert((arrival, self.sent), packet);
    }

    fn delay(&mut self, now: Instant) -> Duration {
        let Profile { delay, jitter, reorder, .. } = self.profile;
        if jitter.is_zero() {
            return delay;
        }
        if let Some((delay, _)) = self.delay.filter(|(_, until)| !reorder && now < *until) {
            return delay;
        }
        let deviation = jitter.mul_f64(2.0 * self.random.f64());
        let drawn = (delay + deviation).saturating_sub(jitter);
        self.delay = Some((drawn, now + JITTER_PERIOD));
        drawn
    }
}

fn transmission_time(bytes: usize, rate: u64) -> Duration {
    Duration::from_nanos((bytes as u128 * 8 * 1_000_000_000 / u128::from(rate)) as u64)
}
