"""A server, a browser and an emulated network for a run."""

import contextlib
import time

from playwright.sync_api import sync_playwright

import browser
from clients import Server
from media_pages import MediaPages
from network import Network
from server import Greenroom

FLAGS = [
    *browser.FLAGS,
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
]
# Time after which all layers of a publisher are sent, and adaptation has settled.
SETTLE_SECONDS = 8


class Session:
    def __init__(self, netem, seconds):
        self.netem, self.seconds = netem, seconds
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        store = "sqlite::memory:"
        program = Greenroom("--database-url", store, "--media-addr", "127.0.0.1:0", RUST_LOG="greenroom=info").serving()
        self.stack.callback(program.kill)
        self.server = Server("sqlite", program, store)
        playwright = self.stack.enter_context(sync_playwright())
        self.chromium = playwright.chromium.launch(executable_path=browser.executable(), args=FLAGS)
        self.stack.callback(self.chromium.close)
        self.network = self.stack.enter_context(Network(self.netem))
        self.pages = self.stack.enter_context(MediaPages(self.chromium, self.network))
        return self

    def __exit__(self, *error):
        return self.stack.__exit__(*error)

    def stage(self):
        return Stage(self)

    def connected(self, viewing=None, **publishing):
        """A stage with a page that publishes and a page that views."""
        stage = self.stage()
        publisher = stage.publisher(**publishing)
        return stage, publisher, stage.viewer(**(viewing or {}))

    def window(self, viewer, publisher, seconds=None):
        """What happens in a time."""
        before = viewer.stats(), publisher.stats()
        viewer.wait(seconds or self.seconds)
        return Window(before, (viewer.stats(), publisher.stats()))


class Stage:
    """A new stage of a new account."""

    def __init__(self, session):
        self.session, self.tenant = session, session.server.tenant()
        self.arn = self.tenant.stage()
        self.whip = self.tenant.ivs.get_stage(arn=self.arn)["stage"]["endpoints"]["whip"]

    def token(self):
        made = self.tenant.token(self.arn)
        return made["token"], made["participantId"]

    def publisher(self, **options):
        token, self.published = self.token()
        return self.session.pages.publisher(self.whip, token, **options)

    def viewer(self, **options):
        token, self.viewing = self.token()
        return self.session.pages.viewer(self.whip, token, self.published, **options)

    def participant(self, participant):
        [stage_session] = self.tenant.ivs.list_stage_sessions(stageArn=self.arn)["stageSessions"]
        found = self.tenant.ivs.get_participant(
            stageArn=self.arn, sessionId=stage_session["sessionId"], participantId=participant
        )
        return found["participant"]


class Window:
    """The difference of two readings of (viewer, publisher)."""

    def __init__(self, before, after):
        (self.viewer, self.publisher), (self.viewer_after, self.publisher_after) = before, after
        self.seconds = (self.viewer_after["at"] - self.viewer["at"]) / 1000

    def received(self, kind, name):
        return self.viewer_after[kind].get(name, 0) - self.viewer[kind].get(name, 0)

    @property
    def fps(self):
        return self.received("video", "framesDecoded") / self.seconds

    @property
    def frozen(self):
        """Share of the time in freezes as the browser counts them, with one that has not ended, in percent."""
        duration = self.received("video", "totalFreezesDuration") + standing(self.viewer_after) - standing(self.viewer)
        return min(max(100 * duration / self.seconds, 0), 100)

    @property
    def concealed(self):
        """In percent."""
        return 100 * self.received("audio", "concealedSamples") / max(self.received("audio", "totalSamplesReceived"), 1)

    @property
    def width(self):
        return self.viewer_after["video"].get("frameWidth", 0)

    @property
    def kilobits(self):
        return self.received("video", "bytesReceived") * 8 / 1000 / self.seconds

    def on_link(self, ssrc, counter):
        """A counter of packets from the server."""
        count = lambda stats: stats["link"]["down"]["rtp"].get(str(ssrc), {}).get(counter, 0)
        return count(self.viewer_after) - count(self.viewer)

    @property
    def lost(self):
        """Video packets to the viewer that the network dropped."""
        ssrc = self.viewer_after["video"]["ssrc"]
        return self.on_link(ssrc, "lost") + self.on_link(ssrc, "queueFull")

    @property
    def nacks_per_loss(self):
        return self.received("video", "nackCount") / max(self.lost, 1)

    @property
    def resends_per_loss(self):
        return self.on_link(self.viewer_after["video"].get("rtxSsrc"), "packets") / max(self.lost, 1)

    def key_frames(self):
        """Key frames that the publisher encoded, by layer."""
        before = {layer.get("rid"): layer["keyFramesEncoded"] for layer in self.publisher["sent"]}
        return {layer.get("rid"): layer["keyFramesEncoded"] - before.get(layer.get("rid"), 0) for layer in self.publisher_after["sent"]}

    def quantizer(self):
        """Mean quantizer of the publisher's encoder."""
        total = lambda stats, name: sum(layer.get(name, 0) for layer in stats["sent"])
        frames = total(self.publisher_after, "framesEncoded") - total(self.publisher, "framesEncoded")
        return (total(self.publisher_after, "qpSum") - total(self.publisher, "qpSum")) / max(frames, 1)


def standing(stats):
    """Seconds that the last frame has been shown, if that is a freeze."""
    since = (stats["at"] - stats["lastShown"][0]) / 1000 if stats["lastShown"] else 0
    return since if since > 0.25 else 0


def until(condition, seconds, what):
    """Polls a condition; returns the time in seconds."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            raise TimeoutError(what)
        time.sleep(0.05)
    return time.monotonic() - start
