"""Spans: sent where the usual variables say, as part of the trace that a request belongs to, without secrets."""

import asyncio
import gzip
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from endpoints import SDP, StageEndpoints
from leaks import assert_no_secret
from peers import publish

PATIENCE_SECONDS = 40
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Collector:
    """Takes spans as any OTLP backend does."""

    def __init__(self):
        collector = self
        self.bodies, self.headers, self.paths, self.status = [], [], [], 200

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.paths.append(self.path)
                collector.headers.append(dict(self.headers))
                collector.bodies.append(body)
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def spans(self):
        """Every span, with the attributes of what it is of."""
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [
            (span, attributes(resource.resource))
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def wait_for(self, **wanted):
        """The first span that has these attributes."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            for span, resource in self.spans():
                if wanted.items() <= attributes(span).items():
                    return span, resource
            assert time.monotonic() < deadline, f"no span has {wanted}: {self.spans()}"
            time.sleep(0.05)


def attributes(of):
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in of.attributes}


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.http.shutdown()


@pytest.fixture
def start_sending(start_server, new_file, collector):
    """A function that starts a server that sends its spans to the collector soon."""

    def start(**env):
        variables = {"RUST_LOG": "info", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        return start_server(new_file(), **(variables | env))

    return start


def test_a_request_continues_the_trace_that_it_came_with(start_sending, collector):
    server = start_sending(OTEL_EXPORTER_OTLP_HEADERS="x-team=greenroom,x-other=1")
    answer = requests.get(f"{server.endpoint}/.well-known/jwks.json", headers={"traceparent": TRACEPARENT}, timeout=30)
    id = answer.headers["x-amzn-requestid"]
    span, resource = collector.wait_for(**{"aws.request_id": id})
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert span.name == "Jwks" and span.kind == Span.SPAN_KIND_SERVER
    assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
    described = attributes(span)
    assert described["http.response.status_code"] == 200 and described["http.request.method"] == "GET"
    assert described["url.path"] == "/.well-known/jwks.json" and described["client.address"] == "127.0.0.1"
    assert resource["service.name"] == "greenroom" and resource["service.version"]
    assert collector.paths[0] == "/v1/traces"
    assert collector.headers[0]["x-team"] == "greenroom" and collector.headers[0]["x-other"] == "1"
    server.test_server.wait_for_log(f'"trace_id":"{TRACE}"')


def test_a_request_without_a_trace_starts_one_that_its_log_line_names(start_sending, collector):
    server = start_sending(OTEL_SERVICE_NAME="stages", OTEL_RESOURCE_ATTRIBUTES="deployment.environment=test")
    tenant = server.tenant()
    answer = tenant.wire.call("GetStage", {"arn": tenant.arn("stage")})
    id = answer.headers["x-amzn-requestid"]
    span, resource = collector.wait_for(**{"aws.request_id": id})
    assert span.name == "GetStage" and not span.parent_span_id
    assert attributes(span)["cloud.account.id"] == tenant.account
    assert (resource["service.name"], resource["deployment.environment"]) == ("stages", "test")
    server.test_server.wait_for_log(id)
    [line] = [line for line in server.test_server.log_lines() if id in line and '"request"' in line]
    assert span.trace_id.hex() in line


def test_the_last_spans_are_exported_before_the_server_ends(start_sending, collector):
    server = start_sending(OTEL_BSP_SCHEDULE_DELAY="3600000")
    id = requests.get(f"{server.endpoint}/.well-known/jwks.json", timeout=30).headers["x-amzn-requestid"]
    assert server.test_server.end() == 0
    assert id in {attributes(span)["aws.request_id"] for span, _ in collector.spans()}


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_TRACES_SAMPLER": "always_off"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such/file"},
    ],
)
def test_spans_are_not_exported_if_disabled_or_misconfigured(start_sending, collector, variables):
    server = start_sending(**variables)
    assert requests.get(f"{server.endpoint}/.well-known/jwks.json", timeout=30).status_code == 200
    assert server.test_server.end() == 0
    assert not collector.spans()
    for name, value in variables.items():
        wrong = name.endswith(("PROTOCOL", "CERTIFICATE"))
        assert (name in server.test_server.logged()) == wrong, (name, value)


def test_an_unsampled_trace_is_not_exported(start_sending, collector):
    server = start_sending()
    url = f"{server.endpoint}/.well-known/jwks.json"
    requests.get(url, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"}, timeout=30)
    id = requests.get(url, timeout=30).headers["x-amzn-requestid"]
    collector.wait_for(**{"aws.request_id": id})
    assert TRACE not in {span.trace_id.hex() for span, _ in collector.spans()}


def test_a_failing_collector_is_logged_once_and_delays_no_request(start_sending, collector):
    collector.status = 503
    server = start_sending()
    for _ in range(20):
        assert requests.get(f"{server.endpoint}/.well-known/jwks.json", timeout=30).status_code == 200
    server.test_server.wait_for_log("span export failed")
    assert server.test_server.end() == 0
    assert server.test_server.logged().count("span export failed") == 1


async def test_the_setup_of_a_media_connection_is_part_of_the_trace_of_its_offer(start_sending, collector):
    server = start_sending()
    tenant = server.tenant()
    endpoints = StageEndpoints(tenant, tenant.stage())
    token, participant = endpoints.token()
    refused = await endpoints.send_async("POST", "", token, "v=0", SDP)
    assert refused.status_code == 400
    span, _ = await asyncio.to_thread(collector.wait_for, **{"error.type": "MALFORMED_OFFER"})
    assert span.name == "media negotiation" and span.status.code == Status.STATUS_CODE_ERROR
    publisher = await publish(endpoints.whip, token)
    await publisher.wait_connected()
    span, _ = await asyncio.to_thread(collector.wait_for, outcome="connected")
    described = attributes(span)
    assert (span.name, described["role"], described["participant.id"]) == ("media setup", "publish", participant)
    assert described["ice.duration_ms"] > 0 and described["dtls.duration_ms"] > 0
    assert described["network.peer.address"] and described["network.transport"] == "udp"
    negotiation, _ = await asyncio.to_thread(collector.wait_for, **{"connection.id": described["connection.id"]})
    assert negotiation.trace_id == span.trace_id and negotiation.parent_span_id == span.parent_span_id
    assert await publisher.stop() == 200


async def test_spans_have_no_secrets(start_sending, collector):
    server = start_sending(RUST_LOG="trace", OTEL_EXPORTER_OTLP_COMPRESSION="gzip")
    tenant = server.tenant()
    stage = tenant.stage()
    endpoints = StageEndpoints(tenant, stage)
    token, _ = endpoints.token()
    endpoints.post("", token, "v=0")
    async with endpoints.join(token):
        pass
    tenant.ingest(stageArn=stage, insecureIngest=True, ingestProtocol="RTMP")
    answer = requests.get(f"{server.endpoint}/x?jwt={token}", timeout=30)
    collector.wait_for(**{"aws.request_id": answer.headers["x-amzn-requestid"]})
    assert server.test_server.end() == 0
    sent = b"".join(collector.bodies).decode(errors="replace")
    assert {"CreateStage", "publish", "events"} <= {span.name for span, _ in collector.spans()}
    assert_no_secret(sent)
    assert token not in sent and not re.search(r"Signature=|Bearer ", sent)
