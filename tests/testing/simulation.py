"""Simulated participants, scenarios and the clock of a server, through the test API."""

import re
from datetime import datetime, timedelta

from control import Control


class Simulation:
    """The simulated participants of an account."""

    def __init__(self, tenant):
        self.tenant, self.control = tenant, Control.of(tenant)

    def join(self, stage, user=None, **members):
        members = {"stage": stage, **({"userId": user} if user else {}), **members}
        return self.control.call("POST", "/participants", members)

    def act(self, participant, action, **members):
        """Lets a participant act; returns it."""
        path = f"/participants/{id_of(participant)}/{action}"
        return self.control.call("POST", path, members or None)

    def shown(self, participant):
        return self.control.call("GET", f"/participants/{id_of(participant)}")

    def all(self, **query):
        return self.control.call("GET", "/participants", **query)["participants"]

    # What the API shows

    def events(self, participant):
        """The participant's events in its session."""
        session = self.shown(participant)["sessionId"]
        return self.tenant.walk(
            "ListParticipantEvents", 100, stageArn=participant["stageArn"], sessionId=session,
            participantId=participant["participantId"],
        )

    def names(self, participant):
        """Names, remote participants and error codes of its events."""
        parts = ("name", "remoteParticipantId", "errorCode")
        return [" ".join(filter(None, map(event.get, parts))) for event in self.events(participant)]

    def recorded(self, participant):
        """The participant as GetParticipant shows it."""
        session = self.shown(participant)["sessionId"]
        return self.tenant.participant(participant["stageArn"], session, participant["participantId"])


class TestClock:
    """The clock of a server."""

    __test__ = False

    def __init__(self, server):
        self.control = Control.all(server)

    def shown(self):
        return self.control.call("GET", "/clock")

    def now(self):
        return time(self.shown()["now"])

    def put(self, **members):
        return self.control.call("PUT", "/clock", members)

    def freeze(self, at=None):
        """Freezes the clock at a time in whole seconds, by default the next one; returns the time."""
        at = at or (self.now() + timedelta(seconds=1)).replace(microsecond=0)
        self.put(frozen=True, now=text(at))
        return at

    def advance(self, seconds):
        """Returns how many due times have fired."""
        return self.control.call("POST", "/clock/advance", {"seconds": seconds})["fired"]

    def resume(self):
        return self.control.call("DELETE", "/clock")


def id_of(participant):
    return participant if isinstance(participant, str) else participant["participantId"]


def time(text):
    return datetime.fromisoformat(re.sub(r"Z$", "+00:00", text))


def text(time):
    return time.isoformat().replace("+00:00", "Z")


def after(start, *times):
    """Seconds from a start to these times."""
    return [(one - start).total_seconds() for one in times]
