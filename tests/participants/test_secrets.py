"""Secrets are not logged, even at trace level."""

import re

import pytest

from endpoints import FRAGMENT, SDP, StageEndpoints
from offers import offer

# More specific than any default directive of the server.
TRACE_BY_CRATE = "trace,is=trace,is::agent=trace,str0m=trace,str0m::change=trace,dimpl=trace"
PASSWORD = re.compile(r"a=ice-pwd:(\S+)")


@pytest.mark.parametrize("level", ["trace", TRACE_BY_CRATE], ids=["trace", "by-crate"])
async def test_ice_passwords_and_tokens_are_not_logged(start_server, new_store, level):
    server = start_server(new_store("sqlite"), RUST_LOG=level)
    tenant = server.tenant()
    endpoints = StageEndpoints(tenant, tenant.stage())
    token, _ = endpoints.token()
    text = offer()
    answer = await endpoints.send_async("POST", "", token, text, SDP)
    assert answer.status_code == 201, answer.text
    [ufrag, *_] = re.findall(r"a=ice-ufrag:(\S+)", text)
    [mid, *_] = re.findall(r"a=mid:(\S+)", text)
    fragment = (
        f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:{PASSWORD.findall(text)[0]}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:{mid}\r\n"
        "a=candidate:1 1 udp 2130706431 127.0.0.1 50000 typ host\r\n"
    )
    patched = await endpoints.send_async("PATCH", answer.headers["Location"], token, fragment, FRAGMENT, If_Match=answer.headers["ETag"])
    assert patched.status_code in (200, 204), patched.text
    ended = await endpoints.send_async("DELETE", answer.headers["Location"], token)
    assert ended.status_code == 200
    secrets = {token, *PASSWORD.findall(text), *PASSWORD.findall(answer.text), *PASSWORD.findall(patched.text)}
    assert len(secrets) >= 3
    log = server.test_server.logged()
    assert '"level":"DEBUG"' in log
    assert [secret for secret in secrets if secret in log] == []
