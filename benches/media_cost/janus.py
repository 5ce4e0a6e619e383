"""Janus with its VideoRoom plugin: a process with its own configuration, and signaling over its HTTP API."""

import http.client
import itertools
import json
import shutil
import subprocess
import threading

from service import processes

NAME = "Janus"
MISSING = "Janus is not installed: use the package janus of Debian or Ubuntu (apt-get install --no-install-recommends janus)"
ROOM = 1
TIMEOUT_SECONDS = 30
ADMIN_SECRET = "benchmark"
# Only the plugin and the transport in use are loaded.
PLUGINS = "audiobridge duktape echotest lua nosip recordplay sip streaming textroom videocall voicemail".split()
TRANSPORTS = "mqtt nanomsg pfunix rabbitmq websockets".split()

CONFIG = """
general: {{
	configs_folder = "{folder}"
	debug_level = 2
	admin_secret = "{secret}"
}}
media: {{
	{event_loops}
}}
nat: {{
	ice_enforce_list = "{address}"
}}
plugins: {{
	disable = "{plugins}"
}}
transports: {{
	disable = "{transports}"
}}
loggers: {{
	disable = "libjanus_jsonlog.so"
}}
"""
HTTP_CONFIG = """
general: {{
	json = "compact"
	base_path = "/janus"
	http = true
	port = {port}
	ip = "127.0.0.1"
	https = false
}}
admin: {{
	admin_base_path = "/admin"
	admin_http = true
	admin_port = {admin_port}
	admin_ip = "127.0.0.1"
	admin_https = false
}}
"""


def installed():
    return shutil.which("janus")


def version():
    """Such as 1.1.2. Janus prints `Janus version: 1102 (1.1.2)` at every start."""
    done = subprocess.run(["janus", "--version"], capture_output=True, text=True)
    return next((word.strip("()") for word in done.stdout.split() if word.startswith("(")), "of unknown version")


class Janus:
    """`event_loops`: shared event loops; 0 is the default, an event loop and thread for each connection. `multistream`: one
    connection of a subscriber for all publishers, instead of one for each."""

    def __init__(self, context, event_loops=0, multistream=False):
        self.context, self.event_loops, self.multistream = context, event_loops, multistream
        loops = f", event_loops={event_loops}" if event_loops else ""
        self.name = NAME + loops + (", one connection per subscriber" if multistream else "")
        self.numbers = itertools.count()

    def __enter__(self):
        folder = self.context.file("janus")
        folder.mkdir()
        self.port, self.admin_port = processes.free_port(), processes.free_port()
        library = lambda names: ",".join(f"libjanus_{name}.so" for name in names)
        config = CONFIG.format(
            folder=folder,
            address=self.context.address,
            secret=ADMIN_SECRET,
            event_loops=f"event_loops = {self.event_loops}" if self.event_loops else "",
            plugins=library(PLUGINS),
            transports=library(TRANSPORTS),
        )
        (folder / "janus.jcfg").write_text(config)
        http_config = HTTP_CONFIG.format(port=self.port, admin_port=self.admin_port)
        (folder / "janus.transport.http.jcfg").write_text(http_config)
        (folder / "janus.plugin.videoroom.jcfg").write_text("general: {\n}\n")
        self.log = folder / "log"
        with self.log.open("wb") as log:
            command = ["janus", "--configs-folder", folder, "--disable-colors"]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
        self.pid = self.process.pid
        self.context.running.append(self.process)
        processes.until(self.is_ready, "Janus did not start")
        self.requests = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
        self.session = self.request("", janus="create")["data"]["id"]
        self.events = Events(self.port, self.session)
        room = {"room": ROOM, "publishers": 1000, "bitrate": 0, "audiocodec": "opus", "videocodec": "vp8"}
        handle = self.attach()
        created = self.request(f"/{handle}", janus="message", body={"request": "create"} | room)
        if created["plugindata"]["data"].get("videoroom") != "created":
            raise RuntimeError(f"Janus: {created}")
        return self

    def __exit__(self, *_):
        self.events.stop()
        self.requests.close()
        processes.stop(self.process)
        self.context.running.remove(self.process)

    def is_ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"Janus exited at startup: {self.log.read_text(errors='replace')[-1000:]}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/janus/info")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def request(self, path, **members):
        session = "" if members["janus"] == "create" else f"/{self.session}"
        return self.post(f"{session}{path}", members | {"transaction": f"t{next(self.numbers)}"})

    def post(self, path, members):
        self.requests.request("POST", f"/janus{path}", json.dumps(members), {"Content-Type": "application/json"})
        answer = json.loads(self.requests.getresponse().read())
        if answer["janus"] == "error":
            raise RuntimeError(f"Janus: {answer['error']}")
        return answer

    def attach(self):
        return self.request("", janus="attach", plugin="janus.plugin.videoroom")["data"]["id"]

    def message(self, handle, body, jsep=None):
        """Sends a message to the plugin; returns data and JSEP of the event that answers it."""
        number = next(self.numbers)
        members = {"janus": "message", "body": body, "transaction": f"m{number}"} | ({"jsep": jsep} if jsep else {})
        self.events.expect(members["transaction"])
        self.post(f"/{self.session}/{handle}", members)
        event = self.events.wait(members["transaction"])
        data = event["plugindata"]["data"]
        if "error" in data:
            raise RuntimeError(f"Janus: {data['error']}")
        return data, event.get("jsep")

    def participant(self):
        return None

    def publish(self, driver, name, **media):
        handle = self.attach()
        offer = {"type": "offer", "sdp": driver("publish", id=name, **media)["sdp"]}
        join = {"request": "joinandconfigure", "ptype": "publisher", "room": ROOM, "display": name}
        data, jsep = self.message(handle, join, offer)
        driver("answer", id=name, sdp=jsep["sdp"])
        return data["id"]

    def subscribe(self, driver, name, publishers, participant=None):
        handle = self.attach()
        self.subscriber = handle
        join = {"request": "join", "ptype": "subscriber", "room": ROOM, "streams": [{"feed": publisher} for publisher in publishers]}
        _, jsep = self.message(handle, join)
        answer = driver("accept", id=name, sdp=jsep["sdp"])["sdp"]
        self.message(handle, {"request": "start"}, {"type": "answer", "sdp": answer})

    def srtp_profile(self):
        """The SRTP profile of the last subscriber."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=TIMEOUT_SECONDS)
        body = json.dumps({"janus": "handle_info", "transaction": "info", "admin_secret": ADMIN_SECRET})
        connection.request("POST", f"/admin/{self.session}/{self.subscriber}", body)
        info = json.loads(connection.getresponse().read())
        connection.close()
        return find(info, "srtp-profile")


def find(value, name):
    """The first member with this name, at any depth."""
    if isinstance(value, dict):
        if name in value:
            return value[name]
        value = list(value.values())
    for item in value if isinstance(value, list) else []:
        if (found := find(item, name)) is not None:
            return found
    return None


class Events:
    """Long polls of a session, by a thread; they also keep the session alive."""

    def __init__(self, port, session):
        self.path, self.stopped = f"/janus/{session}?maxev=50", False
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.condition, self.answers = threading.Condition(), {}
        threading.Thread(target=self.run, daemon=True).start()

    def expect(self, transaction):
        with self.condition:
            self.answers[transaction] = None

    def wait(self, transaction):
        with self.condition:
            if not self.condition.wait_for(lambda: self.answers[transaction], TIMEOUT_SECONDS):
                raise TimeoutError("Janus does not answer a message")
            return self.answers.pop(transaction)

    def run(self):
        while not self.stopped:
            try:
                self.connection.request("GET", self.path)
                events = json.loads(self.connection.getresponse().read())
            except (OSError, ValueError, http.client.HTTPException):
                return
            with self.condition:
                for event in events if isinstance(events, list) else [events]:
                    if event.get("transaction") in self.answers:
                        self.answers[event["transaction"]] = event
                self.condition.notify_all()

    def stop(self):
        self.stopped = True
