"""A run: a server under load that is killed repeatedly, and the checks at the end."""

import random
import socket
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field, fields

import check
import log
from load import REGION, Client
from receiver import Receiver, arrived_in
from api import Record
from server import MASTER_KEY, Greenroom

# How long nothing may arrive while something is to arrive still.
PATIENCE_SECONDS = 60
UNLIMITED = "stages=unlimited,compositions=unlimited,compositions-per-stage=unlimited,encoder-configurations=unlimited"
# Short, so that what is due falls into the run: timers, the end of what a dead server held.
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
    refused_by_the_receiver: int = 0
    torn_lines: int = 0
    losses: int = 0
    seconds: float = 0.0
    problems: list = field(default_factory=list, repr=False)

    def lines(self):
        figures = [name.name for name in fields(self) if name.name not in ("engine", "seed", "problems")]
        yield f"{self.engine}, seed {self.seed}"
        for name in figures:
            value = getattr(self, name)
            yield f"  {name.replace('_', ' '):26}{round(value):>10}"
        for problem in self.problems[:20]:
            yield f"  LOST OR WRONG: {problem[:1000]}"


def free_address():
    """A fixed address to listen on, outside the system's ephemeral ports."""
    while True:
        try:
            with closing(socket.create_server(("127.0.0.1", random.randint(20000, 32000)))) as free:
                return f"127.0.0.1:{free.getsockname()[1]}"
        except OSError:
            continue


class Crash:
    """A run on one store."""

    def __init__(self, engine, store, folder, seed, clients=4, pause=0.01, most=150, say=lambda _: None):
        self.store, self.folder, self.most, self.say = store, folder, most, say
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
        self.flags += ["--events-config", str(self.configured())]
        self.server = None

    def configured(self):
        """The file that says where events go."""
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
        """`kill -9`."""
        self.server.kill()
        said = self.server.logged()
        if "panicked" in said or "by a bug" in said:
            self.report.problems.append(f"the server's log: {said[-1000:]}")

    def kill_within(self, seconds):
        """Kills a server that has nothing to do but to end what the ones before it have left."""
        time.sleep(self.random.uniform(0, seconds))
        self.report.further_kills += 1
        self.kill()

    # A run

    def run(self, rounds, seconds=float("inf")):
        """Rounds of load and kill, as many as begin within so many seconds, and the reckoning; the report."""
        begun = time.monotonic()
        self.start().serving()
        try:
            while self.report.rounds < rounds and time.monotonic() < begun + seconds:
                self.round()
                if self.report.problems:
                    return self.report
            self.settle()
            self.compare()
        finally:
            for client in self.clients:
                client.leave_everything()
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
        # The moment is the point: anything may be under way. Counted in writes, since machines differ.
        enough = self.writes() + self.random.randint(5, self.most)
        while self.writes() < enough and all(thread.is_alive() for thread in threads):
            time.sleep(0.01)
        time.sleep(self.random.uniform(0, 0.05))
        killed_at = time.monotonic()
        self.kill()
        stopped.set()
        for thread in threads:
            thread.join()
        for client in self.clients:
            if client.fell and client.fell < killed_at:
                client.problems.append(f"client {client.number}: the server was gone before it was killed: {client.why!r}")
            client.leave_everything()
        # It may be killed while it starts, too.
        while self.random.random() < 0.25:
            self.start()
            self.kill_within(0.5)
        self.start().serving()
        self.report.rounds += 1
        self.look(some=10)
        self.say(f"round {self.report.rounds}: {self.writes()} writes, {len(self.receiver.arrivals.first)} events")

    def writes(self):
        return sum(len(client.ledger.calls) for client in self.clients)

    def records(self):
        """The API of each account, and its clients."""
        endpoint = f"http://{self.address}"
        return [(Record(endpoint, account, REGION), clients) for account, clients in self.accounts.items()]

    def look(self, some=None):
        """Compares what the clients know with the service's state."""
        for record, clients in self.records():
            for client in clients:
                self.report.problems += client.problems
                self.report.problems += check.after_a_kill(record, client, some)

    # The reckoning

    def settle(self):
        """Lets everything come to its end: unanswered calls, compositions, sessions, deliveries."""
        for _ in range(3):
            self.kill_within(2)
            self.start().serving()
        for client in self.clients:
            client.retry()
        self.until(self.over, "compositions and sessions did not end")
        self.until(lambda: log.untold(self.store) == 0, "the end of compositions was not told")
        self.until(lambda: log.waiting(self.store) == 0, "the outbox is not empty")
        self.until(self.arrived, "events did not arrive")

    def until(self, condition, problem):
        """Waits as long as there is progress."""
        seen, since = None, time.monotonic()
        while not condition():
            now = (log.ends(self.store), len(self.receiver.arrivals.first), len(arrived_in(self.file)[0].first))
            if now != seen:
                seen, since = now, time.monotonic()
            if time.monotonic() - since > PATIENCE_SECONDS:
                self.report.problems.append(f"{problem} (log, arrived, file: {now})")
                return
            time.sleep(0.1)

    def over(self):
        for record, clients in self.records():
            if any(found["state"] != "STOPPED" for found in record.compositions().values()):
                return False
            for arn in [stage.key for client in clients for stage in client.ledger.living()]:
                if any("endTime" not in session for session in record.sessions(arn)):
                    return False
        return True

    def arrived(self):
        end = log.ends(self.store)
        return len(self.receiver.arrivals.first) >= end and len(arrived_in(self.file)[0].first) >= end

    def compare(self):
        report, problems = self.report, self.report.problems
        self.look()
        problems += check.whole(self.store)
        in_file, report.torn_lines = arrived_in(self.file)
        problems += check.delivered(self.store, self.receiver.arrivals, "webhook")
        problems += check.delivered(self.store, in_file, "file")
        telling = check.Telling(self.receiver.arrivals)
        for record, clients in self.records():
            problems += check.invented(record, clients)
            for client in clients:
                problems += check.joins(telling, client)
                problems += check.audited(telling, client)
                problems += check.composed(telling, client)
                for stage in client.ledger.living():
                    problems += check.against_the_record(record, telling, stage.key)
        self.count(telling)

    def count(self, telling):
        report, arrivals = self.report, self.receiver.arrivals
        report.writes_acknowledged = self.writes()
        report.writes_unanswered = sum(client.unsure for client in self.clients)
        stages = [stage for client in self.clients for stage in client.ledger.stages.values()]
        report.stages = len(stages)
        report.joins_acknowledged = sum(len(stage.joined) for stage in stages)
        told = [detail for details in telling.stages.values() for detail in details]
        report.publishers = sum(detail["event_name"] == check.TOLD["PUBLISH_STARTED"] for detail in told)
        report.compositions = sum(len(stage.compositions) for stage in stages)
        report.audit_records = sum(telling.audited.values())
        report.events = len(arrivals.first) - report.audit_records
        report.deliveries = sum(arrivals.copies.values())
        report.duplicates = arrivals.duplicates()
        report.refused_by_the_receiver = self.receiver.refused
