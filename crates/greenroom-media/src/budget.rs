//! The budget of commands in one turn of the media thread: commands must not keep it from its socket.

use std::time::{Duration, Instant};

/// Commands in one turn, at most.
const COMMANDS: usize = 16;
/// After this long no further command is begun in a turn.
const TIME: Duration = Duration::from_millis(2);

/// What is left of one turn's budget.
#[derive(Debug)]
pub(super) struct Budget {
    left: usize,
    end: Instant,
}

impl Budget {
    /// The whole budget of a turn that begins now.
    pub(super) fn new(now: Instant) -> Budget {
        Budget { left: COMMANDS, end: now + TIME }
    }

    /// Whether another command may begin now; if so, it is counted. One command a turn always may.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        let allowed = self.left == COMMANDS || (self.left > 0 && now < self.end);
        self.left -= usize::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many commands run in a turn if each takes `cost`.
    fn run(cost: Duration) -> usize {
        let start = Instant::now();
        let (mut budget, mut now, mut ran) = (Budget::new(start), start, 0);
        while budget.allows(now) {
            now += cost;
            ran += 1;
        }
        ran
    }

    #[test]
    fn cheap_commands_are_bounded_by_their_number() {
        assert_eq!(run(Duration::ZERO), COMMANDS);
        assert_eq!(run(Duration::from_micros(100)), COMMANDS);
    }

    #[test]
    fn costly_commands_are_bounded_by_their_time_but_one_always_runs() {
        assert_eq!(run(Duration::from_micros(700)), 3);
        assert_eq!(run(Duration::from_secs(1)), 1);
    }
}
