"""The driver (crates/greenroom-client/examples/media_driver): publishers and receivers."""

import json
import subprocess
import sys

from service import processes


class Driver:
    def __init__(self, program, address):
        self.command = [program, address]

    def __enter__(self):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, stderr=sys.stderr, text=True)
        self.pid = self.process.pid
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        processes.stop(self.process)

    def __call__(self, command, **members):
        self.process.stdin.write(json.dumps({"command": command} | members) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the driver has ended")
        reply = json.loads(line)
        if "error" in reply:
            raise RuntimeError(f"driver {command}: {reply['error']}")
        return reply
