"""A crash test run: a server under load is killed repeatedly; consistency is checked after each kill and at the end."""

import random
import socket
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field, fields

import consistency
import event_log
from load_client import REGION, Client
from receiver import Receiver, read_jsonl
from server import MASTER_KEY, Greenroom
from state_reader import StateReader

# Maximum time without progress while deliveries are outstanding.
STALL_SECONDS = 60
UNLIMITED = "stages=unlimited,compositions=unlimited,compositions-per-stage=unlimited,encoder-configurations=unlimited"
# Short times, so that timers and leases expire during the run.
FLAGS = """--composition-start-seconds 1 --composition-stop-seconds 1 --composition-idle-seconds 4
    --composition-retention-seconds 86400 --session-end-seconds 1 --node-lease-seconds 2 --media-addr 127.0.0.1:0
    --extended-events on --audit on""".split()


@dataclass
class Report:
    engine: str
    seed: int
    rounds: int = 0
    further_kills: int = 0
    writes_acknowledged: int = 0
    writes_unanswered: int = 0
    joins_acknowledged: int = 0
    publishers: int = 0
    stages: int = 0
    compositions: int = 0
    events: int = 0
    audit_records: int = 0
    deliveries: int = 0
    duplicates: int = 0
    rejected_by_the_receiver: int = 0
    partial_lines: int = 0
    losses: int = 0
    seconds: float = 0.0
    problems: list = field(default_factory=list, repr=False)

    def lines(self):
        counts = [name.name for name in fields(self) if name.name not in ("engine", "seed", "problems")]
        yield f"{self.engine}, seed {self.seed}"
        for name in counts:
            value = getattr(self, name)
            yield f"  {name.replace('_', ' '):26}{round(value):>10}"
        for problem in self.problems[:20]:
            yield f"  PROBLEM: {problem[:1000]}"


def free_address():
    """A fixed address to listen on, outside the system's ephemeral ports."""
    while True:
        try:
            with closing(socket.create_server(("127.0.0.1", random.randint(20000, 32000)))) as free:
                return f"127.0.0.1:{free.getsockname()[1]}"
        except OSError:
            continue


class CrashRun:
    """A run on one store."""

    def __init__(self, engine, store, folder, seed, clients=4, pause=0.01, max_writes=150, progress=lambda _: None):
        self.store, self.folder, self.max_writes, self.progress = store, folder, max_writes, progress
        self.report = Report(engine, seed)
        self.random = random.Random(f"{seed} {engine}")
        self.receiver = Receiver(seed)
        self.file = folder / "events.jsonl"
        self.address = free_address()
        endpoint = f"http://{self.address}"
        self.clients = [Client(n, endpoint, seed, pause, publishes=n == 0) for n in range(clients)]
        self.accounts = {}
        for client in self.clients:
            self.accounts.setdefault(client.account, []).append(client)
        self.flags = ["--listen", self.address, "--database-url", store, "--quotas", UNLIMITED, *FLAGS]
        self.flags += ["--events-config", str(self.write_target_file())]
        self.server = None

    def write_target_file(self):
        """Writes the event target file; returns its path."""
        path = self.folder / "events.toml"
        secret = "whsec_Z3JlZW5yb29tIGlzIGNyYXNoZWQgaGVyZQ=="
        path.write_text(
            f"""
            [[target]]
            name = "hook"
            type = "webhook"
            from = "oldest"
            url = "{self.receiver.url}"
            secret = "{secret}"

            [[target]]
            name = "file"
            type = "file"
            from = "oldest"
            path = "{self.file}"
            """
        )
        return path

    # The server

    def start(self):
        self.server = Greenroom(*self.flags, GREENROOM_MASTER_KEY=MASTER_KEY, RUST_LOG="warn")
        return self.server

    def kill(self):
        """Kills the server by SIGKILL; a panic in its log is a problem."""
        self.server.kill()
        log = self.server.logged()
        if "panicked" in log or "by a bug" in log:
            self.report.problems.append(f"panic in the log: {log[-1000:]}")

    def kill_within(self, seconds):
        """Kills a server without load, during its recovery of earlier state."""
        time.sleep(self.random.uniform(0, seconds))
        self.report.further_kills += 1
        self.kill()

    # A run

    def run(self, rounds, seconds=float("inf")):
        """Runs rounds of load and kill, no new one after `seconds`, then the final checks; returns the report."""
        begun = time.monotonic()
        self.start().serving()
        try:
            while self.report.rounds < rounds and time.monotonic() < begun + seconds:
                self.round()
                if self.report.problems:
                    return self.report
            self.wait_for_completion()
            self.final_checks()
        finally:
            for client in self.clients:
                client.close_all()
            self.server.kill()
            self.receiver.close()
            self.report.losses = len(self.report.problems)
            self.report.seconds = time.monotonic() - begun
        return self.report

    def round(self):
        stopped = threading.Event()
        threads = [threading.Thread(target=client.work, args=[stopped]) for client in self.clients]
        for thread in threads:
            thread.start()
        # A random moment, counted in writes as machines differ in speed.
        enough = self.writes() + self.random.randint(5, self.max_writes)
        while self.writes() < enough and all(thread.is_alive() for thread in threads):
            time.sleep(0.01)
        time.sleep(self.random.uniform(0, 0.05))
        killed_at = time.monotonic()
        self.kill()
        stopped.set()
        for thread in threads:
            thread.join()
        for client in self.clients:
            if client.failed_at and client.failed_at < killed_at:
                client.problems.append(f"client {client.number}: the server was unreachable before it was killed: {client.failure!r}")
            client.close_all()
        # Sometimes the server is killed during startup as well.
        while self.random.random() < 0.25:
            self.start()
            self.kill_within(0.5)
        self.start().serving()
        self.report.rounds += 1
        self.check_state(sample_size=10)
        self.progress(f"round {self.report.rounds}: {self.writes()} writes, {len(self.receiver.arrivals.first)} events")

    def writes(self):
        return sum(len(client.expected.writes) for client in self.clients)

    def readers(self):
        """A state reader and the clients of each account."""
        endpoint = f"http://{self.address}"
        return [(StateReader(endpoint, account, REGION), clients) for account, clients in self.accounts.items()]

    def check_state(self, sample_size=None):
        """Compares the clients' expected state with the service's state."""
        for reader, clients in self.readers():
            for client in clients:
                self.report.problems += client.problems
                self.report.problems += consistency.lost_writes(reader, client, sample_size)

    # The final checks

    def wait_for_completion(self):
        """Waits until all unanswered requests, compositions, sessions and deliveries are completed."""
        for _ in range(3):
            self.kill_within(2)
            self.start().serving()
        for client in self.clients:
            client.retry()
        self.until(self.all_ended, "compositions and sessions did not end")
        self.until(lambda: event_log.compositions_without_end_event(self.store) == 0, "composition end events are missing")
        self.until(lambda: event_log.outbox_length(self.store) == 0, "the outbox is not empty")
        self.until(self.arrived, "events were not delivered")

    def until(self, condition, problem):
        """Waits for a condition as long as there is progress."""
        seen, since = None, time.monotonic()
        while not condition():
            now = (event_log.last_position(self.store), len(self.receiver.arrivals.first), len(read_jsonl(self.file)[0].first))
            if now != seen:
                seen, since = now, time.monotonic()
            if time.monotonic() - since > STALL_SECONDS:
                self.report.problems.append(f"{problem} (log, arrived, file: {now})")
                return
            time.sleep(0.1)

    def all_ended(self):
        for reader, clients in self.readers():
            if any(found["state"] != "STOPPED" for found in reader.compositions().values()):
                return False
            for arn in [stage.key for client in clients for stage in client.expected.existing_stages()]:
                if any("endTime" not in session for session in reader.sessions(arn)):
                    return False
        return True

    def arrived(self):
        end = event_log.last_position(self.store)
        return len(self.receiver.arrivals.first) >= end and len(read_jsonl(self.file)[0].first) >= end

    def final_checks(self):
        report, problems = self.report, self.report.problems
        self.check_state()
        problems += consistency.log_gaps(self.store)
        in_file, report.partial_lines = read_jsonl(self.file)
        problems += consistency.delivery_differences(self.store, self.receiver.arrivals, "webhook")
        problems += consistency.delivery_differences(self.store, in_file, "file")
        events = consistency.DeliveredEvents(self.receiver.arrivals)
        for reader, clients in self.readers():
            problems += consistency.unrequested_resources(reader, clients)
            for client in clients:
                problems += consistency.join_problems(events, client)
                problems += consistency.audit_problems(events, client)
                problems += consistency.composition_problems(events, client)
                for stage in client.expected.existing_stages():
                    problems += consistency.api_differences(reader, events, stage.key)
        self.count(events)

    def count(self, events):
        report, arrivals = self.report, self.receiver.arrivals
        report.writes_acknowledged = self.writes()
        report.writes_unanswered = sum(client.unanswered for client in self.clients)
        stages = [stage for client in self.clients for stage in client.expected.stages.values()]
        report.stages = len(stages)
        report.joins_acknowledged = sum(len(stage.joined) for stage in stages)
        participant_events = [detail for details in events.stages.values() for detail in details]
        report.publishers = sum(detail["event_name"] == consistency.LOG_NAMES["PUBLISH_STARTED"] for detail in participant_events)
        report.compositions = sum(len(stage.compositions) for stage in stages)
        report.audit_records = sum(events.audit_counts.values())
        report.events = len(arrivals.first) - report.audit_records
        report.deliveries = sum(arrivals.copies.values())
        report.duplicates = arrivals.duplicates()
        report.rejected_by_the_receiver = self.receiver.rejected
