"""What each operation asks of a policy: the table of the AWS service authorization reference for `ivs`.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoninteractivevideoservice.html
"""

import re
from dataclasses import dataclass

from tenant import method_of

KINDS = "channel|composition|encoder-configuration|ingest-configuration|public-key|stage|storage-configuration"
STAGE, OTHER = "stage/abcdefghijkl", "stage/mnopqrstuvwx"
INGEST, COMPOSITION, KEY = "ingest-configuration/abcdefghijkl", "composition/abcdefghijkl", "public-key/abcdefghijkl"
SESSION = {"stageArn": STAGE, "sessionId": "st-abcdefghijklm"}
PARTICIPANT = {**SESSION, "participantId": "abcdefghijkl"}
CHANNEL, ENCODER, SECOND, STORAGE = (
    "channel/abcdefghijkl",
    "encoder-configuration/abcdefghijkl",
    "encoder-configuration/mnopqrstuvwx",
    "storage-configuration/abcdefghijkl",
)
DESTINATIONS = [
    {"channel": {"channelArn": CHANNEL, "encoderConfigurationArn": ENCODER}},
    {"s3": {"encoderConfigurationArns": [SECOND], "storageConfigurationArn": STORAGE}},
]
PEM = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
TAGS = {"tags": {"team": "blue"}}


@dataclass(frozen=True)
class Row:
    """A request (an ARN in it is written `kind/id`) and the resources that its action must be allowed on."""

    operation: str
    request: dict
    resources: tuple
    tagged: str | None = None

    def asked_in(self, account, region="us-east-1"):
        """Every pair of action and resource that must be allowed."""
        pairs = [(self.operation, resource) for resource in self.resources]
        if self.tagged:
            pairs.append(("TagResource", self.tagged))
        return [(f"ivs:{action}", arns(resource, account, region)) for action, resource in pairs]

    def send(self, ivs, account):
        """Sends the request with a boto3 client."""
        region = ivs.meta.region_name
        return getattr(ivs, method_of(self.operation))(**arns(self.request, account, region))


def arns(value, account, region):
    """A copy of a value in which ARNs are spelled out."""
    if isinstance(value, dict):
        return {name: arns(member, account, region) for name, member in value.items()}
    if isinstance(value, list):
        return [arns(item, account, region) for item in value]
    if isinstance(value, str) and re.fullmatch(rf"({KINDS})/.+", value):
        return f"arn:aws:ivs:{region}:{account}:{value}"
    return value


def one(operation, arn):
    """An operation on the one resource that it names as `arn`."""
    return Row(operation, {"arn": arn}, (arn,))


def making(operation, kind, **members):
    """An operation that makes a resource, without and with tags."""
    yield Row(operation, members, (f"{kind}/*",))
    yield Row(operation, {**members, **TAGS}, (f"{kind}/*",), f"{kind}/*")


REPLICATION = {"sourceStageArn": STAGE, "destinationStageArn": OTHER, "participantId": "abcdefghijkl"}
COMPOSE = {"stageArn": STAGE, "destinations": DESTINATIONS}
COMPOSED = (STAGE, CHANNEL, ENCODER, SECOND, STORAGE)

ROWS = [
    *making("CreateEncoderConfiguration", "encoder-configuration"),
    *making("CreateIngestConfiguration", "ingest-configuration", ingestProtocol="RTMPS"),
    Row("CreateParticipantToken", {"stageArn": STAGE}, (STAGE,)),
    *making("CreateStage", "stage"),
    *making("CreateStorageConfiguration", "storage-configuration", s3={"bucketName": "bucket"}),
    one("DeleteEncoderConfiguration", ENCODER),
    one("DeleteIngestConfiguration", INGEST),
    one("DeletePublicKey", KEY),
    one("DeleteStage", STAGE),
    one("DeleteStorageConfiguration", STORAGE),
    Row("DisconnectParticipant", {"stageArn": STAGE, "participantId": "abcdefghijkl"}, (STAGE,)),
    one("GetComposition", COMPOSITION),
    one("GetEncoderConfiguration", ENCODER),
    one("GetIngestConfiguration", INGEST),
    Row("GetParticipant", PARTICIPANT, (STAGE,)),
    one("GetPublicKey", KEY),
    one("GetStage", STAGE),
    Row("GetStageSession", SESSION, (STAGE,)),
    one("GetStorageConfiguration", STORAGE),
    *making("ImportPublicKey", "public-key", publicKeyMaterial=PEM),
    Row("ListCompositions", {}, ("*",)),
    Row("ListCompositions", {"filterByStageArn": STAGE}, (STAGE,)),
    Row("ListCompositions", {"filterByEncoderConfigurationArn": ENCODER}, (ENCODER,)),
    Row("ListCompositions", {"filterByStageArn": STAGE, "filterByEncoderConfigurationArn": ENCODER}, (STAGE, ENCODER)),
    Row("ListEncoderConfigurations", {}, ("*",)),
    Row("ListIngestConfigurations", {}, ("*",)),
    Row("ListParticipantEvents", PARTICIPANT, (STAGE,)),
    Row("ListParticipantReplicas", {"sourceStageArn": STAGE, "participantId": "abcdefghijkl"}, (STAGE,)),
    Row("ListParticipants", SESSION, (STAGE,)),
    Row("ListPublicKeys", {}, ("*",)),
    Row("ListStageSessions", {"stageArn": STAGE}, (STAGE,)),
    Row("ListStages", {}, ("stage/*",)),
    Row("ListStorageConfigurations", {}, ("*",)),
    *(
        Row("ListTagsForResource", {"resourceArn": arn}, (arn,))
        for arn in (STAGE, ENCODER, STORAGE, INGEST, COMPOSITION, KEY)
    ),
    Row("RevokeConnectionToken", {"tokenId": "abcdefghijkl"}, ("*",)),
    Row("StartComposition", COMPOSE, COMPOSED),
    Row("StartComposition", {**COMPOSE, **TAGS}, COMPOSED, "composition/*"),
    Row("StartParticipantReplication", REPLICATION, (STAGE, OTHER)),
    one("StopComposition", COMPOSITION),
    Row("StopParticipantReplication", REPLICATION, (STAGE, OTHER)),
    Row("TagResource", {"resourceArn": STAGE, **TAGS}, (STAGE,)),
    Row("UntagResource", {"resourceArn": STAGE, "tagKeys": ["team"]}, (STAGE,)),
    Row("UpdateIngestConfiguration", {"arn": INGEST}, (INGEST,)),
    one("UpdateStage", STAGE),
]
