"""A dependency-free client of the API: requests signed with Signature Version 4, over one connection."""

import datetime
import hashlib
import hmac
import http.client
import json


class Refused(Exception):
    pass


def signed(host, path, body, key="test", secret="test", region="us-east-1"):
    """The headers of a request, signed with the current time."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{now[:8]}/{region}/ivs/aws4_request"
    canonical = (
        f"POST\n{path}\n\ncontent-type:application/json\nhost:{host}\nx-amz-date:{now}\n\n"
        f"content-type;host;x-amz-date\n{hashlib.sha256(body).hexdigest()}"
    )
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    part = f"AWS4{secret}".encode()
    for word in (now[:8], region, "ivs", "aws4_request", text):
        part = hmac.new(part, word.encode(), hashlib.sha256).digest()
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders=content-type;host;x-amz-date, Signature={part.hex()}"
    )
    return {"Content-Type": "application/json", "X-Amz-Date": now, "Authorization": authorization}


class Client:
    def __init__(self, address, key="test", secret="test"):
        self.address, self.key, self.secret = address, key, secret
        self.connection = http.client.HTTPConnection(address, timeout=60)

    def __call__(self, operation, **members):
        return self.with_headers(operation, **members)[1]

    def with_headers(self, operation, **members):
        """Returns headers and JSON of a response with status 200."""
        status, headers, text = self.ask(operation, members)
        if status != 200:
            raise Refused(f"{operation}: {status} {text.decode(errors='replace')[:500]}")
        return headers, json.loads(text)

    def ask(self, operation, members):
        path, body = f"/{operation}", json.dumps(members).encode()
        self.connection.request("POST", path, body, signed(self.address, path, body, self.key, self.secret))
        answer = self.connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()

    def close(self):
        self.connection.close()
