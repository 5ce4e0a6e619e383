//! The budget of commands per iteration of the media thread, so that commands do not delay packets.

use std::time::{Duration, Instant};

/// Maximum commands per iteration.
const MAX_COMMANDS: usize = 16;
/// No further command is started after this time.
const TIME_LIMIT: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(super) struct CommandBudget {
    commands_left: usize,
    deadline: Instant,
}

impl CommandBudget {
    pub(super) fn new(now: Instant) -> CommandBudget {
        CommandBudget { commands_left: MAX_COMMANDS, deadline: now + TIME_LIMIT }
    }

    /// Whether another command may start; if so, counts it. The first one always may.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let allowed = self.commands_left == MAX_COMMANDS || (self.commands_left > 0 && now < self.deadline);
        self.commands_left -= usize::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of commands per iteration if each takes `cost`.
    fn run(cost: Duration) -> usize {
        let start = Instant::now();
        let (mut budget, mut now, mut ran) = (CommandBudget::new(start), start, 0);
        while budget.take(now) {
            now += cost;
            ran += 1;
        }
        ran
    }

    #[test]
    fn cheap_commands_are_limited_by_number() {
        assert_eq!(run(Duration::ZERO), MAX_COMMANDS);
        assert_eq!(run(Duration::from_micros(100)), MAX_COMMANDS);
    }

    #[test]
    fn expensive_commands_are_limited_by_time_but_one_always_runs() {
        assert_eq!(run(Duration::from_micros(700)), 3);
        assert_eq!(run(Duration::from_secs(1)), 1);
    }
}
