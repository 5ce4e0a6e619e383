"""`greenroom join` as a process: a participant that publishes a test pattern, or subscribes."""

import json
import subprocess

from server import binary, environment


class JoinProcess:
    """A participant with media. It prints statistics each second."""

    def __init__(self, token, *arguments):
        command = [binary("GREENROOM_BIN"), "join", "--token", "-", "--output", "json", *arguments]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env=environment(), **pipes)
        self.process.stdin.write(token)
        self.process.stdin.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.leave()

    def received_frames(self, count):
        """The frames received so far, by the next `count` lines of statistics of a subscription."""
        frames = []
        while len(frames) < count:
            line = json.loads(self.process.stdout.readline())
            connections = [one for one in line.get("connections", []) if one["direction"] == "subscribe"]
            frames += [one["figures"]["received"]["frames"] for one in connections[:1]]
        return frames

    def leave(self):
        self.process.terminate()
        self.process.wait(30)
