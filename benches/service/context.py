"""The context of a run: options, programs, temporary directory and processes."""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from . import postgres, processes

ROOT = pathlib.Path(__file__).resolve().parents[2]
ACCOUNT, REGION = "000000000000", "us-east-1"


class Context:
    def __init__(self, options):
        self.quick = options.quick
        self.rounds = options.rounds or (1 if self.quick else 5)
        self.seconds = options.seconds or (0.5 if self.quick else 2.0)
        self.connections = options.connections
        self.target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()
        self.greenroom, self.driver_program = options.greenroom, options.driver
        self.given = options.greenroom is not None
        self.before = options.before and options.before.resolve(strict=True)
        self.running, self.serial, self.sequence = [], 0, 0
        self.scratch = None
        self.cache = {}

    def __enter__(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="greenroom-bench-"))
        self.scratch.chmod(0o755)
        return self

    def __exit__(self, *_):
        for process in reversed(self.running):
            processes.stop(process)
        if "postgres" in self.cache:
            self.cache["postgres"].stop()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def once(self, name, create):
        """Creates a value on first use and keeps it for the run."""
        if name not in self.cache:
            self.cache[name] = create()
        return self.cache[name]

    @property
    def postgres(self):
        return self.once("postgres", lambda: postgres.Postgres(self.scratch))

    def file(self, stem):
        self.serial += 1
        return self.scratch / f"{stem}-{self.serial}"

    def written(self, stem, lines):
        file = self.file(stem)
        file.write_text("".join(f"{line}\n" for line in lines))
        return file

    def driver(self, command, server, *words):
        """Runs the driver against a server; any status other than 200 is an error."""
        address = [] if server is None else ["--target", server.address]
        done = subprocess.run(
            [self.driver_program, command, *address, *map(str, words)], capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"driver {command}: {done.stderr}")
        report = json.loads(done.stdout)
        bad = {status: n for status, n in report.get("statuses", {}).items() if status != "200"}
        if bad:
            raise RuntimeError(f"driver {command} {words}: {bad}: {report['sample']}")
        return report

    def load(self, server, requests, seconds=None, connections=None, rate=None, key=None):
        """Sends requests (pairs of path and body); returns the driver's report."""
        seconds = seconds or self.seconds
        words = ["--seconds", seconds, "--warm", min(0.5, seconds / 4)]
        words += ["--connections", connections or self.connections, "--pid", server.pid]
        words += ["--rate", rate] if rate else []
        words += ["--access-key-id", key[0], "--secret-access-key", key[1]] if key else []
        lines = [f"{path} {json.dumps(body)}" for path, body in requests]
        return self.driver("load", server, *words, "--requests", self.written("requests", lines))

    def bench(self, database, script, defines, seconds=None, clients=8):
        """Transactions per second of pgbench; ids are unique within a run."""
        self.sequence += 1_000_000
        # A shorter run would be dominated by the preparation of statements.
        seconds = max(2, seconds or self.seconds)
        return self.postgres.bench(database, script, defines | {"seq": self.sequence}, clients, seconds)

    def venv(self):
        """A virtual environment under target/, rebuilt when the requirements or the interpreter change."""
        return self.once("venv", self.create_venv)

    def create_venv(self):
        folder, requirements = self.target / "bench-venv", ROOT / "benches" / "requirements.txt"
        stamp = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
        with contextlib.suppress(OSError):
            if (folder / "stamp").read_text() == stamp:
                return folder
        say("installing Python packages")
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [folder / "bin" / "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", requirements], check=True)
        (folder / "stamp").write_text(stamp)
        return folder


def say(text):
    print(f"  … {text}", file=sys.stderr, flush=True)
