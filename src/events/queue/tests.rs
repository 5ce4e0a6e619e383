use super::*;
use crate::model::arn::Scope;

const START: Timestamp = Timestamp(1_000_000);

fn stage(name: &str) -> StageKey {
    let scope = Scope { account: "000000000000".into(), region: "us-east-1".into() };
    StageKey { scope, stage: name.into() }
}

/// The stage of an event; none for an empty name.
fn stage_of(name: &str) -> Option<StageKey> {
    Some(stage(name)).filter(|key| !key.stage.is_empty())
}

fn event(position: i64, name: &str) -> Outgoing {
    Outgoing { position, stage: stage_of(name), id: format!("e{position}"), body: "{}".into(), written_at: START }
}

/// A delivery queue with a manual clock, and a simulated target.
struct Fixture {
    queue: DeliveryQueue,
    now: Timestamp,
    read: i64,
    /// Delivered positions, in order.
    delivered_positions: Vec<i64>,
}

impl Fixture {
    fn new(batch: usize, parallel: usize, single_queue: bool) -> Self {
        let options = QueueOptions { batch, parallel, single_queue, retry: Duration::from_secs(3600) };
        Fixture { queue: DeliveryQueue::new(options, 0, None), now: START, read: 0, delivered_positions: Vec::new() }
    }

    fn webhook() -> Self {
        Fixture::new(1, 8, false)
    }

    /// Adds events of these stages, in order.
    fn read(&mut self, stages: &[&str]) -> &mut Self {
        let events = stages.iter().zip(self.read + 1..).map(|(stage, position)| event(position, stage)).collect();
        self.read += stages.len() as i64;
        self.queue.add(events, &HashSet::new(), self.read, self.now);
        self
    }

    /// The positions of the next request.
    fn next(&mut self) -> Option<Vec<i64>> {
        Some(self.queue.next(self.now)?.iter().map(|event| event.position).collect())
    }

    /// The positions of all requests that can be sent now.
    fn sendable(&mut self) -> Vec<i64> {
        std::iter::from_fn(|| self.next()).flatten().collect()
    }

    fn deliver(&mut self, position: i64) {
        self.delivered_positions.push(position);
        self.queue.done(vec![(position, Outcome::Delivered)], self.now, || 0);
    }

    fn fail(&mut self, position: i64) {
        let error = DeliveryError { reason: "no".into(), ..DeliveryError::default() };
        self.queue.done(vec![(position, Outcome::Failed(error))], self.now, || u32::MAX);
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    /// Sends all requests that are possible; events for which `fails` is true are rejected.
    fn send_all(&mut self, fails: impl Fn(i64) -> bool) {
        while let Some(positions) = self.next() {
            for position in positions {
                if fails(position) { self.fail(position) } else { self.deliver(position) }
            }
        }
    }

    /// Parked events: position, attempts, whether a retry is scheduled, whether it is dead.
    fn parked(&self) -> Vec<(i64, i64, bool, bool)> {
        let row = |p: &Parked| (p.position, p.attempts, p.next_at != NEVER, p.dead_at.is_some());
        self.queue.changes.parked.iter().map(row).collect()
    }
}

#[test]
fn stages_are_delivered_in_parallel_and_each_in_order() {
    let mut fixture = Fixture::webhook();
    fixture.read(&["a", "a", "b", "c", "b"]);
    assert_eq!(fixture.sendable(), [1, 3, 4]);
    fixture.deliver(3);
    assert_eq!((fixture.sendable(), fixture.queue.position()), (vec![5], 0));
    fixture.deliver(1);
    assert_eq!((fixture.sendable(), fixture.queue.position()), (vec![2], 1));
    fixture.deliver(2);
    fixture.deliver(5);
    assert_eq!(fixture.queue.position(), 3, "the fourth event is in flight");
    fixture.deliver(4);
    assert_eq!((fixture.queue.position(), fixture.queue.changes.delivered), (5, 5));
}

#[test]
fn events_without_a_stage_are_independent_and_requests_are_limited() {
    let mut fixture = Fixture::webhook();
    fixture.read(&["", "", "", "", "", "", "", "", "", ""]);
    assert_eq!(fixture.sendable(), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn a_failing_event_is_parked_with_its_successors_once_another_event_is_delivered() {
    let mut fixture = Fixture::webhook();
    fixture.read(&["a", "a"]);
    fixture.send_all(|position| position == 1);
    assert_eq!((fixture.parked(), fixture.queue.position()), (vec![], 0), "the failure can be the target's");
    fixture.read(&["b"]);
    fixture.send_all(|position| position == 1);
    assert_eq!(fixture.delivered_positions, [3]);
    assert_eq!(fixture.parked(), [(1, 1, true, false), (2, 0, false, false)]);
    assert_eq!(fixture.queue.position(), 3);
}

#[test]
fn later_events_of_a_blocked_stage_are_parked() {
    let mut fixture = Fixture::webhook();
    let waiting = HashSet::from([stage("a")]);
    fixture.queue.add(vec![event(1, "a"), event(2, "b")], &waiting, 3, fixture.now);
    fixture.send_all(|_| false);
    assert_eq!((fixture.delivered_positions.clone(), fixture.parked()), (vec![2], vec![(1, 0, false, false)]));
    assert_eq!(fixture.queue.position(), 3);
}

#[test]
fn a_target_that_rejects_all_events_is_down_and_nothing_is_parked() {
    let mut fixture = Fixture::webhook();
    fixture.read(&["a", "b", "c", "d", "e", "f", "a", "b"]);
    fixture.send_all(|_| true);
    assert!(fixture.queue.health.down);
    let mut probes = 0;
    // One hour: probes are at most five minutes apart, and use the stages in turn.
    for _ in 0..3600 {
        fixture.wait(1);
        while let Some(positions) = fixture.next() {
            assert_eq!(positions.len(), 1);
            probes += 1;
            fixture.fail(positions[0]);
            if probes > 2000 {
                break;
            }
        }
        if fixture.now >= START.plus(Duration::from_secs(3590)) {
            break;
        }
    }
    assert!((12..60).contains(&probes), "{probes}");
    assert_eq!((fixture.parked(), fixture.queue.position()), (vec![], 0));
    fixture.wait(300);
    let first = fixture.next().unwrap();
    fixture.deliver(first[0]);
    assert!(!fixture.queue.health.down && fixture.queue.failing_since().is_none());
    fixture.send_all(|_| false);
    let of = |stage: [i64; 2]| {
        fixture.delivered_positions.iter().copied().filter(|at| stage.contains(at)).collect::<Vec<_>>()
    };
    assert_eq!((of([1, 7]), of([2, 8])), (vec![1, 7], vec![2, 8]), "in order per stage");
    assert_eq!((fixture.queue.position(), fixture.parked()), (8, vec![]), "the failures were the target's");
}

#[test]
fn an_untried_event_of_another_stage_is_probed_soon() {
    let mut fixture = Fixture::webhook();
    fixture.read(&["poison"]);
    for _ in 0..20 {
        fixture.send_all(|_| true);
        fixture.wait(300);
    }
    fixture.send_all(|_| true);
    assert!(fixture.queue.health.down);
    fixture.read(&["healthy", "healthy"]);
    fixture.wait(1);
    fixture.send_all(|position| position == 1);
    assert_eq!(fixture.delivered_positions, [2, 3]);
    assert_eq!(fixture.parked().iter().map(|row| row.0).collect::<Vec<_>>(), [1]);
}

#[test]
fn events_are_dead_after_the_retry_period_also_while_blocked() {
    let mut fixture = Fixture::webhook();
    fixture.read(&["a", "a", "b", "c", "d", "e"]);
    fixture.send_all(|_| true);
    fixture.wait(1800);
    // Written now: its retry period ends half an hour after the others'.
    let late = Outgoing { written_at: fixture.now, ..event(7, "f") };
    fixture.queue.add(vec![late], &HashSet::new(), 7, fixture.now);
    fixture.send_all(|_| true);
    assert_eq!(fixture.parked(), []);
    fixture.wait(1800);
    fixture.send_all(|_| true);
    let mut dead: Vec<_> = fixture.parked().iter().map(|row| (row.0, row.3)).collect();
    dead.sort_unstable();
    assert_eq!(dead, [(1, true), (2, true), (3, true), (4, true), (5, true), (6, true)]);
    assert_eq!(fixture.queue.position(), 6);
}

#[test]
fn a_permanent_failure_is_dead_immediately_and_does_not_block() {
    let mut fixture = Fixture::webhook();
    fixture.read(&["a", "a"]);
    assert_eq!(fixture.next(), Some(vec![1]));
    let error = DeliveryError { reason: "too large".into(), permanent: true, retry_after: None };
    fixture.queue.done(vec![(1, Outcome::Failed(error))], fixture.now, || 0);
    assert_eq!((fixture.parked(), fixture.queue.failing_since()), (vec![(1, 1, true, true)], None));
    assert_eq!(fixture.next(), Some(vec![2]));
}

#[test]
fn retry_after_is_respected() {
    let mut fixture = Fixture::webhook();
    fixture.read(&["a", "b"]);
    assert_eq!(fixture.sendable(), [1, 2]);
    let error = DeliveryError { reason: "later".into(), retry_after: Some(Duration::from_secs(120)), permanent: false };
    fixture.queue.done(vec![(1, Outcome::Failed(error))], fixture.now, || 0);
    fixture.fail(2);
    fixture.read(&["c"]);
    assert_eq!(fixture.queue.next_at(), Some(fixture.now.plus(Duration::from_secs(120))));
    fixture.wait(119);
    assert_eq!(fixture.next(), None);
    fixture.wait(1);
    assert_eq!(fixture.next(), Some(vec![3]));
}

#[test]
fn parked_events_are_retried_and_their_outcomes_recorded() {
    let row = |position: i64, name: &str, attempts: i64| Due {
        position,
        stage: stage_of(name),
        attempts,
        since: START,
        id: format!("e{position}"),
        body: "{}".into(),
        written_at: START,
    };
    let mut fixture = Fixture::new(1, 2, false);
    fixture.read(&["x", "y"]);
    fixture.queue.add_due(vec![row(-3, "a", 1), row(-2, "b", 1), row(-1, "c", 1)]);
    fixture.queue.add_due(vec![row(-3, "a", 1)]);
    let sent = fixture.sendable();
    assert_eq!(sent.len(), 2);
    sent.into_iter().for_each(|position| fixture.deliver(position));
    fixture.send_all(|position| position == -2);
    let delivered_positions: Vec<_> = fixture.queue.changes.delivered_late.iter().map(|late| late.0).collect();
    assert_eq!((delivered_positions, fixture.parked()), (vec![-3, -1], vec![(-2, 2, true, false)]));
    fixture.wait(3600);
    fixture.queue.recorded();
    fixture.queue.add_due(vec![row(-2, "b", 2)]);
    fixture.send_all(|position| position == -2);
    assert_eq!(fixture.parked(), [(-2, 3, true, true)], "the retry period has expired");
}

#[test]
fn a_single_queue_is_sent_in_batches_that_succeed_or_fail_as_a_whole() {
    let mut fixture = Fixture::new(3, 1, true);
    fixture.read(&["a", "a", "b", "c"]);
    assert_eq!((fixture.next(), fixture.next()), (Some(vec![1, 2, 3]), None));
    let refused =
        |position| (position, Outcome::Failed(DeliveryError { reason: "full".into(), ..DeliveryError::default() }));
    fixture.queue.done([1, 2, 3].map(refused).into(), fixture.now, || 0);
    assert_eq!((fixture.next(), fixture.queue.position()), (None, 0));
    fixture.wait(1);
    assert_eq!(fixture.next(), Some(vec![1, 2, 3]));
    fixture.queue.done([1, 2, 3].map(|position| (position, Outcome::Delivered)).into(), fixture.now, || 0);
    assert_eq!((fixture.next(), fixture.queue.position()), (Some(vec![4]), 3));
}

#[test]
fn a_batch_has_one_event_per_stage() {
    let mut fixture = Fixture::new(10, 4, false);
    fixture.read(&["a", "a", "b", "a", "c"]);
    assert_eq!((fixture.next(), fixture.next()), (Some(vec![1, 3, 5]), None));
    let error = DeliveryError { reason: "throttled".into(), ..DeliveryError::default() };
    let results = vec![(1, Outcome::Delivered), (3, Outcome::Failed(error)), (5, Outcome::Delivered)];
    fixture.queue.done(results, fixture.now, || 0);
    assert_eq!((fixture.parked(), fixture.next()), (vec![(3, 1, true, false)], Some(vec![2])));
}

#[test]
fn backoff_doubles_up_to_five_minutes_with_jitter() {
    let seconds = |attempts, random| backoff(attempts, random).as_secs_f64();
    assert_eq!([1, 2, 3, 9, 10, 99].map(|n| seconds(n, u32::MAX)), [1.0, 2.0, 4.0, 256.0, 300.0, 300.0]);
    assert_eq!([1, 2, 99].map(|n| seconds(n, 0)), [0.5, 1.0, 150.0]);
}

#[test]
fn a_single_queue_target_that_is_down_is_also_probed_by_redriven_events() {
    let options = QueueOptions { batch: 100, parallel: 1, single_queue: true, retry: Duration::from_secs(3600) };
    let mut fixture = Fixture { queue: DeliveryQueue::new(options, 7, Some(START)), ..Fixture::webhook() };
    let Outgoing { position, stage, id, body, written_at } = event(3, "a");
    let row = Due { position, stage, attempts: 0, since: START, id, body, written_at };
    fixture.queue.add_due(vec![row]);
    assert_eq!(fixture.next(), Some(vec![3]));
    fixture.deliver(3);
    assert_eq!((fixture.next(), fixture.queue.failing_since()), (None, None));
}
