"""Pages that publish and view through links of an emulated network."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urljoin

import requests

import browser
from network import candidate, with_candidate, without_candidates

HERE = Path(__file__).parent
PICTURE = {"width": 960, "height": 540, "fps": 30}
SOUND = {"channels": 1, "silent": False}
# Ascending, as Chromium expects them.
LAYERS = [
    {"rid": "low", "scaleResolutionDownBy": 4, "maxBitrate": 150_000},
    {"rid": "mid", "scaleResolutionDownBy": 2, "maxBitrate": 500_000},
    {"rid": "high", "scaleResolutionDownBy": 1, "maxBitrate": 1_850_000},
]
SINGLE = [{"maxBitrate": 1_850_000}]


class MediaSite(BaseHTTPRequestHandler):
    """A web site with the clients' page."""

    def do_GET(self):
        name = self.path.strip("/")
        is_script = name in ("media_client.js", "media_source.js")
        page = b'<!doctype html><video autoplay playsinline width="480"></video><script src="/media_client.js"></script>'
        body = (HERE / name).read_bytes() if is_script else page
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if is_script else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Disables the request log."""


class MediaPages:
    """Opens pages with the clients' script, and closes them."""

    def __init__(self, chromium, network):
        self.chromium, self.network = chromium, network
        self.contexts = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), MediaSite)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close_pages()
        self.server.shutdown()
        self.server.server_close()

    def close_pages(self):
        for context in self.contexts:
            context.close()
        self.contexts.clear()

    def page(self):
        self.contexts.append(self.chromium.new_context())
        page = self.contexts[-1].new_page()
        page.goto(f"http://127.0.0.1:{self.server.server_port}/")
        return page

    def publisher(self, whip, token, **options):
        """A page that publishes through its own link. Options: `up` and `down`, profiles of the link; others of `publish`
        in media_client.js."""
        client = MediaPage(self)
        profiles = {name: options.pop(name) for name in ("up", "down") if name in options}
        offer = client.page.evaluate("(options) => publish(options)", publishing(**options))
        return client.connect(whip, token, offer, profiles)

    def viewer(self, whip, token, publisher, fmtp="", **profiles):
        """A page that views a participant through its own link."""
        client = MediaPage(self)
        offer = client.page.evaluate("(fmtp) => view(fmtp)", fmtp)
        return client.connect(f"{whip}/subscribe/{publisher}", token, offer, profiles)

    def pair(self, up="", down="", **options):
        """A publisher and a viewer without a server, through one link; `up` is the publisher's direction."""
        sender, receiver = MediaPage(self), MediaPage(self)
        offer = sender.page.evaluate("(options) => publish(options)", publishing(**options))
        # The viewer learns the proxy's address from the publisher's checks.
        answer = receiver.page.evaluate("(sdp) => answer(sdp)", without_candidates(offer))
        sender.link = receiver.link = self.network.open(candidate(answer), up=up, down=down)
        sender.accept(answer)
        return sender, receiver


def publishing(codec="VP8", encodings=SINGLE, picture=PICTURE, sound=SOUND, fmtp="", late_video_ms=0):
    members = {"picture": picture, "codec": codec, "encodings": encodings, "sound": sound}
    return {**members, "fmtp": fmtp, "lateVideoMs": late_video_ms}


class MediaPage:
    """A publisher or a viewer."""

    def __init__(self, pages):
        self.pages, self.page = pages, pages.page()
        self.link = self.resource = self.token = self.answer = None

    def connect(self, url, token, offer, profiles):
        """Exchanges the offer for an answer, in which a new link takes the place of the server."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
        response = requests.post(url, data=offer, headers=headers, timeout=30)
        assert response.status_code == 201, response.text
        self.resource, self.token, self.answer = urljoin(response.url, response.headers["Location"]), token, response.text
        self.link = self.pages.network.open(candidate(response.text), **profiles)
        self.accept(response.text)
        return self

    def accept(self, answer):
        self.answer = with_candidate(answer, self.link.address)
        self.page.evaluate("(sdp) => accept(sdp)", self.answer)

    def delete(self):
        """Deletes the resource."""
        requests.delete(self.resource, headers={"Authorization": f"Bearer {self.token}"}, timeout=30).raise_for_status()

    def until(self, condition, seconds=30):
        return browser.wait_until(self.page, condition, seconds, lambda: str(self.stats()))

    def shows(self, width=None):
        """Waits for a frame, of the given width if there is one."""
        return self.until(f"shown.at(-1)?.[1] === {width}" if width else "shown.length > 0")

    def stats(self):
        """The statistics of the connection and of its link."""
        return {**self.page.evaluate("stats()"), "link": self.link and self.link.stats()}

    def wait(self, seconds):
        self.page.evaluate("(ms) => new Promise((done) => setTimeout(done, ms))", 1000 * seconds)
