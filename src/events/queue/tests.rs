use super::*;
use crate::model::arn::Scope;

const START: Timestamp = Timestamp(1_000_000);

fn stage(name: &str) -> StageKey {
    let scope = Scope { account: "000000000000".into(), region: "us-east-1".into() };
    StageKey { scope, stage: name.into() }
}

/// The stage of an event; `""` is none.
fn stage_of(name: &str) -> Option<StageKey> {
    Some(stage(name)).filter(|key| !key.stage.is_empty())
}

fn event(position: i64, name: &str) -> Outgoing {
    Outgoing { position, stage: stage_of(name), id: format!("e{position}"), body: "{}".into(), written_at: START }
}

/// A target that is sent events one by one, with a clock of its own.
struct Bench {
    queue: DeliveryQueue,
    now: Timestamp,
    read: i64,
    /// Positions that were taken, in their order.
    taken: Vec<i64>,
}

impl Bench {
    fn new(batch: usize, parallel: usize, single_queue: bool) -> Self {
        let options = QueueOptions { batch, parallel, single_queue, retry: Duration::from_secs(3600) };
        Bench { queue: DeliveryQueue::new(options, 0, None), now: START, read: 0, taken: Vec::new() }
    }

    fn webhook() -> Self {
        Bench::new(1, 8, false)
    }

    /// Reads events of these stages, in their order.
    fn read(&mut self, stages: &[&str]) -> &mut Self {
        let events = stages.iter().zip(self.read + 1..).map(|(stage, position)| event(position, stage)).collect();
        self.read += stages.len() as i64;
        self.queue.add(events, &HashSet::new(), self.read, self.now);
        self
    }

    /// Positions that may go now.
    fn next(&mut self) -> Option<Vec<i64>> {
        Some(self.queue.next(self.now)?.iter().map(|event| event.position).collect())
    }

    /// Everything that may go now.
    fn all(&mut self) -> Vec<i64> {
        std::iter::from_fn(|| self.next()).flatten().collect()
    }

    fn take(&mut self, position: i64) {
        self.taken.push(position);
        self.queue.done(vec![(position, Outcome::Delivered)], self.now, || 0);
    }

    fn refuse(&mut self, position: i64) {
        let error = DeliveryError { reason: "no".into(), ..DeliveryError::default() };
        self.queue.done(vec![(position, Outcome::Failed(error))], self.now, || u32::MAX);
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    /// Sends until nothing may go; `bad` is refused.
    fn run(&mut self, bad: impl Fn(i64) -> bool) {
        while let Some(positions) = self.next() {
            for position in positions {
                if bad(position) { self.refuse(position) } else { self.take(position) }
            }
        }
    }

    /// What is parked: position, attempts, whether it is due one day, whether it is dead.
    fn parked(&self) -> Vec<(i64, i64, bool, bool)> {
        let row = |p: &Parked| (p.position, p.attempts, p.next_at != NEVER, p.dead_at.is_some());
        self.queue.changes.parked.iter().map(row).collect()
    }
}

#[test]
fn stages_go_side_by_side_and_each_in_its_order() {
    let mut bench = Bench::webhook();
    bench.read(&["a", "a", "b", "c", "b"]);
    assert_eq!(bench.all(), [1, 3, 4]);
    bench.take(3);
    assert_eq!((bench.all(), bench.queue.position()), (vec![5], 0));
    bench.take(1);
    assert_eq!((bench.all(), bench.queue.position()), (vec![2], 1));
    bench.take(2);
    bench.take(5);
    assert_eq!(bench.queue.position(), 3, "the fourth is on its way");
    bench.take(4);
    assert_eq!((bench.queue.position(), bench.queue.changes.delivered), (5, 5));
}

#[test]
fn what_belongs_to_no_stage_waits_for_nothing_and_no_more_go_than_may() {
    let mut bench = Bench::webhook();
    bench.read(&["", "", "", "", "", "", "", "", "", ""]);
    assert_eq!(bench.all(), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn a_bad_event_is_parked_with_what_is_behind_it_once_another_is_taken() {
    let mut bench = Bench::webhook();
    bench.read(&["a", "a"]);
    bench.run(|position| position == 1);
    assert_eq!((bench.parked(), bench.queue.position()), (vec![], 0), "the cause is unknown");
    bench.read(&["b"]);
    bench.run(|position| position == 1);
    assert_eq!(bench.taken, [3]);
    assert_eq!(bench.parked(), [(1, 1, true, false), (2, 0, false, false)]);
    assert_eq!(bench.queue.position(), 3);
}

#[test]
fn what_comes_later_of_a_stage_that_waits_waits_behind_it() {
    let mut bench = Bench::webhook();
    let waiting = HashSet::from([stage("a")]);
    bench.queue.add(vec![event(1, "a"), event(2, "b")], &waiting, 3, bench.now);
    bench.run(|_| false);
    assert_eq!((bench.taken.clone(), bench.parked()), (vec![2], vec![(1, 0, false, false)]));
    assert_eq!(bench.queue.position(), 3);
}

#[test]
fn a_target_that_takes_nothing_is_down_and_nothing_is_parked() {
    let mut bench = Bench::webhook();
    bench.read(&["a", "b", "c", "d", "e", "f", "a", "b"]);
    bench.run(|_| true);
    assert!(bench.queue.health.down);
    let mut tries = 0;
    // An hour of it: tries are at most five minutes apart, and all stages take their turns.
    for _ in 0..3600 {
        bench.wait(1);
        while let Some(positions) = bench.next() {
            assert_eq!(positions.len(), 1);
            tries += 1;
            bench.refuse(positions[0]);
            if tries > 2000 {
                break;
            }
        }
        if bench.now >= START.plus(Duration::from_secs(3590)) {
            break;
        }
    }
    assert!((12..60).contains(&tries), "{tries}");
    assert_eq!((bench.parked(), bench.queue.position()), (vec![], 0));
    bench.wait(300);
    let first = bench.next().unwrap();
    bench.take(first[0]);
    assert!(!bench.queue.health.down && bench.queue.failing_since().is_none());
    bench.run(|_| false);
    let of = |stage: [i64; 2]| bench.taken.iter().copied().filter(|at| stage.contains(at)).collect::<Vec<_>>();
    assert_eq!((of([1, 7]), of([2, 8])), (vec![1, 7], vec![2, 8]), "in the order of each stage");
    assert_eq!((bench.queue.position(), bench.parked()), (8, vec![]), "the target was the cause");
}

#[test]
fn a_new_stage_is_tried_soon_though_another_makes_the_target_look_down() {
    let mut bench = Bench::webhook();
    bench.read(&["poison"]);
    for _ in 0..20 {
        bench.run(|_| true);
        bench.wait(300);
    }
    bench.run(|_| true);
    assert!(bench.queue.health.down);
    bench.read(&["fine", "fine"]);
    bench.wait(1);
    bench.run(|position| position == 1);
    assert_eq!(bench.taken, [2, 3]);
    assert_eq!(bench.parked().iter().map(|row| row.0).collect::<Vec<_>>(), [1]);
}

#[test]
fn what_was_tried_for_too_long_is_dead_and_so_is_what_waited_as_long() {
    let mut bench = Bench::webhook();
    bench.read(&["a", "a", "b", "c", "d", "e"]);
    bench.run(|_| true);
    bench.wait(1800);
    // Written by now: it has half an hour left when the others have not.
    let late = Outgoing { written_at: bench.now, ..event(7, "f") };
    bench.queue.add(vec![late], &HashSet::new(), 7, bench.now);
    bench.run(|_| true);
    assert_eq!(bench.parked(), []);
    bench.wait(1800);
    bench.run(|_| true);
    let mut dead: Vec<_> = bench.parked().iter().map(|row| (row.0, row.3)).collect();
    dead.sort_unstable();
    assert_eq!(dead, [(1, true), (2, true), (3, true), (4, true), (5, true), (6, true)]);
    assert_eq!(bench.queue.position(), 6);
}

#[test]
fn what_can_never_be_taken_is_dead_at_once_and_holds_nothing_up() {
    let mut bench = Bench::webhook();
    bench.read(&["a", "a"]);
    assert_eq!(bench.next(), Some(vec![1]));
    let error = DeliveryError { reason: "too large".into(), permanent: true, retry_after: None };
    bench.queue.done(vec![(1, Outcome::Failed(error))], bench.now, || 0);
    assert_eq!((bench.parked(), bench.queue.failing_since()), (vec![(1, 1, true, true)], None));
    assert_eq!(bench.next(), Some(vec![2]));
}

#[test]
fn a_target_that_asks_to_be_left_alone_is() {
    let mut bench = Bench::webhook();
    bench.read(&["a", "b"]);
    assert_eq!(bench.all(), [1, 2]);
    let error = DeliveryError { reason: "later".into(), retry_after: Some(Duration::from_secs(120)), permanent: false };
    bench.queue.done(vec![(1, Outcome::Failed(error))], bench.now, || 0);
    bench.refuse(2);
    bench.read(&["c"]);
    assert_eq!(bench.queue.next_at(), Some(bench.now.plus(Duration::from_secs(120))));
    bench.wait(119);
    assert_eq!(bench.next(), None);
    bench.wait(1);
    assert_eq!(bench.next(), Some(vec![3]));
}

#[test]
fn what_was_parked_is_tried_beside_the_rest_and_written_down() {
    let row = |position: i64, name: &str, attempts: i64| Due {
        position,
        stage: stage_of(name),
        attempts,
        since: START,
        id: format!("e{position}"),
        body: "{}".into(),
        written_at: START,
    };
    let mut bench = Bench::new(1, 2, false);
    bench.read(&["x", "y"]);
    bench.queue.add_due(vec![row(-3, "a", 1), row(-2, "b", 1), row(-1, "c", 1)]);
    bench.queue.add_due(vec![row(-3, "a", 1)]);
    let sent = bench.all();
    assert_eq!(sent.len(), 2);
    sent.into_iter().for_each(|position| bench.take(position));
    bench.run(|position| position == -2);
    let taken: Vec<_> = bench.queue.changes.delivered_late.iter().map(|late| late.0).collect();
    assert_eq!((taken, bench.parked()), (vec![-3, -1], vec![(-2, 2, true, false)]));
    bench.wait(3600);
    bench.queue.recorded();
    bench.queue.add_due(vec![row(-2, "b", 2)]);
    bench.run(|position| position == -2);
    assert_eq!(bench.parked(), [(-2, 3, true, true)], "tried long enough");
}

#[test]
fn lines_go_together_and_all_or_none_are_taken() {
    let mut bench = Bench::new(3, 1, true);
    bench.read(&["a", "a", "b", "c"]);
    assert_eq!((bench.next(), bench.next()), (Some(vec![1, 2, 3]), None));
    let refused =
        |position| (position, Outcome::Failed(DeliveryError { reason: "full".into(), ..DeliveryError::default() }));
    bench.queue.done([1, 2, 3].map(refused).into(), bench.now, || 0);
    assert_eq!((bench.next(), bench.queue.position()), (None, 0));
    bench.wait(1);
    assert_eq!(bench.next(), Some(vec![1, 2, 3]));
    bench.queue.done([1, 2, 3].map(|position| (position, Outcome::Delivered)).into(), bench.now, || 0);
    assert_eq!((bench.next(), bench.queue.position()), (Some(vec![4]), 3));
}

#[test]
fn a_batch_has_one_event_of_each_stage() {
    let mut bench = Bench::new(10, 4, false);
    bench.read(&["a", "a", "b", "a", "c"]);
    assert_eq!((bench.next(), bench.next()), (Some(vec![1, 3, 5]), None));
    let error = DeliveryError { reason: "throttled".into(), ..DeliveryError::default() };
    let results = vec![(1, Outcome::Delivered), (3, Outcome::Failed(error)), (5, Outcome::Delivered)];
    bench.queue.done(results, bench.now, || 0);
    assert_eq!((bench.parked(), bench.next()), (vec![(3, 1, true, false)], Some(vec![2])));
}

#[test]
fn waits_double_up_to_five_minutes_and_are_spread() {
    let seconds = |attempts, random| backoff(attempts, random).as_secs_f64();
    assert_eq!([1, 2, 3, 9, 10, 99].map(|n| seconds(n, u32::MAX)), [1.0, 2.0, 4.0, 256.0, 300.0, 300.0]);
    assert_eq!([1, 2, 99].map(|n| seconds(n, 0)), [0.5, 1.0, 150.0]);
}

#[test]
fn a_target_of_single_queue_that_is_down_is_tried_with_what_was_sent_again_too() {
    let options = QueueOptions { batch: 100, parallel: 1, single_queue: true, retry: Duration::from_secs(3600) };
    let mut bench = Bench { queue: DeliveryQueue::new(options, 7, Some(START)), ..Bench::webhook() };
    let Outgoing { position, stage, id, body, written_at } = event(3, "a");
    let row = Due { position, stage, attempts: 0, since: START, id, body, written_at };
    bench.queue.add_due(vec![row]);
    assert_eq!(bench.next(), Some(vec![3]));
    bench.take(3);
    assert_eq!((bench.next(), bench.queue.failing_since()), (None, None));
}
