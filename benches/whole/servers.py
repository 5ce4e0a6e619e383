"""The servers that are compared."""

import base64
import http.client
import json
import os
import subprocess
import sys

from . import api, processes

# The same for every server of a run, so that a page token of one is valid on another.
MASTER_KEY = base64.b64encode(bytes(range(32))).decode()
QUOTAS = "stages=unlimited"


class Server:
    """A program that listens; `with` waits until it answers, and stops it."""

    name = ""

    def __init__(self, world, command, address, **environment):
        self.world, self.command, self.address = world, [str(word) for word in command], address
        # The caller's environment must not affect the measurement.
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("GREENROOM_", "OTEL_", "RUST_"))
        }
        self.environment = kept | environment

    def begin(self):
        log = (self.world.scratch / f"{self.name}.log").open("ab")
        self.process = subprocess.Popen(
            self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment, cwd=self.world.scratch
        )
        log.close()
        self.pid = self.process.pid
        self.world.running.append(self.process)

    def __enter__(self):
        self.begin()
        processes.until(self.answers, f"{self.name} did not start")
        self.client = api.Client(self.address)
        return self

    def __exit__(self, *_):
        self.client.close()
        self.end()

    def end(self):
        processes.stop(self.process)
        self.world.running.remove(self.process)

    def answers(self):
        if self.process.poll() is not None:
            log = (self.world.scratch / f"{self.name}.log").read_text(errors="replace")
            raise RuntimeError(f"{self.name} ended at once: {log[-1000:]}")
        connection = http.client.HTTPConnection(self.address, timeout=5)
        try:
            connection.request("GET", self.ready)
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


class Greenroom(Server):
    name, ready = "greenroom", "/_greenroom/ready"

    def __init__(self, world, url, *flags, quotas=QUOTAS, **environment):
        address = f"127.0.0.1:{processes.free_port(also_udp_after=True)}"
        command = [world.greenroom, "serve", "--listen", address, "--database-url", url, "--quotas", quotas, *flags]
        super().__init__(world, command, address, GREENROOM_MASTER_KEY=MASTER_KEY, **environment)


def offline(world, url, *words):
    """Runs a command of greenroom without a server."""
    done = subprocess.run(
        [world.greenroom, *words, "--database-url", url],
        capture_output=True,
        text=True,
        env=os.environ | {"GREENROOM_MASTER_KEY": MASTER_KEY},
        cwd=world.scratch,
    )
    if done.returncode:
        raise RuntimeError(f"greenroom {words[0]}: {done.stderr}")
    return done.stdout


class Moto(Server):
    name, ready = "moto", "/moto-api/"

    def __init__(self, world):
        port = processes.free_port()
        program = world.venv() / "bin" / "moto_server"
        super().__init__(world, [program, "-H", "127.0.0.1", "-p", port], f"127.0.0.1:{port}")


class Constant(Server):
    """A plain axum server that answers every request as greenroom did."""

    name = "constant"

    def __init__(self, world, headers, body):
        file = world.scratch / "constant.body"
        file.write_text(body)
        own = ("content-length", "date", "transfer-encoding", "connection")
        flags = [f"--header={name}:{value}" for name, value in headers if name.lower() not in own]
        super().__init__(world, [world.driver_program, "constant", "--body", file, *flags], None)

    def begin(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
        self.pid = self.process.pid
        self.world.running.append(self.process)
        self.address = json.loads(self.process.stdout.readline())["address"]

    def answers(self):
        return True
