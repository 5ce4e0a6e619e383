"""A load client: mutates its own stages, joins and leaves them, and tracks the expected state."""

import http.client
import json
import random
import subprocess
import time

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from expected_state import ExpectedStage, ExpectedState
from server import binary, environment
from wire import Wire

# Errors of a request to a killed server.
CONNECTION_ERRORS = (OSError, http.client.HTTPException, WebSocketException, EOFError)
REGION = "us-east-1"


class UnexpectedError(AssertionError):
    """An unexpected error response."""


class Client:
    """One of several clients; two share an account, and each has its own stages."""

    def __init__(self, number, endpoint, seed, pause, publishes=False):
        self.number, self.endpoint, self.pause, self.publishes = number, endpoint, pause, publishes
        self.account = str(220000000000 + number // 2)
        self.random = random.Random(f"{seed} client {number}")
        self.expected, self.connected, self.publisher = ExpectedState(), [], None
        self.encoder, self.stage_count, self.unanswered = None, 0, 0
        # Time and error of the first failed request.
        self.failed_at, self.failure = None, None
        self.problems = []

    # A round

    def work(self, stopped):
        """Sends one request after the other until the connection fails or the round ends."""
        self.wire, self.failed_at = Wire(self.endpoint, self.account, REGION), None
        try:
            while not stopped.is_set():
                self.random_request()
                time.sleep(self.random.expovariate(1 / self.pause))
        except CONNECTION_ERRORS as error:
            self.failed_at, self.failure = time.monotonic(), error
        except Exception as error:  # reported by the main thread
            self.problems.append(f"client {self.number}: {error!r}")

    def retry(self):
        """Retries unanswered starts of compositions."""
        self.wire = Wire(self.endpoint, self.account, REGION)
        while self.expected.unanswered_starts:
            self.start_composition(*self.expected.unanswered_starts.pop())

    def close_all(self):
        """Closes all connections, whether or not the server runs."""
        connected, self.connected = self.connected, []
        for _, _, socket in connected:
            try:
                socket.close()
            except CONNECTION_ERRORS:
                pass
        if self.publisher:
            self.publisher.kill()
            self.publisher.wait()
            self.publisher = None

    def random_request(self):
        existing_stages = self.expected.existing_stages()
        if self.encoder is None:
            return self.create_encoder()
        if self.expected.unanswered_starts:
            return self.start_composition(*self.expected.unanswered_starts.pop())
        if len(existing_stages) < 3:
            return self.create_stage()
        stage = self.random.choice(existing_stages)
        # Limits the number of connected participants, and thereby of sockets.
        has_capacity = len(self.connected) < 8
        choices = {
            self.update: 4,
            self.tag: 4,
            self.untag: 2,
            self.create_token: 4,
            self.join: 8 * has_capacity * bool(stage.tokens),
            self.leave: 2 + 4 * (not has_capacity),
            self.disconnect: 1,
            self.start_composition: 0.7,
            self.stop_composition: 0.7,
            self.publish: 1.5 * self.publishes,
            self.delete: 0.15,
            lambda _: self.create_stage(): 0.3,
        }
        [action] = self.random.choices(list(choices), list(choices.values()))
        return action(stage)

    # Requests

    def call(self, operation, document, *allowed):
        """Sends a mutating request; returns the response, or `None` after an allowed error."""
        self.unanswered += 1
        answer = self.wire.call(operation, document)
        self.unanswered -= 1
        if answer.status == 200:
            self.expected.writes.append((operation, answer.headers["x-amzn-requestid"]))
            return answer.json if answer.body else {}
        if answer.fault not in allowed:
            raise UnexpectedError(f"{operation} {document}: {answer.status} {answer.body[:300]!r}")
        return None

    def change(self, resource, state, operation, document, *allowed):
        """Sends a request that leads to a state."""
        resource.attempt(state)
        if self.call(operation, document, *allowed) is None:
            resource.refused()
        else:
            resource.acknowledged()

    def create_encoder(self):
        # A duplicate after a lost response is harmless.
        created = self.call("CreateEncoderConfiguration", {"name": f"encoder-{self.number}"})
        self.encoder = created["encoderConfiguration"]["arn"]

    def create_stage(self):
        self.stage_count += 1
        state = {"name": f"stage-{self.number}-{self.stage_count}", "tags": {"made": str(self.stage_count)}}
        self.expected.unanswered_creations.append(state)
        stage = self.call("CreateStage", {**state, "participantTokenConfigurations": [{}, {}]})
        self.expected.unanswered_creations.pop()
        self.track(stage["stage"], state, stage["participantTokens"])

    def track(self, stage, state, tokens=()):
        arn = stage["arn"]
        resource = ExpectedStage(key=arn, states=[state], topic=arn.split("/")[1])
        resource.tokens = {token["participantId"]: token["token"] for token in tokens}
        self.expected.stages[arn] = resource

    def update(self, stage):
        name = f"stage-{self.number}-renamed-{self.random.randrange(10**9)}"
        self.change(stage, {**stage.state, "name": name}, "UpdateStage", {"arn": stage.key, "name": name})

    def tag(self, stage):
        tags = {f"tag-{self.random.randrange(20)}": str(self.random.randrange(10**9)) for _ in range(3)}
        after = {**stage.state, "tags": stage.state["tags"] | tags}
        self.change(stage, after, "TagResource", {"resourceArn": stage.key, "tags": tags})

    def untag(self, stage):
        keys = sorted(self.random.sample(sorted(stage.state["tags"]), min(2, len(stage.state["tags"]))))
        if keys:
            left = {key: value for key, value in stage.state["tags"].items() if key not in keys}
            after = {**stage.state, "tags": left}
            self.change(stage, after, "UntagResource", {"resourceArn": stage.key, "tagKeys": keys})

    def create_token(self, stage):
        created = self.call("CreateParticipantToken", {"stageArn": stage.key, "attributes": {"of": str(self.number)}})
        token = created["participantToken"]
        stage.tokens[token["participantId"]] = token["token"]

    def delete(self, stage):
        self.change(stage, None, "DeleteStage", {"arn": stage.key})

    def disconnect(self, stage):
        candidates = [participant for resource, participant, _ in self.connected if resource is stage]
        if candidates:
            document = {"stageArn": stage.key, "participantId": self.random.choice(candidates)}
            self.call("DisconnectParticipant", document)

    # Compositions

    def start_composition(self, stage, token=None):
        """Starts a composition; unanswered starts are retried with the same idempotency token."""
        token = token or f"token-{self.random.randrange(10**12)}"
        self.expected.unanswered_starts.append((stage, token))
        channel = f"arn:aws:ivs:{REGION}:{self.account}:channel/abcdefghijkl"
        destination = {"channel": {"channelArn": channel, "encoderConfigurationArn": self.encoder}}
        document = {"stageArn": stage.key, "idempotencyToken": token, "destinations": [destination]}
        # The stage may have been deleted meanwhile.
        started = self.call("StartComposition", document, "ResourceNotFoundException")
        self.expected.unanswered_starts.pop()
        if started:
            stage.compositions.setdefault(started["composition"]["arn"], False)

    def stop_composition(self, stage):
        running = [arn for arn, stopped in stage.compositions.items() if not stopped]
        if running:
            arn = self.random.choice(running)
            self.call("StopComposition", {"arn": arn})
            stage.compositions[arn] = True

    # Participants

    def join(self, stage):
        participant, token = stage.tokens.popitem()
        stage.maybe_joined.append(participant)
        url = f"{self.endpoint.replace('http', 'ws', 1)}/events/{stage.topic}"
        options = {"open_timeout": 20, "close_timeout": 2, "ping_interval": None, "proxy": None}
        # No `with` block: the socket is closed when the participant leaves.
        socket = connect(url, subprotocols=[token], legacy=True, **options)
        self.connected.append((stage, participant, socket))
        message = json.loads(socket.recv(timeout=20))
        if message["type"] != "STAGE_STATE":
            raise UnexpectedError(f"{participant} was not admitted to {stage.key}: {message}")
        stage.maybe_joined.remove(participant)
        stage.joined.append(participant)

    def leave(self, stage):
        if self.connected:
            _, _, socket = self.connected.pop(self.random.randrange(len(self.connected)))
            socket.close()

    def publish(self, stage):
        """Starts a publisher with real media; its outcome is in its events."""
        if self.publisher or not stage.tokens:
            return
        participant, token = stage.tokens.popitem()
        stage.maybe_joined.append(participant)
        command = [binary("GREENROOM_BIN"), "join", "--publish", "test-pattern"]
        self.publisher = subprocess.Popen(
            command,
            env=environment(GREENROOM_TOKEN=token),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
