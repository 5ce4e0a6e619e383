//! When which participants of a scenario act.

use super::language::{Step, Who};
use std::time::Duration;

/// Maximum times at which those of one step act.
const MAX_SLICES: u32 = 1000;

/// A part of a step: those of a group that act at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slice {
    /// Since the start, in milliseconds.
    pub at: u64,
    /// The index of the step.
    pub step: usize,
    /// Which of the step's slices, from 0, and how many it has.
    pub index: u32,
    pub of: u32,
}

impl Slice {
    /// The range of those, of `count`, that act.
    pub fn range(&self, count: usize) -> std::ops::Range<usize> {
        let part = |index: u32| count * index as usize / self.of as usize;
        part(self.index)..part(self.index + 1)
    }
}

/// The slices of steps, in the order in which they happen.
pub fn slices(steps: &[Step]) -> Vec<Slice> {
    let mut slices = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let of = match &step.who {
            _ if step.over.is_zero() => 1,
            Who::Group(group) => group.count.min(MAX_SLICES),
            Who::Everyone => MAX_SLICES,
            Who::One(_) => 1,
        };
        for index in 0..of {
            let at = millis(step.at + step.over * index / of);
            slices.push(Slice { at, step: number, index, of });
        }
    }
    slices.sort_unstable();
    slices
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::language::parse;
    use super::*;

    #[test]
    fn a_group_acts_evenly_over_the_time() {
        let scenario = parse("at 1s 4 viewers join over 2s\nat 2s alice joins").unwrap();
        let slices = slices(&scenario.steps);
        let shown: Vec<_> = slices.iter().map(|slice| (slice.at, slice.step, slice.range(4).start)).collect();
        assert_eq!(shown, [(1000, 0, 0), (1500, 0, 1), (2000, 0, 2), (2000, 1, 0), (2500, 0, 3)]);
    }

    #[test]
    fn a_large_group_acts_at_a_thousand_times_and_no_one_is_left_out() {
        let scenario = parse("at 0s 100000 viewers join over 60s").unwrap();
        let slices = slices(&scenario.steps);
        assert_eq!((slices.len(), slices[0].at, slices[999].at), (1000, 0, 59_940));
        let mut next = 0;
        for slice in &slices {
            let range = slice.range(100_000);
            assert_eq!((range.start, range.len()), (next, 100));
            next = range.end;
        }
        assert_eq!(next, 100_000);
        let odd: usize = slices.iter().map(|slice| slice.range(12_345).len()).sum();
        assert_eq!(odd, 12_345);
    }
}
