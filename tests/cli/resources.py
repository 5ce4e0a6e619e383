"""Creation of resources by boto3, and of participants by the test server."""

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


class Resources:
    """Creates the resources that many examples need, with a boto3 client of a test server."""

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
        """Joins as the browser of the examples; returns the session id."""
        return self.test_server.do("join", stage=stage, participant=participant, client=BROWSER)["sessionId"]

    def publish(self, stage, participant=PARTICIPANT):
        session = self.join(stage, participant)
        self.test_server.do("publish", stage=stage, participant=participant)
        return session

    def leave(self, stage, participant=PARTICIPANT):
        self.test_server.do("leave", stage=stage, participant=participant)

    def record(self, stage, session, state="ACTIVE"):
        """Sets the state of a participant's recording, with the prefix in the examples."""
        prefix = f"{id_of(stage)}/{session}/{PARTICIPANT}/1234567890"
        arguments = {"stage": stage, "participant": PARTICIPANT, "bucket": "bucket-name", "prefix": prefix}
        self.test_server.do("recording", state=state, **arguments)

    def replicate(self, source, destination, **members):
        """Starts a replication; returns the session id of the destination."""
        self.client.start_participant_replication(
            sourceStageArn=source, destinationStageArn=destination, participantId=PARTICIPANT, **members
        )
        return self.client.get_stage(arn=destination)["stage"]["activeSessionId"]

    def compose(self, stage, destinations, **members):
        answer = self.client.start_composition(stageArn=stage, destinations=destinations, **members)
        return answer["composition"]["arn"]

    def assert_not_found(self, operation, arn):
        with pytest.raises(ClientError) as refusal:
            getattr(self.client, operation)(arn=arn)
        assert refusal.value.response["Error"]["Code"] == "ResourceNotFoundException"


def type_and_id(arn):
    """Type and id of an ARN, the part that differs from the printed one."""
    return arn.rpartition(":")[2]


def id_of(arn):
    return arn.rpartition("/")[2]
