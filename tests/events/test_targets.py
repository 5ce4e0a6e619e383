"""The target file and its reload; file and standard output targets; servers that are killed, and several nodes."""

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
from test_webhooks import crowd, turn
from wire import ACCOUNT, Wire

# A lease that a slow machine does not see the end of: commands go by the real clock.
LONG_LEASE = ("--node-lease-seconds", "3600")
BROKEN = '[[target]]\nname = "x"\ntype = "webhook"\nurl = "http://127.0.0.1/"\nsecret = "password"\n'


def lines(path):
    return [json.loads(line) for line in complete_lines(path)] if path.exists() else []


def make_stages(server, count):
    """This many calls that leave an audit record each; returns their names."""
    tenant = server.tenant()
    names = [f"stage-{number}" for number in range(count)]
    for name in names:
        tenant.ivs.create_stage(name=name)
    return names


def made(events):
    return [event["detail"]["requestParameters"]["name"] for event in events]


def test_a_file_that_is_wrong_keeps_a_server_from_starting_and_says_why(tmp_path):
    path = tmp_path / "targets.toml"
    path.write_text(BROKEN)
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


def test_a_file_is_checked_and_shown_without_its_secrets(tmp_path, targets, receiver):
    path = targets(hook=receiver.target(), out={"type": "stdout"})
    ended = run("events", "check", str(path))
    assert ended.returncode == 0 and "2 targets" in ended.stdout and f":{receiver.port}/hooks\n" in ended.stdout
    assert "whsec" not in ended.stdout and "for=greenroom" not in ended.stdout
    shown = json.loads(run("events", "check", str(path), "--output", "json").stdout)
    assert [target["type"] for target in shown["targets"]] == ["webhook", "stdout"]


def test_lines_are_appended_to_a_file_one_for_each_event(start_test_server, targets, tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"whole": 1}\n{"cut off": "by a cra')
    server = start_test_server("--events-config", targets(lines={"type": "file", "path": str(path)}))
    tenant = server.tenant()
    turn(tenant, crowd(tenant), 5)
    until(lambda: len(lines(path)) == 31)
    assert lines(path) == [{"whole": 1}, *log(server)]
    until(lambda: status(server, "lines")["delivered"] == 30)


def test_a_file_that_cannot_be_written_is_tried_until_it_can(start_test_server, targets, tmp_path):
    path = tmp_path / "later" / "events.jsonl"
    server = start_test_server("--events-config", targets(lines={"type": "file", "path": str(path)}))
    tenant = server.tenant()
    turn(tenant, crowd(tenant))
    until(lambda: status(server, "lines")["error"])
    path.parent.mkdir()
    tenant.advance(1)
    until(lambda: lines(path) == log(server))


def test_standard_output_has_the_events_and_nothing_else(new_store, targets, tmp_path):
    path = targets(out={"type": "stdout"})
    with open(tmp_path / "said", "w+") as said:
        env = environment(GREENROOM_MASTER_KEY=MASTER_KEY, GREENROOM_LISTEN="127.0.0.1:0")
        flags = ["--database-url", new_store(), "--media-addr", "127.0.0.1:0", "--events-config", str(path), "--audit"]
        process = subprocess.Popen(
            [binary("GREENROOM_BIN"), *flags], stdout=said, stderr=subprocess.PIPE, text=True, env=env
        )
        try:
            endpoint = next(line.split()[-1] for line in process.stderr if "endpoint" in line)
            threading.Thread(target=process.stderr.read, daemon=True).start()
            Wire(endpoint, ACCOUNT, "us-east-1").call("CreateStage", {"name": "seen"})
            until(lambda: lines(tmp_path / "said"))
            [event] = lines(tmp_path / "said")
            assert event["detail"]["eventName"] == "CreateStage"
        finally:
            process.terminate()
            assert process.wait(30) == 0


def test_the_file_is_read_again_at_sighup(start_server, new_store, targets, receivers, tmp_path):
    old, new = receivers(), receivers()
    path = tmp_path / "events.jsonl"
    lines_of = {"type": "file", "path": str(path)}
    config = targets(old=old.target(), lines=lines_of)
    server = start_server(new_store(), "--audit", "--events-config", str(config))

    def reload(said, text=None):
        if text is not None:
            config.write_text(text)
        before = server.test_server.logged().count(said)
        server.test_server.process.send_signal(signal.SIGHUP)
        until(lambda: server.test_server.logged().count(said) > before)

    first = make_stages(server, 3)
    old.has(3)
    until(lambda: made(lines(path)) == first)
    # A broken file changes nothing.
    reload("event targets not reloaded", BROKEN)
    second = make_stages(server, 2)
    old.has(5)
    # A target goes, one comes that begins with the oldest; the file was moved away.
    targets(new=new.target(**{"from": "oldest"}), lines=lines_of)
    path.rename(tmp_path / "rotated.jsonl")
    reload("event targets reloaded")
    new.has(5)
    third = make_stages(server, 2)
    new.has(7)
    until(lambda: made(lines(path)) == third)
    assert made(lines(tmp_path / "rotated.jsonl")) == first + second
    assert len(old.taken) == 5
    assert sorted(made(delivery.event for delivery in new.taken)) == sorted(first + second + third)
    shown = {target["name"]: target for target in command(server, "targets", "--events-config", str(config))}
    assert (shown["old"]["type"], shown["new"]["type"], shown["lines"]["to"]) == (None, "webhook", str(path))
    until(lambda: status(server, "old")["node"] is None)
    assert command(server, "forget", "--target", "old")["done"] == "forgotten"
    assert {target["name"] for target in command(server, "targets")} == {"new", "lines"}


def test_an_unknown_target_is_refused_by_name(start_test_server, targets, receiver):
    server = start_test_server("--events-config", targets(hook=receiver.target()), *LONG_LEASE)
    until(lambda: status(server, "hook")["node"])
    for arguments, culprit in (
        (("dead", "--target", "nobody"), "there is no target 'nobody'"),
        (("redrive", "--target", "hook", "--id", "no-such"), "the target 'hook' has no dead event no-such"),
        (("forget", "--target", "hook"), "a server delivers to the target 'hook'"),
        (("drop", "--target", "hook"), "--id"),
    ):
        ended = run("events", *arguments, "--database-url", server.database)
        assert ended.returncode != 0 and culprit in ended.stderr, (arguments, ended)


def test_nothing_is_missing_after_kills_and_what_comes_twice_has_the_same_id(start_test_server, new_store, targets, receiver, tmp_path):
    store, path = new_store(), tmp_path / "events.jsonl"
    flags = ("--events-config", targets(hook=receiver.target(), lines={"type": "file", "path": str(path)}))
    # Answers take a while, so that many are on their way at any time.
    receiver.answer = lambda event: time.sleep(0.01) or Reply()
    server = start_test_server(*flags, store=store)
    tenant = server.tenant()
    people = crowd(tenant, 6)
    account, rounds = tenant.account, 5
    for number in range(rounds):
        turn(tenant, people, 5)
        server.test_server.kill()
        server = start_test_server(*flags, store=store)
        tenant = server.tenant(account)
        # The lease of the one that was killed is over, whose clock was ahead by what it was moved; no participant is
        # lost, as none has a connection.
        tenant.advance(60 * (number + 1))
    told = log(server)
    came = receiver.has(len(told))
    until(lambda: len({event["id"] for event in lines(path)}) == len(told))
    assert by_stage(delivery.event for delivery in came) == by_stage(told)
    assert by_stage(lines(path)) == by_stage(told)
    bodies = {event["id"]: event for event in told}
    assert all(delivery.event == bodies[delivery.id] for delivery in came)
    twice = len(came) - len(set(receiver.ids()))
    print(f"\n{rounds} kills, {len(told)} events, 0 missing, {twice} posted twice, "
          f"{len(lines(path)) - len(told)} lines written twice")


def test_of_two_nodes_one_delivers_and_the_other_takes_over(start_test_server, fresh_postgres, engine, targets, receiver):
    if engine != "postgres":
        pytest.skip("an embedded store has one node")
    store = fresh_postgres()
    flags = ("--events-config", targets(hook=receiver.target()), *LONG_LEASE)
    nodes = [
        start_test_server(*flags, "--node-url", f"http://node-{n}.example.org", store=store) for n in range(2)
    ]
    tenants = [nodes[0].tenant()]
    tenants.append(nodes[1].tenant(tenants[0].account))
    people = crowd(tenants[0], 4)
    for tenant in tenants * 3:
        turn(tenant, people)
    told = log(nodes[0])
    came = receiver.has(len(told))
    assert len(came) == len(told) == 48, "each once, by one of them"
    assert by_stage(delivery.event for delivery in came) == by_stage(told)
    holder = int(status(nodes[0], "hook")["node"].split("-")[1][0])
    nodes[holder].test_server.kill()
    other = tenants[1 - holder]
    turn(other, people)
    # By now, the nodes have looked for expired leases.
    time.sleep(2.5)
    assert len(receiver.taken) == 48, "the dead one's lease is not over"
    other.advance(3601)
    receiver.has(56)
    assert len(receiver.taken) == 56
    assert by_stage(delivery.event for delivery in receiver.taken) == by_stage(log(nodes[1 - holder]))
    print("\ntaken over once the lease was over: 0 missing, 0 twice")


def test_a_server_that_stops_lets_another_deliver_at_once(start_test_server, fresh_postgres, engine, targets, receiver):
    if engine != "postgres":
        pytest.skip("an embedded store has one node")
    store = fresh_postgres()
    flags = ("--events-config", targets(hook=receiver.target()), *LONG_LEASE)
    first = start_test_server(*flags, store=store)
    until(lambda: status(first, "hook")["node"])
    second = start_test_server(*flags, store=store)
    tenant = second.tenant()
    assert first.test_server.stop() == 0
    turn(tenant, crowd(tenant, 2))
    receiver.has(4)


def test_many_calls_at_once_reach_every_target(start_server, new_store, targets, receivers, tmp_path):
    hooks, path = [receivers() for _ in range(3)], tmp_path / "events.jsonl"
    tables = {f"hook{n}": hook.target() for n, hook in enumerate(hooks)}
    config = targets(**tables, lines={"type": "file", "path": str(path)})
    server = start_server(new_store(), "--audit", "--events-config", str(config))
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: make_stages(server, 25), range(4)))
    for hook in hooks:
        hook.has(100)
    until(lambda: len(lines(path)) == 100)
    took = time.monotonic() - began
    print(f"\n100 calls, 400 deliveries to four targets in {took:.2f} s")
    assert {event["id"] for event in lines(path)} == set(hooks[0].ids()) == set(hooks[1].ids())
