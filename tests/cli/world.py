"""A world for the examples to play in: resources through boto3, people through the test server."""

import pytest
from botocore.exceptions import ClientError

PARTICIPANT = "abCDEf12GHIj"
BROWSER = {
    "browserName": "Google Chrome",
    "browserVersion": "116",
    "osName": "Microsoft Windows 10 Pro",
    "osVersion": "10.0.19044",
    "ispName": "Comcast",
}
PUBLIC_KEYS = (
    """-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEGtSzT/bLEKE1t2cg6rR/Mov2a7EOJd7F
FoY9gwfYnGqPKGXjl6tSqPsV0TfgEfLSbHyr2uOCMwHD3/xo0Qp78w7yfz2ywuYn
KD2toohWpzSbCClnbv28XCNw9Z5IxonV
-----END PUBLIC KEY-----""",
    """-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEParsBq3Tk6lu4XPqMXanSQ5ssHGSJGna
77nHwssWXWnTB1HzxGAZpR++Z1KfhiVADE9vmtpOcKXfQMBs4lTGjz1lZ89tDe9n
xo3zmFwaPTGK9xtbeRdJt/gA/io7WsaR
-----END PUBLIC KEY-----""",
)


class World:
    """A test server and a boto3 client of it, with the few things that many examples take for granted."""

    def __init__(self, client, test_server):
        self.client = client
        self.test_server = test_server

    def stage(self, **members):
        return self.client.create_stage(**members)["stage"]["arn"]

    def encoder(self, name="test-ec"):
        video = {"bitrate": 3500000, "framerate": 30.0, "height": 1080, "width": 1920}
        answer = self.client.create_encoder_configuration(name=name, video=video)
        return answer["encoderConfiguration"]["arn"]

    def storage(self, name="test-sc", bucket="amzn-s3-demo-bucket"):
        answer = self.client.create_storage_configuration(name=name, s3={"bucketName": bucket})
        return answer["storageConfiguration"]["arn"]

    def ingest(self, **members):
        answer = self.client.create_ingest_configuration(ingestProtocol="RTMPS", **members)
        return answer["ingestConfiguration"]

    def public_key(self, number=0):
        answer = self.client.import_public_key(publicKeyMaterial=PUBLIC_KEYS[number])
        return answer["publicKey"]["arn"]

    def join(self, stage, participant=PARTICIPANT):
        """Joins, as the browser of the examples, and gives the session."""
        return self.test_server.do("join", stage=stage, participant=participant, client=BROWSER)["sessionId"]

    def publish(self, stage, participant=PARTICIPANT):
        session = self.join(stage, participant)
        self.test_server.do("publish", stage=stage, participant=participant)
        return session

    def leave(self, stage, participant=PARTICIPANT):
        self.test_server.do("leave", stage=stage, participant=participant)

    def record(self, stage, session, state="ACTIVE"):
        """Sets a participant's recording, under the prefix that the examples print."""
        prefix = f"{bare(stage)}/{session}/{PARTICIPANT}/1234567890"
        arguments = {"stage": stage, "participant": PARTICIPANT, "bucket": "bucket-name", "prefix": prefix}
        self.test_server.do("recording", state=state, **arguments)

    def replicate(self, source, destination, **members):
        """Starts a replication and gives the destination's session."""
        self.client.start_participant_replication(
            sourceStageArn=source, destinationStageArn=destination, participantId=PARTICIPANT, **members
        )
        return self.client.get_stage(arn=destination)["stage"]["activeSessionId"]

    def compose(self, stage, destinations, **members):
        answer = self.client.start_composition(stageArn=stage, destinations=destinations, **members)
        return answer["composition"]["arn"]

    def gone(self, operation, arn):
        with pytest.raises(ClientError) as refusal:
            getattr(self.client, operation)(arn=arn)
        assert refusal.value.response["Error"]["Code"] == "ResourceNotFoundException"


def tail(arn):
    """Type and id of an ARN: the part that differs here from what is printed."""
    return arn.rpartition(":")[2]


def bare(arn):
    return arn.rpartition("/")[2]
