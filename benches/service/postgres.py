"""A temporary PostgreSQL, the statements of one request, and pgbench with the same statements."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

from . import processes

# Durable as in production (fsync on); no checkpoint during a run, so that all rounds are alike.
SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "1GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "log_line_prefix": "%p|%d|",
}


def programs():
    """The directory of the newest server programs, which are not on Debian's PATH."""
    versions = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    found = str(versions[-1]) if versions else shutil.which("initdb")
    if not found:
        raise SystemExit("benches/run: PostgreSQL is missing; on Debian: apt-get install postgresql")
    return pathlib.Path(found).resolve().parent


class Postgres:
    def __init__(self, scratch):
        self.programs = programs()
        self.folder = scratch / "postgres"
        self.folder.mkdir()
        # PostgreSQL refuses to run as root.
        self.user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        if self.user:
            shutil.chown(self.folder, "postgres", "postgres")
        self.log = self.folder / "log"
        self.port = processes.free_port()
        self.run(
            "initdb",
            "-D",
            self.folder / "data",
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
        )
        settings = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        self.log.touch()
        if self.user:
            shutil.chown(self.log, "postgres", "postgres")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", "-h", "127.0.0.1", "-p", str(self.port)]
                + ["-k", self.folder, *settings],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
                **self.user,
            )
        ready = lambda: (
            self.process.poll() is not None
            or self.run("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port), check=False).returncode == 0
        )
        try:
            processes.until(ready, "PostgreSQL did not start")
            if self.process.poll() is not None:
                raise RuntimeError(f"PostgreSQL exited at startup: {self.log.read_text(errors='replace')[-1000:]}")
        except BaseException:
            processes.stop(self.process)
            raise

    def run(self, program, *words, check=True):
        done = subprocess.run(
            [self.programs / program, *map(str, words)], capture_output=True, text=True, cwd="/", **self.user
        )
        if check and done.returncode:
            raise RuntimeError(f"{program}: {done.stderr or done.stdout}")
        return done

    def url(self, database):
        return f"postgres://postgres@127.0.0.1:{self.port}/{database}"

    def sql(self, database, *statements):
        """Runs statements; returns the rows of the last one."""
        words = [word for statement in statements for word in ("-c", statement)]
        ask = ["-qAtX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", self.port, "-U", "postgres", "-d", database]
        return self.run("psql", *ask, *words).stdout.strip()

    def create(self, database, template="template0"):
        self.sql("postgres", f"DROP DATABASE IF EXISTS {database}", f"CREATE DATABASE {database} TEMPLATE {template}")

    def version(self):
        return self.sql("postgres", "SHOW server_version").split()[0]

    def cpu(self):
        return sum(processes.cpu(pid) for pid in processes.children(self.process.pid))

    def stop(self):
        processes.stop(self.process, signal.SIGQUIT)

    # The statements of one request

    def capture(self, database, account, act, settle=0.7):
        """Captures the statements with an account's id while `act` runs; returns one list per transaction, in order."""
        self.sql("postgres", "ALTER SYSTEM SET log_statement = 'all'", "SELECT pg_reload_conf()")
        time.sleep(settle)
        begin = self.log.stat().st_size
        act()
        time.sleep(settle)
        end = self.log.stat().st_size
        self.sql("postgres", "ALTER SYSTEM RESET log_statement", "SELECT pg_reload_conf()")
        time.sleep(settle)
        with self.log.open("rb") as log:
            log.seek(begin)
            text = log.read(end - begin).decode()
        named = {account, f"{{{account}}}"}
        matching = [group for group in transactions(text, database) if any(named & {*params} for _, params in group)]
        if not matching:
            raise RuntimeError(f"PostgreSQL logged no statement with the account id {account}")
        # Statements that a node repeats in the background count only once.
        distinct = []
        for group in matching:
            if group not in distinct:
                distinct.append(group)
        return distinct

    def bench(self, database, script, defines, clients, seconds, threads=None):
        """Transactions per second of a script."""
        file = self.folder / "script.sql"
        file.write_text(script)
        words = [word for name, value in defines.items() for word in ("-D", f"{name}={value}")]
        done = self.run(
            "pgbench",
            "-n",
            "-M",
            "prepared",
            "-h",
            "127.0.0.1",
            "-p",
            self.port,
            "-U",
            "postgres",
            "-c",
            clients,
            "-j",
            threads or min(clients, os.cpu_count() or 1),
            "-T",
            max(1, round(seconds)),
            "-f",
            file,
            *words,
            database,
        )
        if "aborted" in done.stderr or not (tps := re.search(r"tps = ([\d.]+)", done.stdout)):
            raise RuntimeError(f"pgbench: {done.stdout}{done.stderr}")
        return float(tps[1])


def transactions(text, database):
    """The logged statements with their parameters, as one list per committed transaction."""
    entries = []
    for line in text.splitlines():
        if head := re.match(r"(\d+)\|([^|]*)\|(\w+):  (.*)", line):
            entries.append([*head.groups()])
        elif entries:
            entries[-1][3] += "\n" + line
    groups, begun, last = [], {}, {}
    for pid, _, kind, said in (entry for entry in entries if entry[1] == database):
        if kind == "DETAIL" and pid in last and (found := re.match(r"parameters: (.*)", said, re.S | re.I)):
            params = re.findall(r"\$\d+ = (NULL|'(?:[^']|'')*')", found[1])
            last[pid][1][:] = [None if value == "NULL" else value[1:-1].replace("''", "'") for value in params]
        if kind != "LOG" or not (statement := re.match(r"(?:statement|execute [^:]*): (.*)", said, re.S)):
            continue
        last[pid] = (statement[1].strip(), [])
        word = last[pid][0].split()[0].upper()
        if word == "BEGIN" or pid not in begun:
            groups.append([])
            begun[pid] = groups[-1]
        begun[pid].append(last[pid])
        if word == "ROLLBACK":
            begun[pid].clear()
        # A statement outside of a transaction block is a transaction.
        if word in ("COMMIT", "ROLLBACK") or begun[pid][0][0].upper() != "BEGIN":
            del begun[pid]
    return [group for group in groups if group]


def script(groups, prelude, known):
    """A pgbench script of these statements, and its variables; `known` maps values to variables that the prelude sets."""
    lines, defines = list(prelude), {}

    def variable(value):
        if value is None:
            return "NULL"
        # pgbench variables cannot be empty.
        if value == "":
            return "''"
        if value in known:
            return f":{known[value]}"
        # An array of one element.
        if value[1:-1] in known and value[0] + value[-1] == "{}":
            return f"ARRAY[:{known[value[1:-1]]}]"
        # Timestamps advance with each transaction.
        if re.fullmatch(r"1\d{12}", value):
            defines.setdefault("began", value)
            return ":now"
        return f":{named(value)}"

    def named(value):
        for name, other in defines.items():
            if other == value:
                return name
        defines[f"p{len(defines)}"] = value
        return f"p{len(defines) - 1}"

    for group in groups:
        for sql, params in group:
            text = re.sub(r"\$(\d+)", lambda place: variable(params[int(place[1]) - 1]), sql)
            lines.append(text + ";")
    defines.setdefault("began", "1795000000000")
    return "\n".join(["\\set seq :seq + 1", "\\set now :began + :seq", *lines]) + "\n", defines


def unique_id(name, seed):
    """A pgbench variable of twelve digits, unique per transaction."""
    return f"\\set {name} permute(:client_id * 100000000 + :seq, 900000000000, {seed}) + 100000000000"
