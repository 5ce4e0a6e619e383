"""The state that a client expects: acknowledged writes, and possible effects of requests without a response."""

from dataclasses import dataclass, field


@dataclass
class ExpectedResource:
    """A resource and its possible states: one, or two after a request without a response."""

    key: str
    states: list

    @property
    def state(self):
        return self.states[0]

    def attempt(self, state):
        """A request for this state is sent."""
        self.states = [self.state, state]

    def acknowledged(self):
        """The request succeeded."""
        self.states = [self.states[-1]]

    def refused(self):
        """The request was rejected."""
        self.states = [self.states[0]]

    def compare(self, state):
        """Compares with the actual state, which becomes the expected one; returns the problems."""
        expected, self.states = self.states, [state]
        if state in expected:
            return []
        return [f"{self.key}: {state!r}, expected {' or '.join(map(repr, expected))}"]


@dataclass
class ExpectedStage(ExpectedResource):
    """A stage: its name and tags, or `None` after its deletion."""

    topic: str = ""
    # Tokens whose participants have not joined yet, by id.
    tokens: dict = field(default_factory=dict)
    # Ids of participants: those admitted, in order, and those possibly admitted.
    joined: list = field(default_factory=list)
    maybe_joined: list = field(default_factory=list)
    # Whether the stop was acknowledged, by ARN of the composition.
    compositions: dict = field(default_factory=dict)


@dataclass
class ExpectedState:
    """The expected state of one client's resources."""

    stages: dict = field(default_factory=dict)
    # Creations without a response: names and tags of stages, stage and idempotency token of compositions.
    unanswered_creations: list = field(default_factory=list)
    unanswered_starts: list = field(default_factory=list)
    # (operation, request id) of each acknowledged mutating request.
    writes: list = field(default_factory=list)

    def existing_stages(self):
        return [stage for stage in self.stages.values() if stage.state is not None]
