"""Readiness that depends on more than the store."""

import ctypes
import os
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from clusters import until
from endpoints import StageEndpoints

# ptrace(2)
SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
WAIT_FOR_THREADS = 0x40000000


@contextmanager
def stopped_thread(pid, name):
    """Stops one thread of a process, as a bug or a machine without time for it would."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    tasks = Path(f"/proc/{pid}/task")
    [thread] = [int(task.name) for task in tasks.iterdir() if (task / "comm").read_text().strip() == name]
    if libc.ptrace(SEIZE, thread, None, None) != 0:
        pytest.skip(f"threads cannot be stopped here: {os.strerror(ctypes.get_errno())}")
    assert libc.ptrace(INTERRUPT, thread, None, None) == 0
    os.waitpid(thread, WAIT_FOR_THREADS)
    try:
        yield
    finally:
        assert libc.ptrace(DETACH, thread, None, None) == 0


def ready(server):
    answer = requests.get(f"{server.endpoint}/_greenroom/ready", timeout=30)
    return answer.status_code, [one["reason"] for one in answer.json().get("reasons", [])]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_node_with_a_stuck_media_thread_is_not_ready(start_server, new_store, engine):
    server = start_server(new_store())
    tenant = server.tenant()
    endpoints = StageEndpoints(tenant, tenant.stage())
    assert ready(server) == (200, [])
    with stopped_thread(server.test_server.process.pid, "media"):
        until(lambda: ready(server) == (503, ["media-thread-silent"]), lambda: ready(server))
        # What needs no media goes on.
        assert endpoints.token()
    until(lambda: ready(server) == (200, []), lambda: ready(server))
    log = server.test_server.wait_for_log("media thread answers again")
    assert log.count('"media thread does not answer"') == 1
