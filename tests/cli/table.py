"""The scene of each example, and where its printed text has to be put right first."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import scenes
from conformance import ACCOUNT
from scenes import GRID, PIP


@dataclass(frozen=True)
class Correction:
    """Puts a printed text right. It must find what it corrects: once AWS has mended its text, it has to go."""

    text: str
    wrong: str
    right: str
    reason: str

    def apply(self, example):
        before = getattr(example, self.text)
        after, found = re.subn(self.wrong, self.right, before)
        assert found, f"{example.key}: nothing left to correct: {self.reason}"
        return after


def command(wrong, right, reason):
    return Correction("command", wrong, right, reason)


def output(wrong, right, reason):
    return Correction("output", wrong, right, reason)


@dataclass(frozen=True)
class Scene:
    """How one example is played: the set-up, the corrections, and the order of its events where it is another."""

    play: Callable
    corrections: list = field(default_factory=list)
    events: tuple = ()


ONE_LINE = command(r"\\ *\n\s*", " ", "within single quotes a shell keeps the backslash, and JSON does not take it")
COMMA = output(r'"\n(\s*")', r'",\n\1', "a comma is missing between two members")
LAST_COMMA = output(r",(\s*[}\]])", r"\1", "a comma stands before a closing bracket")
NO_SESSION = output(r'"activeSessionId": "[^"]*",', "", "a stage has no session before its first participant joins")
DOUBLED_ARN = output("arn:aws:ivs:arn:aws:ivs:", "arn:aws:ivs:", "the beginning of an ARN is printed twice")
DOUBLED_WORD = output("arn:arn:", "arn:", "the first word of an ARN is printed twice")
NOT_A_KEY = output("-----BEGIN.*KEY-----", "(a public key)", "the printed key was made unreadable")
ONE_ACCOUNT = command("234567890123", ACCOUNT, "a participant is replicated within one account")
STARTED = output('"STARTING"', '"ACTIVE"', "a destination that has a start time has started")
HEADER = output(r", \\\n\s*", ",", "a header's value is broken over three lines")
ARNS = [DOUBLED_ARN, DOUBLED_WORD]


def prefix(composition):
    ids = f"defgABCDabcd/{composition}"
    return output("aBcDeFgHhGfE/AbCdEfGhHgFe", ids, "a prefix begins with the ids of its stage and composition")


def bracket(wrong, right):
    return command(wrong, right, "a bracket closes the object before its last member")


def account(digits):
    return output(f":{digits}:", f":{ACCOUNT}:", "a participant is replicated within one account")


SCENES = {
    ("create-encoder-configuration", 1): Scene(scenes.empty_account),
    ("create-ingest-configuration", 1): Scene(scenes.empty_account),
    ("create-participant-token", 1): Scene(scenes.one_stage),
    ("create-stage", 1): Scene(scenes.create_stage, [NO_SESSION]),
    ("create-stage", 2): Scene(scenes.create_stage, [ONE_LINE, COMMA, NO_SESSION]),
    ("create-stage", 3): Scene(scenes.create_stage, [ONE_LINE, NO_SESSION]),
    ("create-storage-configuration", 1): Scene(scenes.empty_account),
    ("delete-encoder-configuration", 1): Scene(scenes.delete_encoder),
    ("delete-ingest-configuration", 1): Scene(scenes.delete_ingest),
    ("delete-ingest-configuration", 2): Scene(scenes.delete_active_ingest),
    ("delete-public-key", 1): Scene(scenes.delete_public_key),
    ("delete-stage", 1): Scene(scenes.delete_stage),
    ("delete-storage-configuration", 1): Scene(scenes.delete_storage),
    ("disconnect-participant", 1): Scene(scenes.disconnect_participant),
    ("get-composition", 1): Scene(scenes.running_composition(GRID), [*ARNS, LAST_COMMA, STARTED, prefix(GRID)]),
    ("get-composition", 2): Scene(scenes.running_composition(PIP), [*ARNS, STARTED, prefix(PIP)]),
    ("get-composition", 3): Scene(
        scenes.running_composition(GRID, thumbnailConfigurations=[{}]),
        [*ARNS, COMMA, LAST_COMMA, STARTED, prefix(GRID)],
    ),
    ("get-encoder-configuration", 1): Scene(scenes.one_encoder),
    ("get-ingest-configuration", 1): Scene(scenes.one_ingest),
    ("get-participant", 1): Scene(scenes.recorded_participant),
    ("get-participant", 2): Scene(scenes.replicated_participant),
    ("get-participant", 3): Scene(scenes.replica),
    ("get-public-key", 1): Scene(scenes.one_public_key, [NOT_A_KEY]),
    ("get-stage", 1): Scene(scenes.get_stage),
    ("get-stage-session", 1): Scene(scenes.ended_session),
    ("get-storage-configuration", 1): Scene(scenes.one_storage),
    ("import-public-key", 1): Scene(scenes.import_public_key, [NOT_A_KEY]),
    ("list-compositions", 1): Scene(scenes.two_compositions),
    ("list-encoder-configurations", 1): Scene(scenes.two_encoders),
    ("list-ingest-configurations", 1): Scene(
        scenes.attached_ingest,
        [COMMA, LAST_COMMA, output("participnatId", "participantId", "two letters changed places")],
    ),
    # The printed orders agree neither with each other nor with the user guide, which prints the oldest event first.
    ("list-participant-events", 1): Scene(
        scenes.past_publisher, events=("JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT")
    ),
    ("list-participant-events", 2): Scene(
        scenes.past_replication,
        [account("12345678901")],
        events=(
            "JOINED",
            "PUBLISH_STARTED",
            "REPLICATION_STARTED",
            "REPLICATION_STOPPED",
            "PUBLISH_STOPPED",
            "LEFT",
        ),
    ),
    ("list-participant-replicas", 1): Scene(scenes.running_replication, [account("012345678901")]),
    ("list-participants", 1): Scene(scenes.past_participant),
    ("list-participants", 2): Scene(scenes.past_participant_still_replicated),
    ("list-participants", 3): Scene(
        scenes.past_replica,
        [
            output("stage/abcdABCDefgh", "stage/sourceStage1", "a replica's source is another stage than its own"),
            output("st-a1b2c3d4e5f6g", "st-sourceSession", "a replica's source is another session than its own"),
        ],
    ),
    ("list-public-keys", 1): Scene(scenes.two_public_keys),
    ("list-stage-sessions", 1): Scene(scenes.ended_session),
    ("list-stages", 1): Scene(scenes.list_stages),
    ("list-storage-configurations", 1): Scene(scenes.two_storages),
    ("start-composition", 1): Scene(scenes.ready_to_compose, [ONE_LINE, *ARNS, COMMA, prefix(GRID)]),
    ("start-composition", 2): Scene(scenes.ready_to_compose, [ONE_LINE, *ARNS, prefix(PIP)]),
    ("start-composition", 3): Scene(scenes.ready_to_compose, [ONE_LINE, *ARNS, COMMA, prefix(GRID)]),
    ("start-composition", 4): Scene(scenes.ready_to_compose, [ONE_LINE, *ARNS, COMMA, prefix(GRID)]),
    ("start-participant-replication", 1): Scene(scenes.replication_to_start, [ONE_ACCOUNT, HEADER]),
    ("stop-composition", 1): Scene(scenes.stop_composition),
    ("stop-participant-replication", 1): Scene(scenes.replication_to_stop, [ONE_ACCOUNT, HEADER]),
    ("update-ingest-configuration", 1): Scene(scenes.ingest_and_stage),
    ("update-stage", 1): Scene(scenes.update_stage, [ONE_LINE, bracket(r"60\}\} ", "60}, ")]),
    ("update-stage", 2): Scene(scenes.update_stage, [ONE_LINE, bracket(r"false\} ", "false, ")]),
}
