"""A client under whose load the server is killed: it changes its own stages, and joins and leaves them."""

import http.client
import json
import random
import subprocess
import time

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from ledger import Ledger, StageOf
from server import binary, environment
from wire import Wire

# The errors of a call to a server that is gone.
GONE = (OSError, http.client.HTTPException, WebSocketException, EOFError)
REGION = "us-east-1"


class Refused(AssertionError):
    """An answer that nothing explains."""


class Client:
    """One of several, with stages of its own in an account that it shares with others."""

    def __init__(self, number, endpoint, seed, pause, publishes=False):
        self.number, self.endpoint, self.pause, self.publishes = number, endpoint, pause, publishes
        self.account = str(220000000000 + number // 2)
        self.random = random.Random(f"{seed} client {number}")
        self.ledger, self.guests, self.publisher = Ledger(), [], None
        self.encoder, self.made, self.unsure = None, 0, 0
        # When the server was gone, and how that was seen.
        self.fell, self.why = None, None
        self.problems = []

    # A round

    def work(self, stopped):
        """Makes one call after the other until the server is gone, or the round ends."""
        self.wire, self.fell = Wire(self.endpoint, self.account, REGION), None
        try:
            while not stopped.is_set():
                self.something()
                time.sleep(self.random.expovariate(1 / self.pause))
        except GONE as gone:
            self.fell, self.why = time.monotonic(), gone
        except Exception as error:  # It must not end unseen in its thread.
            self.problems.append(f"client {self.number}: {error!r}")

    def retry(self):
        """Asks again for the compositions that went unanswered."""
        self.wire = Wire(self.endpoint, self.account, REGION)
        while self.ledger.started:
            self.start_composition(*self.ledger.started.pop())

    def leave_everything(self):
        """Closes what is open, whether or not the server is there."""
        guests, self.guests = self.guests, []
        for _, _, socket in guests:
            try:
                socket.close()
            except GONE:
                pass
        if self.publisher:
            self.publisher.kill()
            self.publisher.wait()
            self.publisher = None

    def something(self):
        living = self.ledger.living()
        if self.encoder is None:
            return self.create_encoder()
        if self.ledger.started:
            return self.start_composition(*self.ledger.started.pop())
        if len(living) < 3:
            return self.create_stage()
        stage = self.random.choice(living)
        # Bounds the number of connected participants, and with it of sockets.
        room = len(self.guests) < 8
        choices = {
            self.update: 4,
            self.tag: 4,
            self.untag: 2,
            self.create_token: 4,
            self.join: 8 * room * bool(stage.tokens),
            self.leave: 2 + 4 * (not room),
            self.disconnect: 1,
            self.start_composition: 0.7,
            self.stop_composition: 0.7,
            self.publish: 1.5 * self.publishes,
            self.delete: 0.15,
            lambda _: self.create_stage(): 0.3,
        }
        [act] = self.random.choices(list(choices), list(choices.values()))
        return act(stage)

    # Calls

    def call(self, operation, document, *allowed):
        """A call that changes something: its answer, or `None` where it was refused as it may be."""
        self.unsure += 1
        answer = self.wire.call(operation, document)
        self.unsure -= 1
        if answer.status == 200:
            self.ledger.calls.append((operation, answer.headers["x-amzn-requestid"]))
            return answer.json if answer.body else {}
        if answer.fault not in allowed:
            raise Refused(f"{operation} {document}: {answer.status} {answer.body[:300]!r}")
        return None

    def change(self, held, state, operation, document, *allowed):
        """A call that leads to a state."""
        held.attempt(state)
        if self.call(operation, document, *allowed) is None:
            held.refused()
        else:
            held.acknowledged()

    def create_encoder(self):
        # One that was made without our knowing does no harm.
        made = self.call("CreateEncoderConfiguration", {"name": f"encoder-{self.number}"})
        self.encoder = made["encoderConfiguration"]["arn"]

    def create_stage(self):
        self.made += 1
        state = {"name": f"stage-{self.number}-{self.made}", "tags": {"made": str(self.made)}}
        self.ledger.created.append(state)
        stage = self.call("CreateStage", {**state, "participantTokenConfigurations": [{}, {}]})
        self.ledger.created.pop()
        self.keep(stage["stage"], state, stage["participantTokens"])

    def keep(self, stage, state, tokens=()):
        arn = stage["arn"]
        held = StageOf(key=arn, states=[state], topic=arn.split("/")[1])
        held.tokens = {token["participantId"]: token["token"] for token in tokens}
        self.ledger.stages[arn] = held

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
        made = self.call("CreateParticipantToken", {"stageArn": stage.key, "attributes": {"of": str(self.number)}})
        token = made["participantToken"]
        stage.tokens[token["participantId"]] = token["token"]

    def delete(self, stage):
        self.change(stage, None, "DeleteStage", {"arn": stage.key})

    def disconnect(self, stage):
        here = [participant for held, participant, _ in self.guests if held is stage]
        if here:
            document = {"stageArn": stage.key, "participantId": self.random.choice(here)}
            self.call("DisconnectParticipant", document)

    # Compositions

    def start_composition(self, stage, token=None):
        """Starts one; what went unanswered is asked for again, with the token that it was first asked for with."""
        token = token or f"token-{self.random.randrange(10**12)}"
        self.ledger.started.append((stage, token))
        channel = f"arn:aws:ivs:{REGION}:{self.account}:channel/abcdefghijkl"
        destination = {"channel": {"channelArn": channel, "encoderConfigurationArn": self.encoder}}
        document = {"stageArn": stage.key, "idempotencyToken": token, "destinations": [destination]}
        # The stage may have been deleted since.
        started = self.call("StartComposition", document, "ResourceNotFoundException")
        self.ledger.started.pop()
        if started:
            stage.compositions.setdefault(started["composition"]["arn"], False)

    def stop_composition(self, stage):
        going = [arn for arn, stopped in stage.compositions.items() if not stopped]
        if going:
            arn = self.random.choice(going)
            self.call("StopComposition", {"arn": arn})
            stage.compositions[arn] = True

    # Participants

    def join(self, stage):
        participant, token = stage.tokens.popitem()
        stage.perhaps.append(participant)
        url = f"{self.endpoint.replace('http', 'ws', 1)}/events/{stage.topic}"
        options = {"open_timeout": 20, "close_timeout": 2, "ping_interval": None, "proxy": None}
        # Not for the length of a block: it is closed when the participant leaves.
        socket = connect(url, subprotocols=[token], legacy=True, **options)
        self.guests.append((stage, participant, socket))
        said = json.loads(socket.recv(timeout=20))
        if said["type"] != "STAGE_STATE":
            raise Refused(f"{participant} was not let in to {stage.key}: {said}")
        stage.perhaps.remove(participant)
        stage.joined.append(participant)

    def leave(self, stage):
        if self.guests:
            _, _, socket = self.guests.pop(self.random.randrange(len(self.guests)))
            socket.close()

    def publish(self, stage):
        """A real publisher; its events say what became of it."""
        if self.publisher or not stage.tokens:
            return
        participant, token = stage.tokens.popitem()
        stage.perhaps.append(participant)
        command = [binary("GREENROOM_BIN"), "join", "--publish", "test-pattern"]
        self.publisher = subprocess.Popen(
            command,
            env=environment(GREENROOM_TOKEN=token),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
