"""Access keys as an operator makes them, with `greenroom credentials`, and the policies that they carry."""

import json
import tempfile
from pathlib import Path

import psycopg

from clients import ACCOUNTS
from server import MASTER_KEY, run
from tenant import refused


class Keys:
    """The access keys of one store."""

    def __init__(self, database):
        self.database = database

    def run(self, *arguments, **settings):
        """One command, to its end."""
        store = {"GREENROOM_DATABASE_URL": self.database, "GREENROOM_MASTER_KEY": MASTER_KEY}
        return run("credentials", *arguments, **{**store, **settings})

    def say(self, *arguments):
        """What a command prints, for people."""
        ended = self.run(*arguments)
        said = [line for line in ended.stderr.splitlines() if not line.startswith("greenroom: warning: ")]
        assert (said, ended.returncode) == ([], 0), ended.stderr
        return ended.stdout

    def ask(self, *arguments):
        """What a command prints, as JSON."""
        return json.loads(self.say(*arguments, "--output", "json"))

    def create(self, account, *flags, policy=None):
        """A new access key, with its secrets; `policy` is a policy document."""
        if policy is None:
            return self.ask("create", "--account", account, *flags)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(policy, file)
            file.flush()
            return self.ask("create", "--account", account, "--policy", file.name, *flags)

    def none_made(self):
        """Whether the store has no key, or is not there at all: a command that fails makes no store either."""
        ended = self.run("list", "--output", "json")
        return "there is no greenroom store" in ended.stderr if ended.returncode else json.loads(ended.stdout) == []

    def show(self, key):
        return self.ask("show", key["accessKeyId"])


def stored(database):
    """Everything about access keys that a store holds, as text."""
    if database.startswith("postgres"):
        with psycopg.connect(database) as connection:
            return str(connection.execute("SELECT * FROM access_keys").fetchall())
    folder, _, name = database.removeprefix("sqlite://").rpartition("/")
    return "".join(path.read_bytes().decode("latin-1") for path in Path(folder).glob(f"{name}*"))


def development(key, secret="test", token=None):
    """An unknown key, in the form of a known one."""
    return {"accessKeyId": key, "secretAccessKey": secret, "sessionToken": token}


def client(server, key, region="us-east-1"):
    """A boto3 client that signs with a key, and whose every answer is held to the model."""
    return server.client(key["accessKeyId"], region, key["secretAccessKey"], key["sessionToken"])


def policy(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(action="*", resource="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action="*", resource="*", **more):
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


def denied(*words):
    """The block is refused by the key's policy."""
    return refused("AccessDeniedException", *words)


def unknown():
    """The block is refused as the key, or its session token, is not known or no longer good."""
    return refused("UnrecognizedClientException", "The security token included in the request is invalid")


class Holder:
    """A client with a key and a policy, in an account whose owner may do everything."""

    def __init__(self, server, *statements, name="alice", account=None):
        self.account = account or str(next(ACCOUNTS))
        self.user = f"arn:aws:iam::{self.account}:user/{name}"
        self.owner = client(server, development(self.account))
        document = policy(*json.loads(json.dumps(statements).replace("ACCOUNT", self.account)))
        flags = ["--name", name] if name else []
        self.key = Keys(server.database).create(self.account, *flags, policy=document)
        self.ivs = client(server, self.key)

    def arn(self, kind, name="*"):
        return f"arn:aws:ivs:us-east-1:{self.account}:{kind}/{name}"
