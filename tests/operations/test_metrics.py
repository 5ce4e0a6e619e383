"""Figures for Prometheus: they are there, they say what happened, and they stay few."""

import asyncio
import json
import re
import subprocess
from pathlib import Path

import pytest
import requests

from aws_model import BY_NAME
from endpoints import SDP, StageEndpoints
from figures import fetch, openmetrics_page, page, wait_for_page
from server import binary, environment, run
from stores import outage

DOCS = Path(__file__).parents[2] / "docs"
# A target that accepts everything, and one without a server.
TARGETS = """
[[target]]
name = "file"
type = "file"
path = "{folder}/events.jsonl"

[[target]]
name = "unreachable"
type = "webhook"
url = "http://127.0.0.1:9/hook"
secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
"""
# Every label that there may be, beside those of histograms.
LABELS = {"class", "direction", "door", "engine", "kind", "le", "limitation", "operation", "outcome", "pool", "protocol", "reason", "role", "status"}
LABELS |= {"code", "state", "target", "version"}
REGIONS = ("eu-west-1", "us-east-1", "ap-south-1")


@pytest.fixture(scope="module")
def server(start_server, new_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("targets")
    config = folder / "targets.toml"
    config.write_text(TARGETS.format(folder=folder))
    server = start_server(new_store(), "--events-config", str(config), "--extended-events", "on")
    # The metrics of a target begin when a node serves it.
    parts = ("delivered_total", "failed_total", "duration_seconds_count")
    series = {(f"greenroom_event_target_{part}", target) for part in parts for target in ("file", "unreachable")}
    wait_for_page(server, lambda seen: has_living(seen) and series <= of_targets(seen))
    return server


def of_targets(seen):
    return {(name, dict(labels).get("target")) for name, labels in seen.values}


@pytest.fixture
def tenant(server):
    return server.tenant()


def names():
    """The names in the table of docs/observe/metrics.md."""
    text = (DOCS / "observe" / "metrics.md").read_text()
    return set(re.findall(r"^\| `((?:greenroom|process)_\w+)`", text, re.MULTILINE))


def test_both_formats_parse_to_the_same_metrics(server, tenant):
    tenant.stage()
    older, newer = page(server), openmetrics_page(server)
    assert older.families.keys() == newer.families.keys()
    assert older.values.keys() == newer.values.keys()


def test_every_metric_has_a_type_a_help_text_and_a_conventional_name(server, tenant):
    tenant.stage()
    for family in page(server).families.values():
        assert family.documentation and family.type in ("counter", "gauge", "histogram"), family
        assert family.name.startswith(("greenroom_", "process_")), family.name
        assert not family.name.endswith(("_count", "_sum", "_bucket", "_milliseconds")), family.name
        series = {sample.name for sample in family.samples}
        if family.type == "counter":
            assert series == {f"{family.name}_total"}
        elif family.type == "gauge":
            assert series == {family.name}
        else:
            assert series == {f"{family.name}_{part}" for part in ("bucket", "sum", "count")}


def test_the_documented_metrics_are_the_exported_ones(server, tenant):
    stage = tenant.stage()
    requests.post(f"{StageEndpoints(tenant, stage).whip}", data="", timeout=30)
    families = wait_for_page(server, has_living).families.values()
    # Only servers with the test API inject faults.
    documented = names() - {"greenroom_faults_injected_total"}
    assert {family.name + "_total" * (family.type == "counter") for family in families} == documented


def has_living(seen):
    return seen.has("greenroom_concurrent_publishers") and seen.has("greenroom_event_target_dead_letters")


def test_every_series_of_the_dashboard_is_exported(server, tenant):
    dashboard = json.loads((DOCS / "grafana" / "greenroom.json").read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    used = {name for expression in asked for name in re.findall(r"\b(?:greenroom|process)_\w+", expression)}
    series = names()
    kinds = {"_bucket", "_sum", "_count"}
    series |= {name + kind for name in series if name.endswith(("_seconds", "_ratio", "_per_second")) for kind in kinds}
    assert len(panels) >= 20 and used and used <= series, used - series
    for panel in panels:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]


def test_requests_are_counted_by_operation_and_status(server, tenant):
    before, stage = page(server), tenant.stage()
    for _ in range(3):
        tenant.ivs.get_stage(arn=stage)
    with pytest.raises(tenant.ivs.exceptions.ResourceNotFoundException):
        tenant.ivs.get_stage(arn=tenant.arn("stage"))
    with pytest.raises(tenant.ivs.exceptions.ValidationException):
        tenant.ivs.create_stage(tags={"aws:x": "y"})
    assert requests.post(f"{server.endpoint}/GetStage", timeout=30).status_code == 403
    assert requests.post(f"{server.endpoint}/NoSuchOperation/x", timeout=30).status_code == 404
    after = page(server)

    def more(operation, status):
        labels = {"operation": operation, "status": str(status)}
        return after.value("greenroom_requests_total", **labels) - before.value("greenroom_requests_total", **labels)

    assert more("GetStage", 200) == 3 and more("GetStage", 404) == 1 and more("GetStage", 403) == 1
    assert more("CreateStage", 200) == 1 and more("CreateStage", 400) == 1
    assert more("Unknown", 404) == 1
    timed = [seen.value("greenroom_request_duration_seconds_count", operation="GetStage") for seen in (before, after)]
    assert timed[1] - timed[0] == 5


def test_health_readiness_and_metrics_requests_are_not_counted(server):
    before = page(server)
    for path in ("/_greenroom/health", "/_greenroom/ready", "/metrics"):
        assert requests.get(server.endpoint + path, timeout=30).status_code == 200
    after = page(server)

    def requests_of(seen):
        return {key: value for key, value in seen.values.items() if key[0] == "greenroom_requests_total"}

    assert requests_of(before) == requests_of(after)


def test_values_that_clients_choose_never_become_labels(server):
    """However many accounts, stages and inventions there are, the series stay the same."""

    def be_many(count):
        for n in range(count):
            tenant = server.tenant(region=REGIONS[n % len(REGIONS)])
            stage = tenant.stage(name=f"name-{n}")
            tenant.ivs.get_stage(arn=stage)
            requests.post(f"{server.endpoint}/Invented{n}", timeout=30)
            requests.request("BREW", f"{server.endpoint}/GetStage", timeout=30)
            requests.post(f"{StageEndpoints(tenant, stage).whip}/publish/p{n}", data="", timeout=30)
        return page(server)

    few, many = be_many(2), be_many(12)
    assert few.values.keys() == many.values.keys()
    assert {name for name, _ in many.labels()} <= LABELS
    own = {"Demo", "Home", "Jwks", "Preflight", "StreamEvents", "Unknown"}
    store = {"acquire", "commit", "read", "transaction"}
    assert {value for name, value in many.labels() if name == "operation"} <= BY_NAME.keys() | own | store


def test_tokens_are_counted_by_operation(server, tenant):
    before = page(server)
    stage = tenant.stage(participantTokenConfigurations=[{}, {}])
    tenant.token(stage)
    after = page(server)
    for operation, more in (("CreateStage", 2), ("CreateParticipantToken", 1)):
        values = [seen.value("greenroom_participant_tokens_total", operation=operation) for seen in (before, after)]
        assert values[1] - values[0] == more


def test_store_durations_and_pools_are_exported(server, tenant):
    before = page(server)
    stage = tenant.stage()
    tenant.ivs.get_stage(arn=stage)
    after = page(server)
    for operation in ("acquire", "read", "transaction", "commit"):
        name = "greenroom_store_duration_seconds_count"
        assert after.value(name, operation=operation) > before.value(name, operation=operation)
    pools = {"read", "write"} if server.engine == "sqlite" else {"postgres"}
    for pool in pools:
        size, idle, used, limit = (
            after.value(f"greenroom_store_pool_{what}", pool=pool) for what in ("connections", "idle", "in_use", "limit")
        )
        assert size == idle + used and 0 <= size <= limit
    assert after.value("greenroom_build_info", version=version(), engine=server.engine) == 1


def version():
    text = (Path(__file__).parents[2] / "Cargo.toml").read_text()
    return re.search(r'^version = "(.*)"', text, re.MULTILINE)[1]


def test_requests_refused_by_limits_are_counted(start_server, new_file):
    server = start_server(new_file(), "--rate-limits", "GetStage=1")
    tenant = server.tenant()
    arn = tenant.arn("stage")
    codes = {tenant.wire.call("GetStage", {"arn": arn}).status for _ in range(30)}
    assert 429 in codes
    rate = page(server).value("greenroom_refused_total", reason="rate")
    assert rate == page(server).value("greenroom_requests_total", operation="GetStage", status="429") > 0


async def test_participant_requests_are_counted_by_endpoint_and_outcome(server, tenant):
    endpoints = StageEndpoints(tenant, tenant.stage())
    before = page(server)
    token, _ = endpoints.token()
    assert (await endpoints.refused("no-token"))[0] == "TOKEN_MALFORMED"
    assert endpoints.post("", None, "").status_code == 401
    assert endpoints.post("", token, "v=0", kind=SDP).status_code == 400
    assert endpoints.send("PUT", "/resource/x", token).status_code == 405
    async with endpoints.join(token):
        joined = await asyncio.to_thread(
            wait_for_page, server, lambda seen: seen.value("greenroom_participant_connections", kind="events") == 1
        )
        assert joined.value("greenroom_connected_stages") == 1 and joined.value("greenroom_http_connections") >= 1

    def counted(seen, door, outcome):
        return seen.value("greenroom_participant_requests_total", door=door, outcome=outcome)

    for door, outcome in [
        ("events", "OK"),
        ("events", "TOKEN_MALFORMED"),
        ("publish", "TOKEN_MISSING"),
        ("publish", "MALFORMED_OFFER"),
        ("resource", "METHOD_NOT_ALLOWED"),
    ]:
        assert counted(joined, door, outcome) - counted(before, door, outcome) == 1, (door, outcome)
    await asyncio.to_thread(
        wait_for_page, server, lambda seen: seen.value("greenroom_participant_connections", kind="events") == 0
    )


def test_the_cloudwatch_counts_follow_real_media(server, tenant):
    stage, before = tenant.stage(), page(server)
    flags = ("--stage", stage, "--publishers", "1", "--subscribers", "2", "--duration", "300", "--ramp", "10")
    signed = ("--endpoint", server.endpoint, "--access-key-id", tenant.account, "--secret-access-key", "test")
    load = subprocess.Popen(
        [binary("GREENROOM_BIN"), "load", *flags, *signed],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    expected = {
        "greenroom_sessions": 1,
        "greenroom_participants": 3,
        "greenroom_concurrent_publishers": 1,
        "greenroom_concurrent_subscriptions": 2,
    }
    try:
        seen = wait_for_page(server, lambda seen: all(seen.value(name) >= count for name, count in expected.items()))
        assert seen.value("greenroom_participant_connections", kind="publish") == 1
        assert seen.value("greenroom_participant_connections", kind="subscribe") == 2
        for name in ("greenroom_media_packets_total", "greenroom_media_bytes_total"):
            for direction in ("in", "out"):
                assert seen.value(name, direction=direction) > before.value(name, direction=direction)
        for name in ("concurrent_publishers", "concurrent_subscriptions"):
            aws = {"concurrent_publishers": "ConcurrentPublishers", "concurrent_subscriptions": "ConcurrentSubscriptions"}
            assert aws[name] in seen.families[f"greenroom_{name}"].documentation
    finally:
        load.terminate()
        load.wait(30)
    wait_for_page(server, lambda seen: has_living(seen) and seen.value("greenroom_concurrent_publishers") == 0)


async def test_delivered_and_waiting_events_are_counted_by_target(server, tenant):
    endpoints, before = StageEndpoints(tenant, tenant.stage()), page(server)
    async with endpoints.join(endpoints.token()[0]):
        pass

    def told(seen):
        series = "greenroom_event_target_delivered_total"
        taken = seen.value(series, target="file") > before.value(series, target="file")
        waits = sum(seen.value(f"greenroom_event_target_{what}", target="unreachable") for what in ("lag_events", "parked"))
        failed = seen.value("greenroom_event_target_failed_total", target="unreachable")
        return taken and failed > 0 and waits > 0 and seen.value("greenroom_outbox_relayed_total") > 0

    seen = await asyncio.to_thread(wait_for_page, server, told)
    assert seen.value("greenroom_event_target_lag_seconds", target="unreachable") > 0
    assert seen.value("greenroom_event_target_delivered_total", target="unreachable") == 0


def test_metrics_are_served_while_the_store_is_unavailable(start_server, fresh_postgres, postgres):
    database = fresh_postgres()
    server = start_server(database, "--database-acquire-ms", "500")
    wait_for_page(server, has_counts)
    with outage(postgres, database):
        assert requests.get(f"{server.endpoint}/_greenroom/ready", timeout=30).status_code == 503
        # What only the store knows is not guessed.
        away = wait_for_page(server, lambda seen: not has_counts(seen))
        errors = [value for (name, _), value in away.values.items() if name == "greenroom_store_errors_total"]
        assert sum(errors) > 0
    wait_for_page(server, has_counts)


def has_counts(seen):
    return seen.has("greenroom_concurrent_publishers")


def test_metrics_can_have_their_own_listener(start_server, new_file):
    server = start_server(new_file(), "--metrics-listen", "127.0.0.1:0")
    url = said(server, "metrics")
    assert url.endswith("/metrics") and not url.startswith(server.endpoint)
    assert page(server, url).has("greenroom_build_info")
    assert requests.get(f"{server.endpoint}/metrics", timeout=30).status_code == 404
    assert requests.get(url.replace("/metrics", "/_greenroom/health"), timeout=30).status_code == 404
    assert fetch(url).headers["Cache-Control"] == "no-store"


def test_metrics_are_served_beyond_loopback_only_if_configured(start_server, new_file):
    for flags, status in [((), 404), (("--metrics", "on"), 200), (("--metrics", "off"), 404)]:
        server = start_server(new_file(), "--dev-credentials", "off", *flags, listen="0.0.0.0:0")
        assert requests.get(f"{server.endpoint}/metrics", timeout=30).status_code == status, flags
    off = start_server(new_file(), "--metrics", "off", "--metrics-listen", "127.0.0.1:0")
    assert requests.get(f"{off.endpoint}/metrics", timeout=30).status_code == 404
    assert not any(line.strip().startswith("metrics") for line in off.test_server.lines)


def test_a_metrics_address_that_cannot_be_bound_is_named(server):
    taken = server.endpoint.removeprefix("http://")
    ended = run("--database-url", "sqlite::memory:", "--listen", "127.0.0.1:0", "--metrics-listen", taken)
    [line] = ended.stderr.splitlines()
    assert ended.returncode == 1 and taken in line and "--metrics-listen" in line


def said(server, what):
    """What the program says of something when it starts."""
    while not (line := server.test_server.line()).lstrip().startswith(what):
        pass
    return line.split()[-1]
