"""Self-signed tokens: made by the test with a key of its own, of which the service has the public half."""

import itertools
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from keys import pem

COUNT = itertools.count(1)


class Signer:
    """A key pair of an account, and the tokens that it signs for one of its stages."""

    def __init__(self, tenant, stage):
        self.key = ec.generate_private_key(ec.SECP384R1())
        imported = tenant.ivs.import_public_key(publicKeyMaterial=pem(key=self.key))
        self.kid = imported["publicKey"]["arn"]
        self.stage = tenant.ivs.get_stage(arn=stage)["stage"]

    def claims(self, **more):
        now = int(time.time())
        arn, endpoints = self.stage["arn"], self.stage["endpoints"]
        return {
            "exp": now + 600,
            "iat": now,
            "jti": f"self-signed-{next(COUNT)}",
            "resource": arn,
            "topic": arn.split("/")[1],
            "events_url": endpoints["events"],
            "whip_url": endpoints["whip"],
            "capabilities": {"allow_publish": True, "allow_subscribe": True},
            "version": "1.0",
            **more,
        }

    def token(self, claims):
        return jwt.encode(claims, self.key, algorithm="ES384", headers={"kid": self.kid})
