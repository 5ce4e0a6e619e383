"""The programs under test: test_server (the server with a manual clock) and greenroom itself, as child processes."""

import json
import os
import signal
import subprocess
import tempfile
import threading
import time

from files import complete_lines
from wire import ACCOUNT, Wire

PATIENCE_SECONDS = 30

# 32 bytes in base64, for stores that need the key to be given.
MASTER_KEY = "Z3JlZW5yb29tLXRlc3RzLW1hc3Rlci1rZXktMzJieSE="


def binary(variable):
    """The program that an environment variable names."""
    path = os.environ.get(variable)
    assert path and os.access(path, os.X_OK), f"{variable} must name the program to test, and is {path!r}"
    return path


def environment(**more):
    """This environment without the settings of greenroom that a developer may have, plus `more`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GREENROOM_") and k != "RUST_LOG"}
    return {**kept, **more}


class Program:
    """A child process whose standard output is read line by line, and whose log goes to a file."""

    def __init__(self, *arguments, **env):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=environment(**env),
        )

    def line(self):
        """The next line of the standard output; a program that stays silent is killed."""
        watchdog = threading.Timer(PATIENCE_SECONDS, self.process.kill)
        watchdog.start()
        try:
            line = self.process.stdout.readline()
        finally:
            watchdog.cancel()
        assert line, f"the program said nothing more; its log:\n{self.logged()}"
        return line.rstrip("\n")

    def log_lines(self):
        """The complete lines that the program has written to its standard error."""
        return complete_lines(self.log.fileno())

    def logged(self):
        """The same as one text."""
        return "".join(f"{line}\n" for line in self.log_lines())

    def wait_for_log(self, text):
        """The log, once it contains `text`: the server writes it on a thread, which may be a moment behind the response."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in (log := self.logged()):
            assert time.monotonic() < deadline, f"{text!r} is not in the log:\n{log[-2000:]}"
            time.sleep(0.02)
        return log

    def log_entries(self):
        """The JSON lines among them, parsed."""
        return [json.loads(line) for line in self.log_lines() if line.startswith("{")]

    def wait(self):
        """The exit code, once the program has ended by itself."""
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class TestServer(Program):
    """A server whose clock stands still until told, and whose participants move by command."""

    __test__ = False

    def __init__(self, *flags, **env):
        super().__init__(binary("TEST_SERVER_BIN"), "--listen", "127.0.0.1:0", *flags, **env)
        self.endpoint = json.loads(self.line())["endpoint"]

    def ask(self, verb, **members):
        """The whole answer to one command."""
        self.process.stdin.write(json.dumps({"do": verb, **members}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.line())

    def do(self, verb, **members):
        """What a command answers; a command that is refused fails the test."""
        answer = self.ask(verb, **members)
        assert "ok" in answer, f"{verb} {members}: {answer}"
        return answer["ok"]

    def advance(self, seconds):
        self.do("advance", seconds=seconds)

    def stop(self):
        """Closes the commands, which stops the server gracefully, and answers its exit code."""
        self.process.stdin.close()
        try:
            return self.wait()
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()


class Greenroom(Program):
    """The real server. Its first lines of output are kept up to the one that names the endpoint."""

    def __init__(self, *flags, **env):
        super().__init__(binary("GREENROOM_BIN"), *flags, **{"GREENROOM_LISTEN": "127.0.0.1:0", **env})
        self.lines = []

    def serving(self):
        """Waits for the endpoint, and answers the server itself."""
        while True:
            self.lines.append(self.line())
            words = [word.strip(".,;'\"()") for word in self.lines[-1].split()]
            urls = [word for word in words if word.startswith("http://127.0.0.1:")]
            if urls:
                self.endpoint = urls[0].rstrip("/")
                return self

    def wire(self):
        """An account's raw connection to the server."""
        return Wire(self.endpoint, ACCOUNT, "us-east-1")

    def create_stage(self, **members):
        answer = self.wire().call("CreateStage", members)
        assert answer.status == 200, answer
        return answer.json

    def token(self):
        """A new token for a new stage."""
        return self.create_stage(participantTokenConfigurations=[{}])["participantTokens"][0]["token"]

    def end(self):
        """Asks the server to end, and answers its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()


def run(*arguments, **env):
    """Runs `greenroom` to its end and answers the completed process. Of the log it writes warnings and errors alone."""
    return subprocess.run(
        [binary("GREENROOM_BIN"), *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        env=environment(**{"RUST_LOG": "warn", **env}),
        stdin=subprocess.DEVNULL,
    )
