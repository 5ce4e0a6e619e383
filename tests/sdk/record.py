"""What the service has written down, asked for by boto3."""

import time

PATIENCE_SECONDS = 20


def eventually(look):
    """Waits for `look` to answer something, and answers it."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        assert time.monotonic() < end, f"not within {PATIENCE_SECONDS} s: {look}"
        time.sleep(0.1)
    return found


class Record:
    """The record of a stage."""

    def __init__(self, ivs, stage):
        self.ivs, self.stage = ivs, stage

    def sessions(self):
        """The stage's sessions, the newest first."""
        return self.ivs.list_stage_sessions(stageArn=self.stage)["stageSessions"]

    def session(self):
        """The id of its only session."""
        [session] = self.sessions()
        return session["sessionId"]

    def ended_session(self):
        """Waits for its only session to have ended, and answers it."""
        return eventually(lambda: next((one for one in self.sessions() if one.get("endTime")), None))

    def participants(self):
        listed = self.ivs.list_participants(stageArn=self.stage, sessionId=self.session())["participants"]
        return {one["participantId"]: one for one in listed}

    def participant(self, participant):
        of = {"stageArn": self.stage, "sessionId": self.session(), "participantId": participant}
        return self.ivs.get_participant(**of)["participant"]

    def gone(self, participant):
        """Waits until a participant is DISCONNECTED, and returns it."""

        def look():
            found = self.participant(participant)
            return found if found["state"] == "DISCONNECTED" else None

        return eventually(look)

    def events(self, participant):
        """A participant's events in the order of their times, oldest first. A page of them is enough for any test."""
        of = {"stageArn": self.stage, "sessionId": self.session(), "participantId": participant}
        page = self.ivs.list_participant_events(**of, maxResults=100)
        assert "nextToken" not in page
        return sorted(page["events"], key=lambda event: event["eventTime"])

    def story(self, participant):
        """The events by name, each with the other participant that it is about, if any."""
        told = ((event["name"], event.get("remoteParticipantId")) for event in self.events(participant))
        return [f"{name} {remote}" if remote else name for name, remote in told]
