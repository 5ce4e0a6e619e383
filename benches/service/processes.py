"""Starting, measuring and stopping processes."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")


def free_port(also_udp_after=False):
    """A free TCP port, optionally with the next port free for UDP (media)."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            if not also_udp_after:
                return port
            with contextlib.suppress(OSError, OverflowError):
                udp.bind(("127.0.0.1", port + 1))
                return port


def stop(process, by=signal.SIGTERM, timeout=30):
    if process.poll() is None:
        process.send_signal(by)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(condition, what, seconds=60, pause=0.02):
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(pause)
    return value


def memory(pid):
    """Resident memory of a process in bytes (RSS)."""
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"the memory of process {pid} is unknown")


def cpu(pid):
    """CPU time of a process in seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def children(pid):
    """The live child processes of a process."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if entry.name.isdigit() and int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.name))
    return found
