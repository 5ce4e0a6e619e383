"""An emulated network between a client and the server: the UDP proxy `netem` of crates/greenroom-netem."""

import json
import os
import re
import subprocess
from pathlib import Path

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).parents[2] / "target"))
CANDIDATE = re.compile(r"^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host.*\r\n", re.IGNORECASE | re.MULTILINE)


def executable():
    """The proxy's path; fails if it is missing."""
    found = Path(os.environ.get("NETEM_BIN") or TARGET / "debug" / "examples" / "netem")
    assert found.exists(), f"{found} is missing: cargo build -p greenroom-netem --examples, or name it in NETEM_BIN"
    return found


class Network:
    """The running proxy."""

    def __init__(self, program=None):
        self.process = subprocess.Popen([program or executable()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()

    def ask(self, verb, **members):
        self.process.stdin.write(json.dumps({"do": verb, **members}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert "ok" in answer, f"{verb} {members}: {answer}"
        return answer["ok"]

    def open(self, target, **profiles):
        """A link to a server's address, perfect unless profiles are given: `up`, to the server, and `down`."""
        return Link(self, **self.ask("open", target=target, **profiles))


class Link:
    """A link of the proxy."""

    def __init__(self, network, link, address):
        self.network, self.number, self.address = network, link, address

    def set(self, **members):
        """Changes the profile of `up`, `down` or both, now or `after` seconds."""
        self.network.ask("set", link=self.number, **members)

    def stats(self):
        return self.network.ask("stats", link=self.number)

    def close(self):
        self.network.ask("close", link=self.number)


def candidate(sdp):
    """The first UDP candidate with an IPv4 address."""
    found = [(host, port) for host, port in CANDIDATE.findall(sdp) if "." in host and not host.endswith(".local")]
    assert found, sdp
    return ":".join(found[0])


def without_candidates(sdp):
    return re.sub(r"^a=candidate:.*\r\n", "", sdp, flags=re.MULTILINE)


def with_candidate(sdp, address):
    """The description with one candidate, in every section that had one."""
    host, _, port = address.rpartition(":")
    line = f"a=candidate:1 1 udp 2130706431 {host} {port} typ host\r\n"
    sections = re.split(r"(?=^m=)", sdp, flags=re.MULTILINE)

    def replaced(section):
        place = section.find("a=candidate:")
        if place < 0:
            return section
        return section[:place] + line + without_candidates(section[place:])

    return "".join(map(replaced, sections))
