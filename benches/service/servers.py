"""The compared servers."""

import base64
import http.client
import json
import os
import subprocess
import sys

from . import api, processes

# Shared by all servers of a run, so that page tokens of one are valid on the others.
MASTER_KEY = base64.b64encode(bytes(range(32))).decode()
QUOTAS = "stages=unlimited"


class Server:
    """A server process; `with` waits until it is ready, and stops it."""

    name = ""

    def __init__(self, context, command, address, **environment):
        self.context, self.command, self.address = context, [str(word) for word in command], address
        # The caller's environment must not affect the measurement.
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("GREENROOM_", "OTEL_", "RUST_"))
        }
        self.environment = kept | environment

    def start(self):
        log = (self.context.scratch / f"{self.name}.log").open("ab")
        self.process = subprocess.Popen(
            self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment, cwd=self.context.scratch
        )
        log.close()
        self.pid = self.process.pid
        self.context.running.append(self.process)

    def __enter__(self):
        self.start()
        processes.until(self.is_ready, f"{self.name} did not start")
        self.client = api.Client(self.address)
        return self

    def __exit__(self, *_):
        self.client.close()
        self.stop()

    def stop(self):
        processes.stop(self.process)
        self.context.running.remove(self.process)

    def is_ready(self):
        if self.process.poll() is not None:
            log = (self.context.scratch / f"{self.name}.log").read_text(errors="replace")
            raise RuntimeError(f"{self.name} exited at startup: {log[-1000:]}")
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

    def __init__(self, context, url, *flags, quotas=QUOTAS, **environment):
        address = f"127.0.0.1:{processes.free_port(also_udp_after=True)}"
        command = [context.greenroom, "serve", "--listen", address, "--database-url", url, "--quotas", quotas, *flags]
        super().__init__(context, command, address, GREENROOM_MASTER_KEY=MASTER_KEY, **environment)


def run_command(context, url, *words):
    """Runs a command of greenroom on a store."""
    done = subprocess.run(
        [context.greenroom, *words, "--database-url", url],
        capture_output=True,
        text=True,
        env=os.environ | {"GREENROOM_MASTER_KEY": MASTER_KEY},
        cwd=context.scratch,
    )
    if done.returncode:
        raise RuntimeError(f"greenroom {words[0]}: {done.stderr}")
    return done.stdout


class Moto(Server):
    name, ready = "moto", "/moto-api/"

    def __init__(self, context):
        port = processes.free_port()
        program = context.venv() / "bin" / "moto_server"
        super().__init__(context, [program, "-H", "127.0.0.1", "-p", port], f"127.0.0.1:{port}")


class ConstantServer(Server):
    """An axum server that sends a recorded response of greenroom to every request."""

    name = "constant"

    def __init__(self, context, headers, body):
        file = context.scratch / "constant.body"
        file.write_text(body)
        own = ("content-length", "date", "transfer-encoding", "connection")
        flags = [f"--header={name}:{value}" for name, value in headers if name.lower() not in own]
        super().__init__(context, [context.driver_program, "constant", "--body", file, *flags], None)

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
        self.pid = self.process.pid
        self.context.running.append(self.process)
        self.address = json.loads(self.process.stdout.readline())["address"]

    def is_ready(self):
        return True
