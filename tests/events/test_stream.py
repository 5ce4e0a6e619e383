"""The event stream: complete delivery, isolation of accounts, authorization, and an error after trimming."""

import json
import random
import socket
import threading
from datetime import datetime, timedelta
from urllib.parse import quote, urlsplit

import httpx
import pytest
from httpx_sse import connect_sse

from access import Keys, allow, deny, policy
from clients import ACCOUNTS
from record import eventually
from server import PATIENCE_SECONDS
from signing import Signature
from streams import PATH, Stream, named, opened, records, refused

# The simplest source of entries: each CreateStage request has an audit record.
AUDIT = ("--audit",)
RECORDS = "?kind=audit"


@pytest.fixture(scope="module")
def server(start_server, new_store):
    return start_server(new_store(), *AUDIT)


@pytest.fixture
def tenant(server):
    return server.tenant()


def key_of(server, *statements, flags=()):
    """A new key under a policy, and its account."""
    account = str(next(ACCOUNTS))
    document = policy(*statements) if statements else None
    return account, Keys(server.database).create(account, *flags, policy=document)


def names(entries):
    return [entry.detail["requestParameters"]["name"] for entry in entries]


def test_a_new_stream_starts_with_the_next_event(server, tenant):
    tenant.stage(name="before")
    with records(server, tenant.account) as earlier:
        assert names(earlier.take(1)) == ["before"]
    with opened(server, tenant.account, RECORDS) as stream:
        tenant.stage(name="after")
        entry = stream.next()
        assert names([entry]) == ["after"]
        assert (entry.kind, entry.id) == ("audit", stream.seen)
        assert entry.envelope["account"] == tenant.account


def test_extended_events_have_their_own_detail_type(start_test_server):
    """Rules for AWS's events must not match them."""
    server = start_test_server("--extended-events", "on")
    tenant = server.tenant()
    stage = tenant.stage()
    with opened(server, tenant.account) as stream:
        tenant.publish(stage)
        told = [stream.next().envelope for _ in range(3)]
    assert [(event["detail-type"], event["detail"]["event_name"]) for event in told] == [
        ("Greenroom Stage Update", "Session Started"),
        ("Greenroom Stage Update", "Participant Joined"),
        ("IVS Stage Update", "Participant Published"),
    ]


def test_the_wire_format_of_an_entry(server, tenant):
    with opened(server, tenant.account, RECORDS) as stream:
        tenant.stage(name="one")
        del stream.lines[:]
        entry = stream.next()
        assert stream.lines[-4:] == [
            f"id: {entry.id}\n".encode(),
            b"event: audit\n",
            f"data: {entry.data}\n".encode(),
            b"\n",
        ]
        assert list(entry.envelope) == [
            "version",
            "id",
            "detail-type",
            "source",
            "account",
            "time",
            "region",
            "resources",
            "detail",
        ]


def test_reconnecting_clients_get_every_entry_exactly_once(server, tenant):
    wanted, chance = 120, random.Random(5)

    def produce():
        for number in range(wanted):
            tenant.stage(name=f"n{number}")

    first = opened(server, tenant.account, RECORDS)
    producer = threading.Thread(target=produce)
    producer.start()
    seen, last, stream = [], first.seen, first
    while len(seen) < wanted:
        for _ in range(chance.randrange(6)):
            if len(seen) < wanted:
                seen.append(stream.next())
        last = stream.seen
        stream.close()
        stream = opened(server, tenant.account, RECORDS, last)
    stream.close()
    producer.join()
    assert sorted(names(seen)) == sorted(f"n{number}" for number in range(wanted))
    with records(server, tenant.account) as whole:
        assert [(entry.id, entry.data) for entry in whole.take(wanted)] == [(entry.id, entry.data) for entry in seen]


def test_entries_between_two_connections_are_delivered(server, tenant):
    with opened(server, tenant.account, RECORDS) as stream:
        position = stream.seen
    tenant.stage(name="meanwhile")
    with opened(server, tenant.account, RECORDS, position) as stream:
        assert names(stream.take(1)) == ["meanwhile"]


def test_since_selects_the_start_time(start_test_server):
    server = start_test_server(*AUDIT)
    tenant = server.tenant()
    for number in range(3):
        tenant.stage(name=f"n{number}")
        tenant.advance(60)
    with records(server, tenant.account) as stream:
        entries = stream.take(3)
    second = entries[1].envelope["time"]
    with opened(server, tenant.account, f"{RECORDS}&since={quote(second)}") as stream:
        assert names(stream.take(2)) == ["n1", "n2"]
        # On a reconnection with the same URL, Last-Event-ID takes precedence.
        position = stream.seen
        tenant.stage(name="n3")
    with opened(server, tenant.account, f"{RECORDS}&since={quote(second)}", position) as stream:
        assert names(stream.take(1)) == ["n3"]
    later = (datetime.fromisoformat(second) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    with opened(server, tenant.account, f"{RECORDS}&since={quote(later)}") as stream:
        tenant.stage(name="n4")
        assert names(stream.take(1)) == ["n4"]


def test_accounts_and_regions_are_isolated(server):
    tenants = [server.tenant(), server.tenant()]
    tenants.append(tenants[0].elsewhere())
    streams = [opened(server, tenant.account, "?kind=all", region=tenant.region) for tenant in tenants]
    for number in range(5):
        for n, tenant in enumerate(tenants):
            tenant.stage(name=f"of{n}-{number}")
    for n, (tenant, stream) in enumerate(zip(tenants, streams)):
        entries = stream.until(named(f"of{n}-4"))
        assert names(entries) == [f"of{n}-{number}" for number in range(5)]
        assert {(e.envelope["account"], e.envelope["region"]) for e in entries} == {(tenant.account, tenant.region)}
        stream.close()


def test_audit_records_are_only_sent_on_request(server, tenant):
    with opened(server, tenant.account) as events, opened(server, tenant.account, RECORDS) as audit:
        tenant.stage(name="told")
        assert names(audit.take(1)) == ["told"]
        # The other stream has no entries; its position advances.
        assert eventually(lambda: events.next_entry()).data == ""
        assert int(events.seen) >= int(audit.seen)


def test_a_request_without_a_valid_signature_is_rejected(server, tenant):
    wire = tenant.wire
    assert wire.send("GET", PATH, signed=False).fault == "MissingAuthenticationTokenException"
    signed = Signature(tenant.account).headers("GET", server.endpoint + PATH)
    for signature, fault in [
        (Signature(tenant.account, "wrong"), "InvalidSignatureException"),
        (Signature(tenant.account, service="sts"), "InvalidSignatureException"),
        (Signature(tenant.account, at="20200101T000000Z"), "InvalidSignatureException"),
        (Signature("AKIANOBODY0000000000"), "UnrecognizedClientException"),
    ]:
        answer = wire.send("GET", PATH, signature=signature)
        assert (answer.status, answer.fault) == (403, fault), answer
    assert wire.send_as_it_is("GET", f"{PATH}?kind=all", b"", signed).fault == "InvalidSignatureException"
    for method in ("POST", "PUT", "DELETE"):
        assert wire.send(method, PATH).fault == "UnknownOperationException"


def test_policies_authorize_events_and_audit_records_separately(server):
    both, events, records_ = ["ivs:StreamEvents", "ivs:StreamAudit"], ["ivs:StreamEvents"], ["ivs:StreamAudit"]
    for statements, allowed_actions in [
        ([allow("ivs:StreamEvents")], events),
        ([allow("ivs:StreamAudit")], records_),
        ([allow("ivs:*")], both),
        ([allow("ivs:Stream*"), deny("ivs:StreamAudit")], events),
        ([allow("ivs:GetStage")], []),
        ([allow("ivs:StreamEvents", "arn:aws:ivs:*:*:stage/*")], []),
        ([allow("ivs:Stream*", Condition={"StringEquals": {"aws:RequestedRegion": "eu-west-1"}})], []),
        ([allow("ivs:Stream*", Condition={"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}})], both),
    ]:
        account, key = key_of(server, *statements)
        for query, needed in [("", events), ("?kind=event", events), (RECORDS, records_), ("?kind=all", both)]:
            if set(needed) <= set(allowed_actions):
                opened(server, key, query).close()
                continue
            status, fault, text = refused(server, key, query)
            missing = next(action for action in needed if action not in allowed_actions)
            assert (status, fault) == (403, "AccessDeniedException")
            assert text == (
                f"User: arn:aws:iam::{account}:user/{key['accessKeyId']} is not authorized to perform: "
                f"{missing} on resource: *"
            )


def test_invalid_parameters_are_rejected_by_name(server, tenant):
    for query, last, message in [
        ("?since=yesterday", None, "since: 'yesterday' is no time of ISO 8601"),
        ("?kind=everything", None, "kind: 'everything' is none of event, audit and all"),
        ("?after=1", None, "after: not known here"),
        ("", "abc", "Last-Event-ID: not one that this service has given"),
        ("", "9000000000", "Last-Event-ID: 9000000000 is not one that this service has given: the last is "),
    ]:
        status, fault, text = refused(server, tenant.account, query, last)
        assert (status, fault) == (400, "ValidationException")
        assert text.startswith(message), text


@pytest.mark.parametrize("verb", ["disable", "delete"])
def test_disabling_or_deleting_a_key_ends_its_streams(server, verb):
    _, key = key_of(server)
    with opened(server, key) as stream:
        Keys(server.database).say(verb, key["accessKeyId"])
        assert stream.rest() == []
    assert refused(server, key)[:2] == (403, "UnrecognizedClientException")


def test_the_expiry_of_a_key_ends_its_streams(server):
    _, key = key_of(server, flags=("--expires-in", "8"))
    with opened(server, key) as stream:
        assert stream.rest() == []
    assert refused(server, key)[:2] == (403, "ExpiredTokenException")


def test_session_tokens_are_accepted(server):
    _, key = key_of(server, flags=("--session-token",))
    with opened(server, key, "?kind=all") as stream:
        ivs = server.client(key["accessKeyId"], secret=key["secretAccessKey"], token=key["sessionToken"])
        ivs.create_stage(name="by-token")
        assert names(stream.take(1)) == ["by-token"]
    assert refused(server, {**key, "sessionToken": None})[:2] == (403, "UnrecognizedClientException")


def test_streams_have_their_own_limit_and_do_not_count_as_requests_in_flight(start_server, new_store):
    server = start_server(new_store(), *AUDIT, "--max-in-flight", "1", "--max-event-streams", "2")
    tenant = server.tenant()
    streams = [opened(server, tenant.account, RECORDS) for _ in range(2)]
    tenant.stage(name="all")
    assert [names(stream.take(1)) for stream in streams] == [["all"]] * 2
    with Stream(server, tenant.account) as third:
        answer = third.answer
        assert (answer.status, answer.fault) == (503, "ServiceUnavailableException")
        assert "--max-event-streams" in answer.text and answer.headers["retry-after"] == "1"
    streams.pop().close()

    def open_when_allowed():
        stream = Stream(server, tenant.account)
        if stream.response.status == 200:
            return stream
        stream.close()

    eventually(open_when_allowed).close()
    streams.pop().close()


def test_idle_timeouts_do_not_apply_to_streams(start_server, new_store):
    server = start_server(new_store(), *AUDIT, "--idle-timeout-seconds", "1", "--header-timeout-seconds", "1")
    tenant = server.tenant()
    with opened(server, tenant.account, RECORDS) as stream:
        # Idle connections are closed meanwhile.
        for _ in range(3):
            with socket.create_connection(urlsplit(server.endpoint).netloc.split(":"), PATIENCE_SECONDS) as idle:
                assert idle.recv(1) == b""
        tenant.stage(name="late")
        assert names(stream.take(1)) == ["late"]


def test_an_idle_stream_sends_keepalives(server, tenant):
    with opened(server, tenant.account) as stream:
        line = stream.response.readline()
        while line not in (b":\n", b"\n"):
            line = stream.response.readline()


def test_a_slow_reader_delays_no_other_and_loses_no_entries(server, tenant):
    # About 7 MB, more than socket buffers hold.
    count, tags = 200, {f"{n:0128}": "v" * 256 for n in range(45)}
    with opened(server, tenant.account, RECORDS, buffer=4096) as slow, opened(server, tenant.account, RECORDS) as quick:
        for number in range(count):
            tenant.stage(name=f"n{number}", tags=tags)
            quick.next()
        assert sorted(names(slow.take(count))) == sorted(f"n{number}" for number in range(count))


def test_streams_end_when_the_server_stops(start_server, new_store):
    server = start_server(new_store(), *AUDIT)
    tenant = server.tenant()
    stream = opened(server, tenant.account, RECORDS)
    tenant.stage(name="last")
    assert names(stream.take(1)) == ["last"]
    assert server.test_server.end() == 0
    assert stream.rest() == []
    assert "cut off" not in server.test_server.logged()


def test_a_trimmed_position_is_rejected(start_test_server):
    server = start_test_server(*AUDIT, "--event-retention-seconds", "3600")
    tenant = server.tenant()
    tenant.stage(name="old")
    with records(server, tenant.account) as stream:
        old = stream.next()
    tenant.advance(3000)
    tenant.stage(name="young")
    with opened(server, tenant.account, RECORDS, old.id) as stream:
        young = stream.next()
    tenant.advance(1800)

    def trimmed_error():
        with Stream(server, tenant.account, RECORDS, "0") as stream:
            return stream.answer if stream.response.status == 410 else None

    answer = eventually(trimmed_error)
    assert answer.fault == "TrimmedDataAccessException"
    # The error message has a usable start time.
    since = answer.text.rpartition("?since=")[2]
    with opened(server, tenant.account, f"{RECORDS}&since={quote(since)}") as stream:
        assert names(stream.take(1)) == ["young"]
    assert refused(server, tenant.account, f"{RECORDS}&since={quote(old.envelope['time'])}")[:2] == (410, answer.fault)
    # No entries after these were trimmed.
    for last, found in [(old.id, "young"), (young.id, "new")]:
        with opened(server, tenant.account, RECORDS, last) as stream:
            tenant.stage(name="new")
            assert names(stream.take(1)) == [found]


def told(entries, stage):
    """The events of a stage, in order."""
    return [entry.detail["event_name"] for entry in entries if entry.envelope["resources"] == [stage]]


@pytest.fixture(scope="module")
def test_server(start_test_server):
    return start_test_server()


def test_events_of_a_stage_are_in_order(test_server):
    tenant = test_server.tenant()
    with opened(test_server, tenant.account) as stream:
        stages = [tenant.stage() for _ in range(3)]
        publishers = [tenant.publish(stage)[1] for stage in stages]
        for _ in range(4):
            for verb in ("unpublish", "publish"):
                for stage, participant in zip(stages, publishers):
                    tenant.act(verb, stage, participant)
        for stage, participant in zip(stages, publishers):
            tenant.act("leave", stage, participant)
        entries = stream.take(30)
        assert {entry.kind for entry in entries} == {"event"}
        for stage in stages:
            assert told(entries, stage) == ["Participant Published", "Participant Unpublished"] * 5
    # A stream that is opened later has the same entries.
    first = str(int(entries[0].id) - 1)
    for last, rest in [(first, entries), (entries[12].id, entries[13:])]:
        with opened(test_server, tenant.account, last=last) as again:
            assert again.take(len(rest)) == rest


def test_a_pattern_filters_the_stream(test_server):
    tenant = test_server.tenant()
    stage, other = tenant.stage(), tenant.stage()
    pattern = {"resources": [stage], "detail": {"event_name": [{"prefix": "Participant Unp"}]}}
    with opened(test_server, tenant.account, f"?pattern={quote(json.dumps(pattern), safe='')}") as stream:
        _, participant = tenant.publish(stage)
        _, other_participant = tenant.publish(other)
        tenant.act("leave", other, other_participant)
        tenant.act("leave", stage, participant)
        entry = stream.next()
        assert entry.envelope["resources"] == [stage]
        assert entry.detail["event_name"] == "Participant Unpublished"
        # The position advances past entries that do not match.
        with opened(test_server, tenant.account, last=stream.seen) as rest:
            tenant.publish(stage)
            entries = rest.until(lambda entry: entry.envelope["resources"] == [stage])
            assert told(entries, stage) == ["Participant Published"]
    status, fault, text = refused(test_server, tenant.account, "?pattern=%7B%22source%22%3A1%7D")
    assert (status, fault) == (400, "ValidationException")
    assert text.startswith("pattern: source: ")


def test_events_of_one_node_are_streamed_by_the_other(start_server, fresh_postgres):
    store = fresh_postgres()
    one, other = (start_server(store, *AUDIT) for _ in range(2))
    tenant = one.tenant()
    with opened(other, tenant.account, RECORDS) as stream:
        for number in range(20):
            (one if number % 2 else other).client(tenant.account).create_stage(name=f"n{number}")
        seen = stream.take(20)
        assert sorted(names(seen)) == sorted(f"n{number}" for number in range(20))
    with opened(one, tenant.account, RECORDS, seen[9].id) as stream:
        assert [entry.id for entry in stream.take(10)] == [entry.id for entry in seen[10:]]


@pytest.mark.parametrize("http2", [False, True])
def test_httpx_sse_reads_the_stream_over_http_1_and_2(server, tenant, http2):
    url = f"{server.endpoint}{PATH}{RECORDS}"
    signed = Signature(tenant.account).headers("GET", url)
    with httpx.Client(http1=not http2, http2=http2, timeout=PATIENCE_SECONDS) as client:
        with connect_sse(client, "GET", url, headers=signed) as source:
            assert source.response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
            told = source.iter_sse()
            assert (position := next(told)).data == "" and position.retry == 1000
            tenant.stage(name="by-library")
            entry = next(sse for sse in told if sse.data)
            assert (entry.event, entry.json()["detail"]["eventName"]) == ("audit", "CreateStage")
            assert int(entry.id) > int(position.id)


def test_many_streams_have_the_same_entries(server, tenant):
    # A key may have 64 streams.
    keys = [tenant.account, server.credentials("create", "--account", tenant.account)]
    streams = [opened(server, key, RECORDS) for key in keys for _ in range(50)]
    tenant.stage(name="one")
    tenant.stage(name="two")
    received = {tuple(entry.data for entry in stream.take(2)) for stream in streams}
    assert len(received) == 1
    for stream in streams:
        stream.close()
