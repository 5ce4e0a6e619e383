"""Compares output of the aws CLI against greenroom with the output in the CLI's documentation.

Every documented member must be present and equal. Values that differ from run to run (ids, ARNs, tokens, times,
fingerprints and URLs) must have the documented form, and each documented id must map to one actual id everywhere. An id in
an ARN is keyed by its type and id ("stage/abcd"), any other by itself.
"""

import re

ACCOUNT = "123456789012"

# Members whose value differs from run to run, and the form of the actual value.
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
    """One comparison. `actual_ids` maps documented values (an id, a key's text) to this server's."""

    def __init__(self, actual_ids, region):
        self.actual_ids = dict(actual_ids)
        self.region = region
        self.differences = []

    def compare(self, printed, actual, path="output"):
        """Records each difference between `printed` and `actual`."""
        if isinstance(printed, dict):
            self._members(printed, actual, path)
        elif isinstance(printed, list):
            self._elements(printed, actual, path)
        elif isinstance(printed, str) and printed:
            self._text(printed, actual, path)
        elif type(printed) is bool or type(actual) is bool or printed != actual:
            self._check(printed is actual, path, printed, actual)

    def _members(self, printed, actual, path):
        if self._check(isinstance(actual, dict), path, printed, actual):
            if not printed:
                self._check(not actual, path, printed, actual)
            for name, value in printed.items():
                if self._check(name in actual, f"{path}.{name}", value, "(absent)"):
                    self.compare(value, actual[name], f"{path}.{name}")

    def _elements(self, printed, actual, path):
        if self._check(isinstance(actual, list) and len(actual) == len(printed), path, printed, actual):
            for index, pair in enumerate(zip(printed, actual)):
                self.compare(*pair, f"{path}[{index}]")

    def _text(self, printed, actual, path):
        name = path.rpartition(".")[2]
        if not self._check(isinstance(actual, str), path, printed, actual):
            return
        if printed in self.actual_ids:
            self._check(actual == self.actual_ids[printed], path, self.actual_ids[printed], actual)
        elif ARN.fullmatch(printed):
            self._arn(printed, actual, path)
        elif name in ("recordingPrefix", "recordingS3Prefix"):
            self._parts("/", printed, actual, path)
        elif name == "streamKey":
            self._parts("_", printed, actual, path)
        elif name in FORMS:
            if self._check(re.fullmatch(FORMS[name], actual), path, FORMS[name], actual) and name.lower().endswith("id"):
                self._same_id(printed, actual, path)
        else:
            self._check(printed == actual, path, printed, actual)

    def _arn(self, printed, actual, path):
        found, expected_arn = ARN.fullmatch(actual), ARN.fullmatch(printed)
        if self._check(found, path, printed, actual):
            expected = (self.region, ACCOUNT, expected_arn["type"])
            self._check(found.group("region", "account", "type") == expected, path, expected, actual)
            if expected_arn["type"] == "channel":
                self._check(printed == actual, path, printed, actual)
            else:
                self._check(re.fullmatch("[A-Za-z0-9]{12}", found["id"]), path, printed, actual)
                self._same_id(f"{expected_arn['type']}/{expected_arn['id']}", f"{expected_arn['type']}/{found['id']}", path)

    def _parts(self, separator, printed, actual, path):
        """A text composed of ids: the same number of parts, and each id maps as elsewhere."""
        printed_parts, actual_parts = printed.split(separator), actual.split(separator)
        if self._check(len(printed_parts) == len(actual_parts) and all(actual_parts), path, printed, actual):
            for printed_part, actual_part in zip(printed_parts, actual_parts):
                if printed_part in ("rt", "composite", ACCOUNT, self.region):
                    self._check(printed_part == actual_part, path, printed_part, actual)
                else:
                    self._check(re.fullmatch("[A-Za-z0-9-]{10,}", actual_part), path, printed, actual)
                    self._part(printed_part, actual_part, path)

    def _part(self, printed, actual, path):
        """An id without its type: that of an earlier ARN, or a new one."""
        known = [value for key, value in self.actual_ids.items() if key.endswith(f"/{printed}")]
        if known:
            self._check(any(value.endswith(f"/{actual}") for value in known), path, f"{printed} (found {known})", actual)
        else:
            self._same_id(printed, actual, path)

    def _same_id(self, printed, actual, path):
        expected = self.actual_ids.setdefault(printed, actual)
        self._check(expected == actual, path, f"{printed} (found {expected})", actual)

    def _check(self, condition, path, printed, actual):
        if not condition:
            self.differences.append(f"{path}: printed {printed!r}, found {actual!r}")
        return bool(condition)


def differences(printed, actual, actual_ids, region):
    """The differences between `printed` and `actual`; empty if they conform."""
    conformance = Conformance(actual_ids, region)
    conformance.compare(printed, actual)
    return conformance.differences
