"""One measurement: a fresh server, publishers, receivers, and counters over a time."""

import dataclasses
import os
import pathlib
import time

from service import processes
from service.context import say

from .driver import Driver

# What browsers send of a camera at 960x540, best layer first.
SINGLE = [{"kbit": 2500}]
LAYERS = [{"rid": "h", "kbit": 1850}, {"rid": "m", "kbit": 500}, {"rid": "l", "kbit": 150}]
CONNECT_SECONDS = 60
UDP_SOCKETS = pathlib.Path("/proc/net/udp")


@dataclasses.dataclass
class Case:
    name: str
    publishers: int
    # Subscribers of the one publisher; None is a conference, in which each participant subscribes to all others.
    subscribers: int | None
    simulcast: bool

    @property
    def subscriptions(self):
        return self.publishers * (self.publishers - 1) if self.subscribers is None else self.subscribers

    @property
    def layers(self):
        return LAYERS if self.simulcast else SINGLE


def cases():
    for simulcast in (False, True):
        suffix = "-simulcast" if simulcast else ""
        for subscribers in (10, 50, 100, 200):
            yield Case(f"1x{subscribers}{suffix}", 1, subscribers, simulcast)
        yield Case(f"12x12{suffix}", 12, None, simulcast)


@dataclasses.dataclass
class Result:
    # Server processor time in µs per media packet received.
    cost: float
    # Media packets received per second by all receivers.
    rate: float
    # Share of packets that are missing in the sequence numbers.
    loss: float
    # Share of packets that the receivers' sockets dropped, as the receivers were too slow; included in the loss.
    receiver_loss: float
    # Packets received by the connection with the fewest, relative to the mean.
    slowest: float
    # Mbit/s per subscription.
    mbit: float
    # Server memory in KiB per subscription.
    memory: float
    # Retransmissions and bandwidth probes per second, by all receivers.
    retransmissions: float
    key_frames: int
    # Shares of a core.
    server_cores: float
    driver_cores: float


def measure(server, case, options, notes):
    """Measures one server; adds remarks to the set `notes`."""
    with server, Driver(options.driver, options.address) as driver:
        participants = []
        for number in range(case.publishers):
            participants.append(server.publish(driver, f"p{number}", layers=case.layers, burst=options.burst))
        until(driver, lambda now: now["publishing"] == case.publishers, "publishers did not connect")
        time.sleep(1)
        idle = processes.memory(server.pid)
        if case.subscribers is None:
            wanted = [(own, [other for other in participants if other is not own]) for own in participants]
            if not server.multistream:
                wanted = [(own, [other]) for own, others in wanted for other in others]
        else:
            wanted = [(None, participants)] * case.subscribers
        for number, (own, others) in enumerate(wanted):
            server.subscribe(driver, f"s{number}", others, own)
        until(driver, lambda now: now["receiving"] == len(wanted), "subscribers did not receive")
        time.sleep(options.settle)
        before, started = readings(server, driver), time.monotonic()
        time.sleep(options.seconds)
        after, seconds = readings(server, driver), time.monotonic() - started
        memory = processes.memory(server.pid)
        if hasattr(server, "srtp_profile"):
            notes.add(f"{server.name} negotiated {server.srtp_profile()}")
        if after["subscribed"] != len(wanted):
            notes.add(f"{case.name}, {server.name}: {len(wanted) - after['subscribed']} connections of subscribers ended")
    grown = lambda name: after[name] - before[name]
    packets, each = grown("packets"), [now - then for now, then in zip(after["each"], before["each"], strict=True)]
    if grown("decrypted") < 0.99 * packets:
        notes.add(f"{case.name}, {server.name}: {grown('decrypted')} of {packets} packets were decrypted")
    return Result(
        cost=grown("server") * 1e6 / packets,
        rate=packets / seconds,
        loss=1 - packets / max(grown("expected"), 1),
        receiver_loss=grown("drops") / max(grown("expected"), 1),
        slowest=min(each) * len(each) / packets,
        mbit=grown("bytes") * 8e-6 / seconds / case.subscriptions,
        memory=(memory - idle) / 1024 / case.subscriptions,
        retransmissions=grown("retransmissions") / seconds,
        key_frames=grown("key_frames"),
        server_cores=grown("server") / seconds,
        driver_cores=grown("driver") / seconds,
    )


def readings(server, driver):
    counters = {"server": processes.cpu(server.pid), "driver": processes.cpu(driver.pid), "drops": drops(driver.pid)}
    return driver("counters") | counters


def drops(pid):
    """Datagrams that the kernel dropped as the receive buffers of a process were full."""
    lines = [line.split() for line in UDP_SOCKETS.read_text().splitlines()[1:]]
    # Columns: inode and drops.
    dropped = {f"socket:[{line[9]}]": int(line[12]) for line in lines}
    return sum(dropped.get(os.readlink(link), 0) for link in pathlib.Path(f"/proc/{pid}/fd").iterdir())


def until(driver, condition, what):
    end = time.monotonic() + CONNECT_SECONDS
    while not condition(now := driver("counters")):
        if time.monotonic() > end:
            del now["each"]
            raise TimeoutError(f"{what}: {now}")
        time.sleep(0.1)


def run(makers, selected, options, notes):
    """Results by case name and server name, of all rounds; the servers take turns in alternating order."""
    results, failed = {}, []
    for number in range(options.rounds):
        for case in selected:
            for make in makers if number % 2 == 0 else reversed(makers):
                server = make()
                if server.multistream and case.subscribers is not None:
                    continue
                say(f"round {number + 1}, {case.name}, {server.name}")
                try:
                    result = measure(server, case, options, notes)
                except Exception as error:
                    failed.append(f"{case.name}, {server.name}")
                    say(f"FAILED: {error}")
                    continue
                results.setdefault(case.name, {}).setdefault(server.name, {})[number] = result
                cores = f"cores: server {result.server_cores:.2f}, driver {result.driver_cores:.2f}"
                traffic = f"{result.rate:,.0f} packets/s, {result.mbit:.2f} Mbit/s each, {result.loss:.2%} lost ({result.receiver_loss:.2%} by receivers)"
                extra = f"{result.retransmissions:.0f} retransmissions/s, {result.key_frames} key frames"
                say(f"{result.cost:.2f} µs per packet, {traffic}, {extra}, slowest {result.slowest:.2f}; {cores}")
    return results, failed
