"""The situations. Each is a function of a session that yields figures."""

import itertools
import math
import statistics
import subprocess

import imageio_ffmpeg

import browser
from media_pages import LAYERS
from media_quality.report import Figure
from media_quality.session import SETTLE_SECONDS, until

TOP, MIDDLE, LOW = 960, 480, 240
# Maximum wait for a layer that comes back.
PATIENCE_SECONDS = 40
# Limits of a viewer, and the width of the best layer that fits with some room.
CAPS = {"1500k": MIDDLE, "600k": LOW, "300k": LOW}
FAR = "delay=100ms,jitter=30ms,loss=1%"


def clean(session):
    """No impairment: the base of all other figures."""
    for codec in ("VP8", "H264"):
        _, publisher, viewer = session.connected(codec=codec, encodings=LAYERS)
        viewer.shows()
        yield Figure(f"{codec}, first frame", viewer.page.evaluate("shown[0][0] - began"), "ms")
        viewer.wait(SETTLE_SECONDS)
        window = session.window(viewer, publisher)
        yield from seen(window, codec)
        yield Figure(f"{codec}, width", window.width, "px", least=TOP)
        session.pages.close_pages()


def capped(session):
    """The viewer's downlink is limited, then free again."""
    for cap, width in CAPS.items():
        _, publisher, viewer = session.connected(encodings=LAYERS)
        viewer.shows(TOP)
        viewer.wait(SETTLE_SECONDS)
        before = viewer.stats(), publisher.stats()
        viewer.link.set(down=f"rate={cap}")
        viewer.wait(SETTLE_SECONDS)
        window = session.window(viewer, publisher)
        yield Figure(f"{cap}, frames", window.fps, "fps", least=28)
        yield Figure(f"{cap}, frozen", window.frozen, "%", most=5)
        yield Figure(f"{cap}, audio concealed", window.concealed, "%", most=1)
        yield Figure(f"{cap}, width", window.width, "px", least=width)
        window.viewer, window.publisher = before
        others = [count for rid, count in window.key_frames().items() if rid != layer_of(window.width)]
        yield Figure(f"{cap}, key frames of each other layer", max(others, default=0), most=1)
        at = viewer.page.evaluate("performance.now()")
        viewer.link.set(down="")
        yield Figure(f"{cap}, top layer again after", returned(viewer, at), "s", most=15)
        session.pages.close_pages()


def compared(session, profile):
    """What a viewer behind such a network gets from the server, and what one browser gets from another."""
    _, publisher, viewer = session.connected({"up": profile, "down": profile})
    viewer.shows()
    viewer.wait(SETTLE_SECONDS)
    window = session.window(viewer, publisher)
    session.pages.close_pages()
    return window, between_browsers(session, profile)


def far(session):
    """100 ± 30 ms each way and 1 % loss."""
    window, direct = compared(session, FAR)
    yield Figure("frames", window.fps, "fps", direct.fps)
    yield Figure("frozen", window.frozen, "%", direct.frozen, most=5)
    yield Figure("audio concealed", window.concealed, "%", direct.concealed)
    yield Figure("NACKs per lost packet", window.nacks_per_loss, "", most=1.2)
    yield Figure("resent packets per lost packet", window.resends_per_loss, "", most=1.2)


def lossy(session):
    """Loss and 20 ms each way."""
    for loss, most in (("5%", 3), ("10%", 10)):
        profile = f"delay=20ms,loss={loss}"
        window, direct = compared(session, profile)
        yield Figure(f"{loss}, frames", window.fps, "fps", direct.fps)
        yield Figure(f"{loss}, frozen", window.frozen, "%", direct.frozen, most=most)
        yield Figure(f"{loss}, audio concealed", window.concealed, "%", direct.concealed, most=1)
        yield Figure(f"{loss}, NACKs per lost packet", window.nacks_per_loss)


def stopped_layer(session):
    """The publisher stops its best layer."""
    _, publisher, viewer = session.connected(encodings=LAYERS)
    viewer.shows(TOP)
    viewer.wait(SETTLE_SECONDS)
    at = viewer.page.evaluate("performance.now()")
    publisher.page.evaluate("setActive('high', false)")
    viewer.wait(5)
    times = [at_ms for at_ms, _ in viewer.page.evaluate("shown") if at_ms > at - 100]
    gaps = [later - earlier for earlier, later in itertools.pairwise([*times, viewer.page.evaluate("performance.now()")])]
    yield Figure("longest picture", max(gaps), "ms", most=350)


def uplink(session):
    """The publisher's uplink is limited to 800 kbit/s; the reference has one layer."""
    limited = "rate=800k"
    _, publisher, viewer = session.connected(encodings=LAYERS, up=limited)
    viewer.shows()
    viewer.wait(2 * SETTLE_SECONDS)
    window = session.window(viewer, publisher)
    session.pages.close_pages()
    sender, receiver = session.pages.pair(up=limited)
    receiver.shows()
    receiver.wait(2 * SETTLE_SECONDS)
    direct = session.window(receiver, sender)
    yield Figure("video received", window.kilobits, "kbit/s", direct.kilobits, least=0.8 * direct.kilobits)
    yield Figure("frames", window.fps, "fps", direct.fps, least=0.8 * direct.fps)
    yield Figure("frozen", window.frozen, "%", direct.frozen, most=direct.frozen + 5)


def lip_sync(session):
    """How much later the picture is than the sound. The pages' generators and the measurement have an offset of their own, so what
    counts is the difference that late video makes."""
    lags, direct = {}, {}
    for late in (0, 300):
        _, _, viewer = session.connected(late_video_ms=late)
        lags[late] = video_lag(viewer)
        session.pages.close_pages()
        _, receiver = session.pages.pair(late_video_ms=late)
        direct[late] = video_lag(receiver)
        session.pages.close_pages()
        yield Figure(f"picture after sound, video sent {late} ms late", lags[late], "ms", direct[late])
    yield Figure("difference", lags[300] - lags[0], "ms", direct[300] - direct[0], most=40)


def key_frame_flood(session):
    """One of two viewers requests key frames all the time."""
    stage, publisher, viewer = session.connected()
    viewer.shows()
    viewer.wait(SETTLE_SECONDS)
    quiet = session.window(viewer, publisher)
    attacker = stage.viewer()
    attacker.shows()
    attacker.page.evaluate("flood()")
    viewer.wait(2)
    flooded = session.window(viewer, publisher)
    sent = attacker.stats()["video"].get("pliCount", 0)
    yield Figure("key-frame requests of the viewer", sent)
    rate = lambda window: sum(window.key_frames().values()) / window.seconds
    yield Figure("key frames before", rate(quiet), "/s")
    yield Figure("key frames", rate(flooded), "/s", most=0.2)
    yield Figure("quantizer before", quiet.quantizer())
    yield Figure("quantizer", flooded.quantizer(), most=1.1 * quiet.quantizer())
    yield Figure("other viewer's frames", flooded.fps, "fps", least=0.95 * quiet.fps)


def encoder(session):
    """Viewers join a publisher that cannot be asked for a key frame: FFmpeg, a key frame every 3 s."""
    stage = session.stage()
    token, stage.published = stage.token()
    source = "-re -f lavfi -i testsrc2=size=640x360:rate=30 -re -f lavfi -i sine=frequency=440:sample_rate=48000"
    codecs = "-c:v libx264 -preset ultrafast -tune zerolatency -profile:v baseline -pix_fmt yuv420p -bf 0 -g 90 -b:v 800k -c:a libopus -ac 2"
    arguments = f"-hide_banner -loglevel error -nostdin {source} {codecs} -f whip -authorization {token} {stage.whip}"
    program = subprocess.Popen([imageio_ffmpeg.get_ffmpeg_exe(), *arguments.split()], stdin=subprocess.DEVNULL)
    try:
        until(lambda: is_published(stage), 30, "FFmpeg does not publish")
        times = []
        for number in range(20):
            viewer = stage.viewer()
            viewer.shows()
            times.append(viewer.page.evaluate("shown[0][0] - began"))
            # The first frame is a key frame: the next viewers join at different times after one.
            viewer.wait(3 * number / 20)
            session.pages.close_pages()
    finally:
        program.kill()
        program.wait()
    yield Figure("first frame, median of 20", statistics.median(times), "ms")
    yield Figure("first frame, 95th percentile", sorted(times)[18], "ms", most=500)


def closed_tab(session):
    """The publisher's tab is closed."""
    stage, publisher, viewer = session.connected()
    viewer.shows()
    is_gone = lambda: stage.participant(stage.published)["state"] == "DISCONNECTED"
    assert not is_gone()
    publisher.page.close()
    yield Figure("participant is disconnected after", until(is_gone, 60, "still connected"), "s", most=6)


def ended(session):
    """When `connectionState` changes after a connection has been ended."""
    stage, publisher, viewer = session.connected()
    viewer.shows()
    at = viewer.page.evaluate("performance.now()")
    publisher.delete()
    yield from noticed(viewer, at, "viewer, publisher deletes its resource")
    session.pages.close_pages()
    stage, publisher, viewer = session.connected()
    viewer.shows()
    for page, participant, who in ((viewer, stage.viewing, "viewer"), (publisher, stage.published, "publisher")):
        at = page.page.evaluate("performance.now()")
        stage.tenant.ivs.disconnect_participant(stageArn=stage.arn, participantId=participant)
        yield from noticed(page, at, f"{who}, DisconnectParticipant")


def stereo(session):
    """Stereo and discontinuous transmission, as the publisher offers them."""
    fmtp = "stereo=1;sprop-stereo=1;usedtx=1"
    _, publisher, viewer = session.connected({"fmtp": "stereo=1"}, fmtp=fmtp, sound={"channels": 2, "silent": False})
    viewer.shows()
    viewer.page.evaluate("listen()")
    viewer.wait(5)
    yield Figure("stereo is received", int(viewer.page.evaluate("stereo")), least=1)
    yield Figure("answer has usedtx", int("usedtx=1" in publisher.answer), least=1)
    session.pages.close_pages()
    _, publisher, viewer = session.connected(fmtp=fmtp, sound={"channels": 2, "silent": True})
    viewer.shows()
    viewer.wait(SETTLE_SECONDS)
    window = session.window(viewer, publisher)
    yield Figure("audio packets in silence", window.received("audio", "packetsReceived") / window.seconds, "/s", most=5)


SITUATIONS = {
    "clean": clean,
    "capped": capped,
    "far": far,
    "lossy": lossy,
    "stopped-layer": stopped_layer,
    "uplink": uplink,
    "lip-sync": lip_sync,
    "key-frame-flood": key_frame_flood,
    "encoder": encoder,
    "closed-tab": closed_tab,
    "ended": ended,
    "stereo": stereo,
}


def seen(window, name):
    yield Figure(f"{name}, frames", window.fps, "fps", least=28)
    yield Figure(f"{name}, frozen", window.frozen, "%", most=5)
    yield Figure(f"{name}, audio concealed", window.concealed, "%", most=1)


def layer_of(width):
    return {TOP: "high", MIDDLE: "mid", LOW: "low"}.get(width)


def returned(viewer, at):
    """Seconds until the top layer is shown for the first time after `at`."""
    back = f"shown.find(([time, width]) => time > {at} && width === {TOP})"
    waited = viewer.page.evaluate(browser.WAIT_UNTIL % f"{back}?.[0]", PATIENCE_SECONDS)
    return (waited - at) / 1000 if waited else math.inf


def between_browsers(session, profile):
    """The same without a server."""
    sender, receiver = session.pages.pair(up=profile, down=profile)
    receiver.shows()
    receiver.wait(SETTLE_SECONDS)
    window = session.window(receiver, sender)
    session.pages.close_pages()
    return window


def video_lag(viewer):
    """Median of the times between a tone and its flash, once the browser has synchronized them."""
    viewer.shows()
    viewer.page.evaluate("listen()")
    viewer.wait(4 * SETTLE_SECONDS)
    viewer.page.evaluate("flashes.length = beeps.length = 0")
    viewer.wait(12)
    flashes, beeps = viewer.page.evaluate("[flashes, beeps]")
    lags = [min((flash - beep for beep in beeps), key=abs) for flash in flashes] if beeps else []
    # The tone of a flash at the border of the measurement can be missing.
    lags = [lag for lag in lags if abs(lag) < 500]
    assert len(lags) >= 6, f"{len(flashes)} flashes, {len(beeps)} tones"
    return statistics.median(lags)


def is_published(stage):
    try:
        return stage.participant(stage.published)["published"]
    except (ValueError, stage.tenant.ivs.exceptions.ResourceNotFoundException):
        return False


def noticed(client, at, what):
    """Seconds until the states of the connection change."""
    changed = f"states.some(([time, state]) => time > {at} && !state.startsWith('dtls'))"
    client.until(changed, 60)
    states = client.page.evaluate("states")
    connection = next(time for time, state in states if time > at and not state.startswith("dtls"))
    dtls = next((time for time, state in states if time > at and state.startswith("dtls")), None)
    yield Figure(f"{what}: connectionState changes after", (connection - at) / 1000, "s")
    if dtls is not None:
        yield Figure(f"{what}: DTLS state changes after", (dtls - at) / 1000, "s")
