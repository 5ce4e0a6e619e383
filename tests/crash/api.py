"""The state of the service, read over its API."""

from wire import Wire


class Record:
    """The API of one account."""

    def __init__(self, endpoint, account, region):
        self.wire = Wire(endpoint, account, region)

    def ask(self, operation, **document):
        """The answer to a call, or `None` where there is no such thing."""
        answer = self.wire.call(operation, document)
        if answer.fault == "ResourceNotFoundException":
            return None
        assert answer.status == 200, (operation, document, answer)
        return answer.json

    def all(self, operation, member, **document):
        """Every item of a list."""
        found, document = [], document | {"maxResults": 100}
        while True:
            page = self.ask(operation, **document)
            found += page[member]
            if not page.get("nextToken"):
                return found
            document["nextToken"] = page["nextToken"]

    def stage(self, arn):
        """The state of a stage as a ledger has it."""
        found = self.ask("GetStage", arn=arn)
        return found and self.state(found["stage"])

    @staticmethod
    def state(stage):
        return {"name": stage.get("name", ""), "tags": stage["tags"]}

    def stages(self):
        """The states of all stages by their ARNs."""
        return {stage["arn"]: self.state(stage) for stage in self.all("ListStages", "stages")}

    def composition(self, arn):
        """The state of a composition, or `None`."""
        found = self.ask("GetComposition", arn=arn)
        return found and found["composition"]["state"]

    def compositions(self):
        return {found["arn"]: found for found in self.all("ListCompositions", "compositions")}

    def sessions(self, stage):
        """The sessions of a stage, the oldest first."""
        return self.all("ListStageSessions", "stageSessions", stageArn=stage)[::-1]

    def events(self, stage, session):
        """For each participant of a session, the names of its events, the oldest first."""
        place = {"stageArn": stage, "sessionId": session}
        participants = [found["participantId"] for found in self.all("ListParticipants", "participants", **place)]
        return {
            participant: [
                event["name"]
                for event in self.all("ListParticipantEvents", "events", **place, participantId=participant)
            ]
            for participant in participants
        }
