"""The target file and its reload; file and standard output targets; kills of servers, and several nodes."""

import json
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from files import complete_lines
from receiver import Reply, by_stage, command, log, status, until
from server import MASTER_KEY, binary, environment, run
from test_webhooks import create_participants, publish_and_unpublish
from wire import ACCOUNT, Wire

# Long enough not to expire on a slow machine: commands use the real clock.
LONG_LEASE = ("--node-lease-seconds", "3600")
INVALID = '[[target]]\nname = "x"\ntype = "webhook"\nurl = "http://127.0.0.1/"\nsecret = "password"\n'


def lines(path):
    return [json.loads(line) for line in complete_lines(path)] if path.exists() else []


def create_stages(server, count):
    """Creates this many stages, each with an audit record; returns their names."""
    tenant = server.tenant()
    names = [f"stage-{number}" for number in range(count)]
    for name in names:
        tenant.ivs.create_stage(name=name)
    return names


def stage_names(events):
    return [event["detail"]["requestParameters"]["name"] for event in events]


def test_an_invalid_target_file_is_a_startup_error(tmp_path):
    path = tmp_path / "targets.toml"
    path.write_text(INVALID)
    for ended in (
        run("serve", "--events-config", str(path), "--database-url", f"sqlite://{tmp_path}/g.db"),
        run("events", "check", str(path)),
        run(GREENROOM_EVENTS_CONFIG=str(path), GREENROOM_DATABASE_URL=f"sqlite://{tmp_path}/g.db"),
    ):
        assert ended.returncode == 2, ended
        assert ended.stdout == "" and len(ended.stderr.splitlines()) == 1
        assert f"{path}: target 'x': secret: use whsec_" in ended.stderr
        assert "password" not in ended.stderr
    assert run("events", "check", str(tmp_path / "none")).returncode == 2


def test_events_check_validates_and_redacts_the_target_file(tmp_path, targets, receiver):
    path = targets(hook=receiver.target(), out={"type": "stdout"})
    ended = run("events", "check", str(path))
    assert ended.returncode == 0 and "2 targets" in ended.stdout and f":{receiver.port}/hooks\n" in ended.stdout
    assert "whsec" not in ended.stdout and "for=greenroom" not in ended.stdout
    shown = json.loads(run("events", "check", str(path), "--output", "json").stdout)
    assert [target["type"] for target in shown["targets"]] == ["webhook", "stdout"]


def test_a_file_target_appends_one_line_per_event(start_test_server, targets, tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"whole": 1}\n{"cut off": "by a cra')
    server = start_test_server("--events-config", targets(lines={"type": "file", "path": str(path)}))
    tenant = server.tenant()
    publish_and_unpublish(tenant, create_participants(tenant), 5)
    until(lambda: len(lines(path)) == 31)
    assert lines(path) == [{"whole": 1}, *log(server)]
    until(lambda: status(server, "lines")["delivered"] == 30)


def test_an_unwritable_file_is_retried(start_test_server, targets, tmp_path):
    path = tmp_path / "later" / "events.jsonl"
    server = start_test_server("--events-config", targets(lines={"type": "file", "path": str(path)}))
    tenant = server.tenant()
    publish_and_unpublish(tenant, create_participants(tenant))
    until(lambda: status(server, "lines")["error"])
    path.parent.mkdir()
    tenant.advance(1)
    until(lambda: lines(path) == log(server))


def test_standard_output_has_only_events(new_store, targets, tmp_path):
    path = targets(out={"type": "stdout"})
    with open(tmp_path / "stdout", "w+") as output:
        env = environment(GREENROOM_MASTER_KEY=MASTER_KEY, GREENROOM_LISTEN="127.0.0.1:0")
        flags = ["--database-url", new_store(), "--media-addr", "127.0.0.1:0", "--events-config", str(path), "--audit"]
        process = subprocess.Popen(
            [binary("GREENROOM_BIN"), *flags], stdout=output, stderr=subprocess.PIPE, text=True, env=env
        )
        try:
            endpoint = next(line.split()[-1] for line in process.stderr if "endpoint" in line)
            threading.Thread(target=process.stderr.read, daemon=True).start()
            Wire(endpoint, ACCOUNT, "us-east-1").call("CreateStage", {"name": "seen"})
            until(lambda: lines(tmp_path / "stdout"))
            [event] = lines(tmp_path / "stdout")
            assert event["detail"]["eventName"] == "CreateStage"
        finally:
            process.terminate()
            assert process.wait(30) == 0


def test_the_target_file_is_reloaded_on_sighup(start_server, new_store, targets, receivers, tmp_path):
    old, new = receivers(), receivers()
    path = tmp_path / "events.jsonl"
    file_target = {"type": "file", "path": str(path)}
    config = targets(old=old.target(), lines=file_target)
    server = start_server(new_store(), "--audit", "--events-config", str(config))

    def reload(output, text=None):
        if text is not None:
            config.write_text(text)
        before = server.test_server.logged().count(output)
        server.test_server.process.send_signal(signal.SIGHUP)
        until(lambda: server.test_server.logged().count(output) > before)

    first = create_stages(server, 3)
    old.wait_for_accepted(3)
    until(lambda: stage_names(lines(path)) == first)
    # A broken file changes nothing.
    reload("event targets not reloaded", INVALID)
    second = create_stages(server, 2)
    old.wait_for_accepted(5)
    # One target is removed, one is added that starts with the oldest event, and the output file was rotated.
    targets(new=new.target(**{"from": "oldest"}), lines=file_target)
    path.rename(tmp_path / "rotated.jsonl")
    reload("event targets reloaded")
    new.wait_for_accepted(5)
    third = create_stages(server, 2)
    new.wait_for_accepted(7)
    until(lambda: stage_names(lines(path)) == third)
    assert stage_names(lines(tmp_path / "rotated.jsonl")) == first + second
    assert len(old.accepted) == 5
    assert sorted(stage_names(delivery.event for delivery in new.accepted)) == sorted(first + second + third)
    shown = {target["name"]: target for target in command(server, "targets", "--events-config", str(config))}
    assert (shown["old"]["type"], shown["new"]["type"], shown["lines"]["to"]) == (None, "webhook", str(path))
    until(lambda: status(server, "old")["node"] is None)
    assert command(server, "forget", "--target", "old")["done"] == "forgotten"
    assert {target["name"] for target in command(server, "targets")} == {"new", "lines"}


def test_commands_on_unknown_or_active_targets_are_rejected(start_test_server, targets, receiver):
    server = start_test_server("--events-config", targets(hook=receiver.target()), *LONG_LEASE)
    until(lambda: status(server, "hook")["node"])
    for arguments, message in (
        (("dead", "--target", "nobody"), "there is no target 'nobody'"),
        (("redrive", "--target", "hook", "--id", "no-such"), "the target 'hook' has no dead event no-such"),
        (("forget", "--target", "hook"), "a server delivers to the target 'hook'"),
        (("drop", "--target", "hook"), "--id"),
    ):
        ended = run("events", *arguments, "--database-url", server.database)
        assert ended.returncode != 0 and message in ended.stderr, (arguments, ended)


def test_kills_lose_no_events_and_duplicates_have_the_same_id(start_test_server, new_store, targets, receiver, tmp_path):
    store, path = new_store(), tmp_path / "events.jsonl"
    flags = ("--events-config", targets(hook=receiver.target(), lines={"type": "file", "path": str(path)}))
    # Slow responses, so that many deliveries are in flight at any time.
    receiver.respond = lambda event: time.sleep(0.01) or Reply()
    server = start_test_server(*flags, store=store)
    tenant = server.tenant()
    participants = create_participants(tenant, 6)
    account, rounds = tenant.account, 5
    for number in range(rounds):
        publish_and_unpublish(tenant, participants, 5)
        server.test_server.kill()
        server = start_test_server(*flags, store=store)
        tenant = server.tenant(account)
        # Expires the killed server's lease, whose clock was ahead by the advances so far. No participant is removed, as none
        # has a connection.
        tenant.advance(60 * (number + 1))
    logged_events = log(server)
    accepted = receiver.wait_for_accepted(len(logged_events))
    until(lambda: len({event["id"] for event in lines(path)}) == len(logged_events))
    assert by_stage(delivery.event for delivery in accepted) == by_stage(logged_events)
    assert by_stage(lines(path)) == by_stage(logged_events)
    bodies = {event["id"]: event for event in logged_events}
    assert all(delivery.event == bodies[delivery.id] for delivery in accepted)
    duplicates = len(accepted) - len(set(receiver.ids()))
    print(f"\n{rounds} kills, {len(logged_events)} events, 0 missing, {duplicates} duplicate deliveries, "
          f"{len(lines(path)) - len(logged_events)} duplicate lines")


def test_one_of_two_nodes_delivers_and_the_other_takes_over(start_test_server, fresh_postgres, engine, targets, receiver):
    if engine != "postgres":
        pytest.skip("an embedded store has one node")
    store = fresh_postgres()
    flags = ("--events-config", targets(hook=receiver.target()), *LONG_LEASE)
    nodes = [
        start_test_server(*flags, "--node-url", f"http://node-{n}.example.org", store=store) for n in range(2)
    ]
    tenants = [nodes[0].tenant()]
    tenants.append(nodes[1].tenant(tenants[0].account))
    participants = create_participants(tenants[0], 4)
    for tenant in tenants * 3:
        publish_and_unpublish(tenant, participants)
    logged_events = log(nodes[0])
    accepted = receiver.wait_for_accepted(len(logged_events))
    assert len(accepted) == len(logged_events) == 48, "each event once, by one node"
    assert by_stage(delivery.event for delivery in accepted) == by_stage(logged_events)
    holder = int(status(nodes[0], "hook")["node"].split("-")[1][0])
    nodes[holder].test_server.kill()
    other = tenants[1 - holder]
    publish_and_unpublish(other, participants)
    # The nodes have checked for expired leases by now.
    time.sleep(2.5)
    assert len(receiver.accepted) == 48, "the dead node's lease has not expired"
    other.advance(3601)
    receiver.wait_for_accepted(56)
    assert len(receiver.accepted) == 56
    assert by_stage(delivery.event for delivery in receiver.accepted) == by_stage(log(nodes[1 - holder]))
    print("\ntaken over after the lease had expired: 0 missing, 0 duplicates")


def test_a_stopped_server_is_replaced_immediately(start_test_server, fresh_postgres, engine, targets, receiver):
    if engine != "postgres":
        pytest.skip("an embedded store has one node")
    store = fresh_postgres()
    flags = ("--events-config", targets(hook=receiver.target()), *LONG_LEASE)
    first = start_test_server(*flags, store=store)
    until(lambda: status(first, "hook")["node"])
    second = start_test_server(*flags, store=store)
    tenant = second.tenant()
    assert first.test_server.stop() == 0
    publish_and_unpublish(tenant, create_participants(tenant, 2))
    receiver.wait_for_accepted(4)


def test_concurrent_requests_reach_every_target(start_server, new_store, targets, receivers, tmp_path):
    hooks, path = [receivers() for _ in range(3)], tmp_path / "events.jsonl"
    tables = {f"hook{n}": hook.target() for n, hook in enumerate(hooks)}
    config = targets(**tables, lines={"type": "file", "path": str(path)})
    server = start_server(new_store(), "--audit", "--events-config", str(config))
    start = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: create_stages(server, 25), range(4)))
    for hook in hooks:
        hook.wait_for_accepted(100)
    until(lambda: len(lines(path)) == 100)
    duration = time.monotonic() - start
    print(f"\n100 requests, 400 deliveries to four targets in {duration:.2f} s")
    assert {event["id"] for event in lines(path)} == set(hooks[0].ids()) == set(hooks[1].ids())
