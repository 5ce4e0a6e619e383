"""EventBridge buses: moto's server with an SQS queue as rule target, and a fake that rejects entries."""

import json
import socket
import subprocess
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3

from receiver import until

KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "not-so-secret"}
REGION = "us-east-1"


class Moto:
    """moto's server, with a rule that routes all events of a bus to a queue."""

    def __init__(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        script = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(script, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.url = f"http://127.0.0.1:{self.port}"
        until(self.answers, lambda: self.process.poll())
        self.events, self.sqs = self.client("events"), self.client("sqs")
        self.queue = self.sqs.create_queue(QueueName="events")["QueueUrl"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])
        self.events.create_event_bus(Name="stages")
        pattern = json.dumps({"source": [{"prefix": "greenroom."}]})
        self.events.put_rule(Name="all", EventBusName="stages", EventPattern=pattern)
        queue = {"Id": "queue", "Arn": attributes["Attributes"]["QueueArn"]}
        self.events.put_targets(Rule="all", EventBusName="stages", Targets=[queue])

    def client(self, service):
        keys = {"aws_access_key_id": KEYS["access_key_id"], "aws_secret_access_key": KEYS["secret_access_key"]}
        return boto3.client(service, endpoint_url=self.url, region_name=REGION, **keys)

    def answers(self):
        assert self.process.poll() is None, "moto's server has ended"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def target(self, **keys):
        bus = {"type": "eventbridge", "endpoint_url": self.url, "region": REGION, "bus": "stages"}
        return {**bus, "source": "greenroom.ivs", **KEYS, **keys}

    def received(self, count):
        """Waits until this many events are in the queue; returns them."""
        found = []

        def read():
            answer = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
            for message in answer.get("Messages", []):
                found.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
            return len(found) >= count

        until(read, lambda: len(found))
        return found


class RejectingBus:
    """A fake bus: `error_of` returns the error code of an entry, or `None` to accept it."""

    def __init__(self):
        self.error_of, self.requests, self.accepted = lambda detail: None, [], []
        bus = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["content-length"])))
                body = json.dumps(bus.put(request["Entries"])).encode()
                self.send_response(200)
                self.send_header("content-type", "application/x-amz-json-1.1")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Disables the request log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def target(self, **keys):
        url = f"http://127.0.0.1:{self.server.server_address[1]}"
        return {"type": "eventbridge", "endpoint_url": url, "region": REGION, **KEYS, **keys}

    def put(self, entries):
        results = []
        with self.lock:
            self.requests.append(entries)
            for entry in entries:
                code = self.error_of(json.loads(entry["Detail"]))
                if code is None:
                    self.accepted.append(entry)
                error = {"ErrorCode": code, "ErrorMessage": "rejected by the test"}
                results.append(error if code else {"EventId": str(uuid.uuid4())})
        return {"FailedEntryCount": sum("ErrorCode" in result for result in results), "Entries": results}
