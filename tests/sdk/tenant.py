"""One account of a server, with the short sentences that tests are written in."""

import string
from contextlib import contextmanager

import pytest
from botocore.exceptions import ClientError
from botocore.paginate import Paginator

from aws_model import BY_NAME


class Tenant:
    """An account in a region: its boto3 client, its raw connection, and what it needs to have things going on."""

    def __init__(self, server, account, region):
        self.server, self.account, self.region = server, account, region
        self.test_server = server.test_server
        self.ivs = server.client(account, region)

    @property
    def wire(self):
        return self.server.wire(self.account, self.region)

    def elsewhere(self):
        """The same account in another region."""
        return self.server.tenant(self.account, "eu-west-1")

    def arn(self, kind, name="abcdefghijkl"):
        """An ARN of this account and region; by default of nothing that exists."""
        return f"arn:aws:ivs:{self.region}:{self.account}:{kind}/{name}"

    # Resources

    def stage(self, **members):
        return self.ivs.create_stage(**members)["stage"]["arn"]

    def encoder(self, **members):
        return self.ivs.create_encoder_configuration(**members)["encoderConfiguration"]["arn"]

    def storage(self, **members):
        s3 = {"bucketName": "recordings"}
        return self.ivs.create_storage_configuration(s3=s3, **members)["storageConfiguration"]["arn"]

    def ingest(self, **members):
        members = {"ingestProtocol": "RTMPS", **members}
        return self.ivs.create_ingest_configuration(**members)["ingestConfiguration"]

    def composition(self, stage, **members):
        """A composition to a channel, unless other destinations are given."""
        if "destinations" not in members:
            channel = {"channelArn": self.arn("channel"), "encoderConfigurationArn": self.encoder()}
            members["destinations"] = [{"channel": channel}]
        return self.ivs.start_composition(stageArn=stage, **members)["composition"]

    # What participants do

    def token(self, stage, **members):
        return self.ivs.create_participant_token(stageArn=stage, **members)["participantToken"]

    def join(self, stage, participant=None, **members):
        """A participant joins: a new one unless one is named. Returns the ids of the session and of the participant."""
        participant = participant or self.token(stage)["participantId"]
        joined = self.test_server.do("join", stage=stage, participant=participant, **members)
        return joined["sessionId"], participant

    def publish(self, stage, **members):
        """A new participant joins and publishes."""
        session, participant = self.join(stage, **members)
        self.test_server.do("publish", stage=stage, participant=participant)
        return session, participant

    def act(self, verb, stage, participant, **members):
        self.test_server.do(verb, stage=stage, participant=participant, **members)

    def advance(self, seconds):
        self.test_server.advance(seconds)

    # What tests look up

    def participant(self, stage, session, participant):
        found = self.ivs.get_participant(stageArn=stage, sessionId=session, participantId=participant)
        return found["participant"]

    def events(self, stage, session, participant):
        members = {"stageArn": stage, "sessionId": session, "participantId": participant}
        return self.ivs.list_participant_events(**members)["events"]

    def pages(self, operation, size, **members):
        """The pages of a list operation, walked by botocore's own paginator."""
        return list(self.paginator(operation).paginate(**members, PaginationConfig={"PageSize": size}))

    def paginator(self, operation):
        """botocore's paginator; for the operations that its own list leaves out, the same class with the same terms."""
        method = method_of(operation)
        if self.ivs.can_paginate(method):
            return self.ivs.get_paginator(method)
        terms = {
            "input_token": "nextToken",
            "output_token": "nextToken",
            "limit_key": "maxResults",
            "result_key": items_of(operation),
        }
        return Paginator(getattr(self.ivs, method), terms, BY_NAME[operation])

    def walk(self, operation, size, **members):
        """All items of a list operation, page by page."""
        return [item for page in self.pages(operation, size, **members) for item in page[items_of(operation)]]


def items_of(operation):
    """The member of a list operation's answer that holds its items."""
    return next(name for name, member in BY_NAME[operation].output_shape.members.items() if member.type_name == "list")


def method_of(operation):
    """The boto3 method of an operation: ListStages is list_stages."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in operation).lstrip("_")


@contextmanager
def refused(fault, *words):
    """The block is answered with this fault, and its text holds these words."""
    with pytest.raises(ClientError) as caught:
        yield
    error = caught.value.response["Error"]
    assert error["Code"] == fault, error
    for word in words:
        assert word in error["Message"], error


def invalid(*words):
    return refused("ValidationException", *words)


def missing(arn):
    """The block is answered: this resource does not exist."""
    return refused("ResourceNotFoundException", f"Resource: {arn} not found")


def conflicting(*words):
    return refused("ConflictException", *words)


def over_quota(*words):
    return refused("ServiceQuotaExceededException", *words)


ALPHANUMERIC = set(string.ascii_letters + string.digits)


def is_id(text):
    """Whether this is an id as the service makes them: twelve letters and digits."""
    return len(text) == 12 and set(text) <= ALPHANUMERIC


def check_arn(tenant, kind, arn):
    """Asserts that an ARN is one of this tenant and kind, with a made id."""
    prefix, _, name = arn.rpartition("/")
    assert prefix == f"arn:aws:ivs:{tenant.region}:{tenant.account}:{kind}", arn
    assert is_id(name), arn
