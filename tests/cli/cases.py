"""The test case of each example: its set-up, and corrections of errors in its printed text."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import setups
from conformance import ACCOUNT
from setups import GRID, PIP


@dataclass(frozen=True)
class Correction:
    """Corrects an error in a printed text. It fails if there is no match, so that it is removed once AWS has fixed the text."""

    text: str
    wrong: str
    right: str
    reason: str

    def apply(self, example):
        before = getattr(example, self.text)
        after, found = re.subn(self.wrong, self.right, before)
        assert found, f"{example.key}: nothing to correct: {self.reason}"
        return after


def command(wrong, right, reason):
    return Correction("command", wrong, right, reason)


def output(wrong, right, reason):
    return Correction("output", wrong, right, reason)


@dataclass(frozen=True)
class Case:
    """One example: its set-up, its corrections, and the order of its events if it differs from the printed one."""

    setup: Callable
    corrections: list = field(default_factory=list)
    events: tuple = ()


ONE_LINE = command(r"\\ *\n\s*", " ", "within single quotes a shell keeps the backslash, which is invalid JSON")
COMMA = output(r'"\n(\s*")', r'",\n\1', "a comma is missing between two members")
LAST_COMMA = output(r",(\s*[}\]])", r"\1", "a comma stands before a closing bracket")
NO_SESSION = output(r'"activeSessionId": "[^"]*",', "", "a stage has no session before its first participant joins")
DOUBLED_ARN = output("arn:aws:ivs:arn:aws:ivs:", "arn:aws:ivs:", "the prefix of an ARN is printed twice")
DOUBLED_WORD = output("arn:arn:", "arn:", "the first word of an ARN is printed twice")
NOT_A_KEY = output("-----BEGIN.*KEY-----", "(a public key)", "the printed key is redacted")
ONE_ACCOUNT = command("234567890123", ACCOUNT, "a participant is replicated within one account")
STARTED = output('"STARTING"', '"ACTIVE"', "a destination that has a start time has started")
HEADER = output(r", \\\n\s*", ",", "a header's value is split over three lines")
ARNS = [DOUBLED_ARN, DOUBLED_WORD]


def prefix(composition):
    ids = f"defgABCDabcd/{composition}"
    return output("aBcDeFgHhGfE/AbCdEfGhHgFe", ids, "a prefix begins with the ids of its stage and composition")


def bracket(wrong, right):
    return command(wrong, right, "a bracket closes the object before its last member")


def account(digits):
    return output(f":{digits}:", f":{ACCOUNT}:", "a participant is replicated within one account")


CASES = {
    ("create-encoder-configuration", 1): Case(setups.empty_account),
    ("create-ingest-configuration", 1): Case(setups.empty_account),
    ("create-participant-token", 1): Case(setups.one_stage),
    ("create-stage", 1): Case(setups.create_stage, [NO_SESSION]),
    ("create-stage", 2): Case(setups.create_stage, [ONE_LINE, COMMA, NO_SESSION]),
    ("create-stage", 3): Case(setups.create_stage, [ONE_LINE, NO_SESSION]),
    ("create-storage-configuration", 1): Case(setups.empty_account),
    ("delete-encoder-configuration", 1): Case(setups.delete_encoder),
    ("delete-ingest-configuration", 1): Case(setups.delete_ingest),
    ("delete-ingest-configuration", 2): Case(setups.delete_active_ingest),
    ("delete-public-key", 1): Case(setups.delete_public_key),
    ("delete-stage", 1): Case(setups.delete_stage),
    ("delete-storage-configuration", 1): Case(setups.delete_storage),
    ("disconnect-participant", 1): Case(setups.disconnect_participant),
    ("get-composition", 1): Case(setups.running_composition(GRID), [*ARNS, LAST_COMMA, STARTED, prefix(GRID)]),
    ("get-composition", 2): Case(setups.running_composition(PIP), [*ARNS, STARTED, prefix(PIP)]),
    ("get-composition", 3): Case(
        setups.running_composition(GRID, thumbnailConfigurations=[{}]),
        [*ARNS, COMMA, LAST_COMMA, STARTED, prefix(GRID)],
    ),
    ("get-encoder-configuration", 1): Case(setups.one_encoder),
    ("get-ingest-configuration", 1): Case(setups.one_ingest),
    ("get-participant", 1): Case(setups.recorded_participant),
    ("get-participant", 2): Case(setups.replicated_participant),
    ("get-participant", 3): Case(setups.replica),
    ("get-public-key", 1): Case(setups.one_public_key, [NOT_A_KEY]),
    ("get-stage", 1): Case(setups.get_stage),
    ("get-stage-session", 1): Case(setups.ended_session),
    ("get-storage-configuration", 1): Case(setups.one_storage),
    ("import-public-key", 1): Case(setups.import_public_key, [NOT_A_KEY]),
    ("list-compositions", 1): Case(setups.two_compositions),
    ("list-encoder-configurations", 1): Case(setups.two_encoders),
    ("list-ingest-configurations", 1): Case(
        setups.attached_ingest,
        [COMMA, LAST_COMMA, output("participnatId", "participantId", "two letters are transposed")],
    ),
    # The printed orders contradict each other and the user guide, which prints the oldest event first.
    ("list-participant-events", 1): Case(
        setups.disconnected_publisher, events=("JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT")
    ),
    ("list-participant-events", 2): Case(
        setups.stopped_replication,
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
    ("list-participant-replicas", 1): Case(setups.running_replication, [account("012345678901")]),
    ("list-participants", 1): Case(setups.disconnected_participant),
    ("list-participants", 2): Case(setups.disconnected_participant_with_replica),
    ("list-participants", 3): Case(
        setups.stopped_replica,
        [
            output("stage/abcdABCDefgh", "stage/sourceStage1", "a replica's source is another stage than its own"),
            output("st-a1b2c3d4e5f6g", "st-sourceSession", "a replica's source is another session than its own"),
        ],
    ),
    ("list-public-keys", 1): Case(setups.two_public_keys),
    ("list-stage-sessions", 1): Case(setups.ended_session),
    ("list-stages", 1): Case(setups.list_stages),
    ("list-storage-configurations", 1): Case(setups.two_storages),
    ("start-composition", 1): Case(setups.composition_prerequisites, [ONE_LINE, *ARNS, COMMA, prefix(GRID)]),
    ("start-composition", 2): Case(setups.composition_prerequisites, [ONE_LINE, *ARNS, prefix(PIP)]),
    ("start-composition", 3): Case(setups.composition_prerequisites, [ONE_LINE, *ARNS, COMMA, prefix(GRID)]),
    ("start-composition", 4): Case(setups.composition_prerequisites, [ONE_LINE, *ARNS, COMMA, prefix(GRID)]),
    ("start-participant-replication", 1): Case(setups.replication_to_start, [ONE_ACCOUNT, HEADER]),
    ("stop-composition", 1): Case(setups.stop_composition),
    ("stop-participant-replication", 1): Case(setups.replication_to_stop, [ONE_ACCOUNT, HEADER]),
    ("update-ingest-configuration", 1): Case(setups.ingest_and_stage),
    ("update-stage", 1): Case(setups.update_stage, [ONE_LINE, bracket(r"60\}\} ", "60}, ")]),
    ("update-stage", 2): Case(setups.update_stage, [ONE_LINE, bracket(r"false\} ", "false, ")]),
}
