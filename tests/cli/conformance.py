"""Compares what the aws CLI prints here with what its documentation prints.

Every printed member must be there. Its value must be the same, but for what no two runs share: ids, ARNs, tokens,
times, fingerprints and addresses must have the same form, and one printed id must always stand for one id of ours.
An id in an ARN is known by its type and id ("stage/abcd"), any other by itself.
"""

import re

ACCOUNT = "123456789012"

# Members whose value differs from run to run, and the form that ours must have.
FORMS = {
    "participantId": r"[A-Za-z0-9]{12}",
    "id": r"[A-Za-z0-9]{12}",
    "activeSessionId": r"st-[A-Za-z0-9]{13}",
    "sessionId": r"st-[A-Za-z0-9]{13}",
    "sourceSessionId": r"st-[A-Za-z0-9]{13}",
    "destinationSessionId": r"st-[A-Za-z0-9]{13}",
    "token": r"[\w-]+\.[\w-]+\.[\w-]+",
    "fingerprint": r"[0-9a-f]{2}(:[0-9a-f]{2}){15}",
    "events": r"wss?://\S+",
    "whip": r"https?://\S+",
    "rtmp": r"rtmp://\S+/app/",
    "rtmps": r"rtmps://\S+/app/",
} | dict.fromkeys(
    ["startTime", "endTime", "firstJoinTime", "eventTime", "expirationTime"],
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00",
)
ARN = re.compile(r"arn:aws:ivs:(?P<region>[a-z0-9-]+):(?P<account>\d+):(?P<type>[a-z-]+)/(?P<id>[A-Za-z0-9-]+)")


class Conformance:
    """One comparison. `ours` maps what is printed (an id, a key's text) to what this server has in its place."""

    def __init__(self, ours, region):
        self.ours = dict(ours)
        self.region = region
        self.differences = []

    def compare(self, printed, actual, path="output"):
        """Notes each way in which `actual` is not like `printed`."""
        if isinstance(printed, dict):
            self._members(printed, actual, path)
        elif isinstance(printed, list):
            self._elements(printed, actual, path)
        elif isinstance(printed, str) and printed:
            self._text(printed, actual, path)
        elif type(printed) is bool or type(actual) is bool or printed != actual:
            self._must(printed is actual, path, printed, actual)

    def _members(self, printed, actual, path):
        if self._must(isinstance(actual, dict), path, printed, actual):
            if not printed:
                self._must(not actual, path, printed, actual)
            for name, value in printed.items():
                if self._must(name in actual, f"{path}.{name}", value, "(absent)"):
                    self.compare(value, actual[name], f"{path}.{name}")

    def _elements(self, printed, actual, path):
        if self._must(isinstance(actual, list) and len(actual) == len(printed), path, printed, actual):
            for index, pair in enumerate(zip(printed, actual)):
                self.compare(*pair, f"{path}[{index}]")

    def _text(self, printed, actual, path):
        name = path.rpartition(".")[2]
        if not self._must(isinstance(actual, str), path, printed, actual):
            return
        if printed in self.ours:
            self._must(actual == self.ours[printed], path, self.ours[printed], actual)
        elif ARN.fullmatch(printed):
            self._arn(printed, actual, path)
        elif name in ("recordingPrefix", "recordingS3Prefix"):
            self._pieces("/", printed, actual, path)
        elif name == "streamKey":
            self._pieces("_", printed, actual, path)
        elif name in FORMS:
            if self._must(re.fullmatch(FORMS[name], actual), path, FORMS[name], actual) and name.lower().endswith("id"):
                self._same(printed, actual, path)
        else:
            self._must(printed == actual, path, printed, actual)

    def _arn(self, printed, actual, path):
        here, there = ARN.fullmatch(actual), ARN.fullmatch(printed)
        if self._must(here, path, printed, actual):
            expected = (self.region, ACCOUNT, there["type"])
            self._must(here.group("region", "account", "type") == expected, path, expected, actual)
            if there["type"] == "channel":
                self._must(printed == actual, path, printed, actual)
            else:
                self._must(re.fullmatch("[A-Za-z0-9]{12}", here["id"]), path, printed, actual)
                self._same(f"{there['type']}/{there['id']}", f"{there['type']}/{here['id']}", path)

    def _pieces(self, separator, printed, actual, path):
        """A text made of ids: as many pieces, of which a printed id stands for the same id as elsewhere."""
        theirs, mine = printed.split(separator), actual.split(separator)
        if self._must(len(theirs) == len(mine) and all(mine), path, printed, actual):
            for piece, own in zip(theirs, mine):
                if piece in ("rt", "composite", ACCOUNT, self.region):
                    self._must(piece == own, path, piece, actual)
                else:
                    self._must(re.fullmatch("[A-Za-z0-9-]{10,}", own), path, printed, actual)
                    self._piece(piece, own, path)

    def _piece(self, printed, actual, path):
        """An id without its type: the one of an ARN met before, or one of its own."""
        met = [ours for theirs, ours in self.ours.items() if theirs.endswith(f"/{printed}")]
        if met:
            self._must(any(ours.endswith(f"/{actual}") for ours in met), path, f"{printed} (here {met})", actual)
        else:
            self._same(printed, actual, path)

    def _same(self, printed, actual, path):
        expected = self.ours.setdefault(printed, actual)
        self._must(expected == actual, path, f"{printed} (here {expected})", actual)

    def _must(self, holds, path, printed, actual):
        if not holds:
            self.differences.append(f"{path}: printed {printed!r}, here {actual!r}")
        return bool(holds)


def differences(printed, actual, ours, region):
    """The ways in which `actual` is not like `printed`; none when it is."""
    conformance = Conformance(ours, region)
    conformance.compare(printed, actual)
    return conformance.differences
