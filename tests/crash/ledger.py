"""What a client knows: what was acknowledged to it, and what an unanswered call may have done."""

from dataclasses import dataclass, field


@dataclass
class Held:
    """Something that the service keeps: the states that it may be in, of which there is one unless a call went unanswered."""

    key: str
    states: list

    @property
    def state(self):
        return self.states[0]

    def attempt(self, state):
        """A call is made that leads to this state."""
        self.states = [self.state, state]

    def acknowledged(self):
        """The call was answered: it has happened."""
        self.states = [self.states[-1]]

    def refused(self):
        """The call was answered: it has not happened."""
        self.states = [self.states[0]]

    def seen(self, state):
        """What the service says now. Answers what is wrong with it, or nothing; from now on it is the state."""
        expected, self.states = self.states, [state]
        if state in expected:
            return []
        return [f"{self.key}: {state!r}, and acknowledged was {' or '.join(map(repr, expected))}"]


@dataclass
class StageOf(Held):
    """A stage: its name and tags, or `None` once it is deleted."""

    topic: str = ""
    # Tokens whose participants have not joined yet, by id.
    tokens: dict = field(default_factory=dict)
    # Ids of participants: those who were let in, in that order, and those who may have been.
    joined: list = field(default_factory=list)
    perhaps: list = field(default_factory=list)
    # ARNs of compositions: whether the stop of each was acknowledged.
    compositions: dict = field(default_factory=dict)


@dataclass
class Ledger:
    """All that one client knows."""

    stages: dict = field(default_factory=dict)
    # What was asked for without an answer: names and tags of stages, input and idempotency token of compositions.
    created: list = field(default_factory=list)
    started: list = field(default_factory=list)
    # (operation, request id) of each acknowledged call that changes something.
    calls: list = field(default_factory=list)

    def living(self):
        return [stage for stage in self.stages.values() if stage.state is not None]
