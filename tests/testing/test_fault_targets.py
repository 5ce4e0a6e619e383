"""Faults of event targets: refused and hanging deliveries."""

import time

from control import Control
from receiver import status, until


def start(start_node, targets, receiver, **keys):
    """A server with one webhook, and the test API of an account in it."""
    file = targets(hook=receiver.target(**keys))
    server = start_node("--events-config", str(file), "--audit", "on")
    tenant = server.tenant()
    return server, tenant, Control.of(tenant)


def names(receiver):
    return [delivery.event["detail"]["requestParameters"]["name"] for delivery in receiver.accepted]


def test_a_refused_delivery_is_repeated_later(start_node, targets, receiver):
    server, tenant, control = start(start_node, targets, receiver)
    fault = control.fault({"target": "refuse"}, {"target": "hook"}, count=2)
    other = control.fault({"target": "refuse"}, {"target": "another"})
    tenant.stage(name="one")
    receiver.wait_for_accepted(1)
    assert names(receiver) == ["one"] and len(receiver.deliveries) == 1, "a refused delivery does not reach the target"
    assert control.counts(fault) == (2, 2) and control.counts(other) == (0, 0)
    assert "503 Service Unavailable" in server.test_server.logged()


def test_the_error_of_a_refused_delivery_is_shown_for_the_target(start_node, targets, receiver):
    server, tenant, control = start(start_node, targets, receiver)
    fault = control.fault({"target": "refuse"}, {"target": "hook"})
    tenant.stage(name="one")
    until(lambda: status(server, "hook")["error"], lambda: status(server, "hook"))
    assert "503 Service Unavailable" in status(server, "hook")["error"]
    assert receiver.deliveries == []
    control.delete(f"/faults/{fault}")
    receiver.wait_for_accepted(1)


def test_a_hanging_delivery_ends_at_the_timeout_of_the_target(start_node, targets, receiver):
    server, tenant, control = start(start_node, targets, receiver, timeout_seconds=1)
    control.fault({"target": "hang"}, {"target": "hook"}, count=1)
    begun = time.monotonic()
    tenant.stage(name="one")
    receiver.wait_for_accepted(1)
    assert time.monotonic() - begun >= 1
    assert "there was no answer within 1 seconds" in server.test_server.logged()


def test_only_the_events_of_the_account_are_held_back(start_node, targets, receiver):
    server, tenant, control = start(start_node, targets, receiver)
    other = server.tenant()
    control.fault({"target": "refuse"}, {"target": "hook"})
    tenant.stage(name="refused")
    other.stage(name="delivered")
    receiver.wait_for_accepted(1)
    assert names(receiver) == ["delivered"]
    control.delete("/faults")
    receiver.wait_for_accepted(2)
    assert names(receiver) == ["delivered", "refused"]
