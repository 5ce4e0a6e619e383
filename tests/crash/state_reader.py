"""Reads the state of the service over its API."""

from wire import Wire


class StateReader:
    """The API of one account."""

    def __init__(self, endpoint, account, region):
        self.wire = Wire(endpoint, account, region)

    def request(self, operation, **document):
        """The response to a request, or `None` if the resource does not exist."""
        answer = self.wire.call(operation, document)
        if answer.fault == "ResourceNotFoundException":
            return None
        assert answer.status == 200, (operation, document, answer)
        return answer.json

    def list_all(self, operation, member, **document):
        """All items of a paginated list."""
        found, document = [], document | {"maxResults": 100}
        while True:
            page = self.request(operation, **document)
            found += page[member]
            if not page.get("nextToken"):
                return found
            document["nextToken"] = page["nextToken"]

    def stage(self, arn):
        """The state of a stage, in the form of `ExpectedStage`."""
        found = self.request("GetStage", arn=arn)
        return found and self.state(found["stage"])

    @staticmethod
    def state(stage):
        return {"name": stage.get("name", ""), "tags": stage["tags"]}

    def stages(self):
        """The states of all stages by their ARNs."""
        return {stage["arn"]: self.state(stage) for stage in self.list_all("ListStages", "stages")}

    def composition(self, arn):
        """The state of a composition, or `None`."""
        found = self.request("GetComposition", arn=arn)
        return found and found["composition"]["state"]

    def compositions(self):
        return {found["arn"]: found for found in self.list_all("ListCompositions", "compositions")}

    def sessions(self, stage):
        """The sessions of a stage, oldest first."""
        return self.list_all("ListStageSessions", "stageSessions", stageArn=stage)[::-1]

    def events(self, stage, session):
        """The event names of each participant of a session, oldest first."""
        session_of = {"stageArn": stage, "sessionId": session}
        participants = [found["participantId"] for found in self.list_all("ListParticipants", "participants", **session_of)]
        return {
            participant: [
                event["name"]
                for event in self.list_all("ListParticipantEvents", "events", **session_of, participantId=participant)
            ]
            for participant in participants
        }
