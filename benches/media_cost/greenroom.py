"""Signaling with greenroom: participant tokens, WHIP offers of publishers and subscribers."""

import base64
import http.client
import json
import time
import urllib.parse

from service import servers

NAME = "greenroom"
# Time for a publisher to be announced.
SUBSCRIBE_SECONDS = 10


class Greenroom:
    name = NAME
    # One connection for each subscription, as in Amazon IVS.
    multistream = False

    def __init__(self, context):
        self.server = servers.Greenroom(context, "sqlite::memory:", "--media-addr", f"{context.address}:0", RUST_LOG="error")

    def __enter__(self):
        self.server.__enter__()
        self.pid = self.server.pid
        self.stage = self.server.client("CreateStage")["stage"]["arn"]
        self.media = http.client.HTTPConnection(self.server.address, timeout=30)
        return self

    def __exit__(self, *error):
        self.media.close()
        self.server.__exit__(*error)

    def participant(self):
        made = self.server.client("CreateParticipantToken", stageArn=self.stage, capabilities=["PUBLISH", "SUBSCRIBE"])
        return Participant(made["participantToken"]["token"])

    def publish(self, driver, name, **media):
        participant = self.participant()
        offer = driver("publish", id=name, **media)["sdp"]
        status, answer = self.post(participant, f"publish/{participant.id}", offer)
        if status != 201:
            raise RuntimeError(f"publish: {status} {answer}")
        driver("answer", id=name, sdp=answer)
        return participant

    def subscribe(self, driver, name, publishers, participant=None):
        [publisher] = publishers
        participant = participant or self.participant()
        offer = driver("subscribe", id=name)["sdp"]
        end = time.monotonic() + SUBSCRIBE_SECONDS
        while True:
            status, answer = self.post(participant, f"subscribe/{publisher.id}", offer)
            if status == 201:
                break
            if status != 404 or time.monotonic() > end:
                raise RuntimeError(f"subscribe: {status} {answer}")
            time.sleep(0.1)
        driver("answer", id=name, sdp=answer)

    def post(self, participant, path, offer):
        headers = {"Authorization": f"Bearer {participant.token}", "Content-Type": "application/sdp"}
        self.media.request("POST", f"{participant.path}/{path}", offer, headers)
        answer = self.media.getresponse()
        return answer.status, answer.read().decode()


class Participant:
    def __init__(self, token):
        self.token = token
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        self.id = claims["jti"]
        self.path = urllib.parse.urlsplit(claims["whip_url"]).path.rstrip("/")
