"""A minimal S3 server in memory, which can stand still."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "recorder", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}


class S3Server:
    """Has one bucket. While it hangs, it takes connections and requests, and answers none."""

    def __init__(self, bucket):
        self.bucket, self.objects, self.headers = bucket, {}, {}
        self.lock, self.works = threading.Lock(), threading.Event()
        self.works.set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"s3": self}))
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.works.set()
        self.server.shutdown()
        self.server.server_close()

    def named(self, ending):
        """The objects whose keys have an ending."""
        with self.lock:
            return {key: body for key, body in self.objects.items() if key.endswith(ending)}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    s3 = None

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def receive(self):
        """The body and the key; `None` if the bucket does not exist."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.s3.works.wait()
        assert self.headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=recorder/")
        path = urlsplit(self.path)
        bucket, _, key = unquote(path.path).lstrip("/").partition("/")
        return body, key if bucket == self.s3.bucket else None, parse_qs(path.query)

    def missing(self, code):
        self.answer(404, f"<Error><Code>{code}</Code><Message>missing</Message></Error>".encode())

    def do_PUT(self):
        body, key, _ = self.receive()
        if key is None:
            return self.missing("NoSuchBucket")
        with self.s3.lock:
            self.s3.objects[key], self.s3.headers[key] = body, dict(self.headers)
        self.answer(200, ETag='"tag"')

    def do_GET(self):
        _, key, query = self.receive()
        with self.s3.lock:
            objects = dict(self.s3.objects)
        if key is None:
            return self.missing("NoSuchBucket")
        if key:
            return self.answer(200, objects[key]) if key in objects else self.missing("NoSuchKey")
        prefix = query.get("prefix", [""])[0]
        found = ((key, body) for key, body in sorted(objects.items()) if key.startswith(prefix))
        rows = "".join(f"<Contents><Key>{escape(key)}</Key><Size>{len(body)}</Size></Contents>" for key, body in found)
        self.answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode())

    def do_HEAD(self):
        if "Credential=recorder/" not in self.headers["Authorization"]:
            return self.answer(403)
        _, key, _ = self.receive()
        self.answer(200 if key is not None else 404)

    def log_message(self, *_):
        """Disables the request log."""
