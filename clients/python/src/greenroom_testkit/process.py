"""The server as a child process, or as a container of the docker command."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from .credentials import Credentials
from .errors import ServerError

STOP_SECONDS = 15
LOG_LINES = 40
# Tests that fake the time of their own process (freezegun) sign with that time.
CLOCK_FLAGS = ("--clock-skew-seconds", "1000000000")
# The other end of standard input closes when this process ends, also by a signal that it cannot handle.
LIFE_FLAGS = ("--exit-on-stdin-close=on",)


class Running(Protocol):
    """A server that this program has started."""

    @property
    def endpoint(self) -> str: ...

    def log(self, mark: int = 0) -> str:
        """The log since a mark."""
        ...

    def mark(self) -> int:
        """The current end of the log."""
        ...

    def has_ended(self) -> bool: ...

    def stop(self) -> None: ...


class Process:
    """A child process with free ports. It listens on a loopback address, and its requests are not signed."""

    def __init__(
        self,
        binary: str,
        store: str,
        region: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        timeout: float,
    ) -> None:
        """Starts the program, and waits for its endpoint."""
        self._folder = tempfile.TemporaryDirectory(prefix="greenroom-")
        folder = Path(self._folder.name)
        url = f"sqlite://{folder}/greenroom.db" if store == "temporary" else store
        self._log = folder / "log"
        flags = ["--listen", "127.0.0.1:0", "--media-addr", "127.0.0.1:0", "--test-api=on", *CLOCK_FLAGS, *LIFE_FLAGS]
        command = [binary, *flags, "--database-url", url, "--region", region, *arguments]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")}
        with self._log.open("wb") as log:
            try:
                self._process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env={**kept, **environment},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
            except OSError as error:
                self._folder.cleanup()
                raise ServerError(f"{binary}: {error.strerror}") from error
        with stopped_on_error(self):
            self._endpoint = self._wait_for_endpoint(timeout)
        assert self._process.stdout
        # So that the pipe does not become full.
        threading.Thread(target=self._process.stdout.read, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return self._endpoint

    def _wait_for_endpoint(self, seconds: float) -> str:
        """Reads the endpoint from the startup output."""
        timer = threading.Timer(seconds, self._process.kill)
        timer.start()
        assert self._process.stdout
        try:
            for line in self._process.stdout:
                words = line.split()
                if words[:1] == ["endpoint"]:
                    return words[1]
        finally:
            timer.cancel()
        raise ServerError(f"the server did not start (exit code {self._process.wait()}); its log:\n{self.log()}")

    def log(self, mark: int = 0) -> str:
        with self._log.open("rb") as log:
            log.seek(mark)
            return log.read().decode(errors="replace")

    def mark(self) -> int:
        return self._log.stat().st_size

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        assert self._process.stdin
        self._process.stdin.close()
        self._folder.cleanup()


class Container:
    """A container of the docker command. Its requests are signed with the access key that it is started with."""

    def __init__(
        self, image: str, key: Credentials, region: str, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        port, media = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM)
        self._endpoint = f"http://127.0.0.1:{port}"
        settings = {**container_settings(self._endpoint, media, key, region), **environment}
        command = [
            "run",
            "--detach",
            "--publish",
            f"127.0.0.1:{port}:4600",
            "--publish",
            f"127.0.0.1:{media}:{media}/udp",
        ]
        # The names only: values, such as the secret, would be visible in the list of processes.
        for name in settings:
            command += ["--env", name]
        self._id = docker([*command, image, *arguments], settings).strip()

    @property
    def endpoint(self) -> str:
        return self._endpoint

    def log(self, mark: int = 0) -> str:
        return docker(["logs", "--since", str(mark), self._id], stderr=subprocess.STDOUT)

    def mark(self) -> int:
        return int(time.time())

    def has_ended(self) -> bool:
        state = json.loads(docker(["inspect", "--format", "{{json .State.Running}}", self._id]))
        return state is False

    def stop(self) -> None:
        docker(["rm", "--force", "--volumes", self._id])


def container_settings(endpoint: str, media_port: int, key: Credentials, region: str) -> dict[str, str]:
    """The settings of a server in a container: signed test API, store in memory, media at a published port."""
    return {
        "GREENROOM_TEST_API": "public",
        "GREENROOM_DATABASE_URL": "sqlite::memory:",
        "GREENROOM_PUBLIC_URL": endpoint,
        "GREENROOM_MEDIA_ADDR": f"0.0.0.0:{media_port}",
        "GREENROOM_MEDIA_PUBLIC_IP": "127.0.0.1",
        "GREENROOM_REGION": region,
        "GREENROOM_CLOCK_SKEW_SECONDS": CLOCK_FLAGS[1],
        "GREENROOM_ACCESS_KEY_ID": key.access_key_id,
        "GREENROOM_SECRET_ACCESS_KEY": key.secret_access_key,
    }


def docker(arguments: Sequence[str], environment: Mapping[str, str] | None = None, stderr: int = subprocess.PIPE) -> str:
    """The output of the docker command (or of the one that GREENROOM_DOCKER names, such as podman)."""
    program = os.environ.get("GREENROOM_DOCKER", "docker")
    if not shutil.which(program):
        raise ServerError(f"the command {program} is missing, which starts the server's image")
    done = subprocess.run(
        [program, *arguments],
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    if done.returncode != 0:
        raise ServerError(f"{program} {arguments[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def free_port(kind: int) -> int:
    """A port of 127.0.0.1 that is free now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(running: Running, is_ready: Probe, seconds: float) -> None:
    """Waits for readiness."""
    deadline = time.monotonic() + seconds
    while not is_ready():
        if running.has_ended() or time.monotonic() > deadline:
            reason = "the server ended" if running.has_ended() else f"the server was not ready within {seconds:g} s"
            raise ServerError(f"{reason}; the end of its log:\n{last_lines(running.log())}")
        time.sleep(0.02)


@contextmanager
def stopped_on_error(running: Running) -> Iterator[None]:
    """Stops a server whose start fails, or is interrupted."""
    try:
        yield
    except BaseException:
        running.stop()
        raise


class Probe(Protocol):
    def __call__(self) -> bool: ...


def last_lines(log: str, count: int = LOG_LINES) -> str:
    return "\n".join(log.splitlines()[-count:])
