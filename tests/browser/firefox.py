"""Debian's Firefox, driven by the Marionette protocol: `length:json` frames over TCP."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import browser

PREFERENCES = {
    # Fake camera and microphone without permission prompt.
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    # Any free port; Firefox writes it to a file in the profile.
    "marionette.port": 0,
}

# Debian's Firefox has no OpenH264. With these, it decodes by libavcodec as it would by hardware.
H264 = {
    "media.webrtc.hw.h264.enabled": True,
    "media.navigator.mediadatadecoder_h264_enabled": True,
    "gfx.blacklist.webrtc.hw.acceleration.h264": 1,
}


def executable():
    found = os.environ.get("FIREFOX_BIN") or shutil.which("firefox-esr") or shutil.which("firefox")
    assert found, "firefox is missing: apt-get install firefox-esr, or name it in FIREFOX_BIN"
    return found


class Firefox:
    """A browser in its own profile, with one page."""

    def __init__(self, **preferences):
        self.profile = Path(tempfile.mkdtemp(prefix="firefox-"))
        lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in {**PREFERENCES, **preferences}.items())
        (self.profile / "user.js").write_text("".join(lines))
        browser.ARTIFACTS.mkdir(parents=True, exist_ok=True)
        self.log = (browser.ARTIFACTS / "firefox.log").open("w")
        command = [executable(), "--headless", "--marionette", "--no-remote", "--profile", str(self.profile)]
        environment = {**os.environ, "HOME": str(self.profile)}
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=subprocess.STDOUT)
        try:
            self.socket = self._connect()
            self.stream = self.socket.makefile("rb")
            self.commands = 0
            self._read()
            self._call("WebDriver:NewSession", {})
            self._call("WebDriver:SetTimeouts", {"script": 60_000})
        except BaseException:
            self.close()
            raise

    def _connect(self):
        """A connection to the port that the browser has chosen. Its file is polled, and has no end mark: a port that refuses
        connections may be the beginning of another."""
        chosen, end = self.profile / "MarionetteActivePort", time.monotonic() + 60
        while True:
            assert self.process.poll() is None and time.monotonic() < end, "Firefox does not start"
            port = chosen.read_text().strip() if chosen.exists() else ""
            with suppress(OSError):
                if port:
                    return socket.create_connection(("127.0.0.1", int(port)), timeout=60)
            time.sleep(0.05)

    def _read(self):
        digits = b""
        while (byte := self.stream.read(1)) != b":":
            assert byte, "Firefox has ended"
            digits += byte
        return json.loads(self.stream.read(int(digits)))

    def _call(self, name, parameters):
        self.commands += 1
        message = json.dumps([0, self.commands, name, parameters]).encode()
        self.socket.sendall(b"%d:%b" % (len(message), message))
        _, number, error, result = self._read()
        assert number == self.commands and not error, error
        return result

    # The used subset of Playwright's page.

    def goto(self, url):
        self._call("WebDriver:Navigate", {"url": url})

    def evaluate(self, expression, *arguments):
        """The value of an expression, or of a function called with the arguments; promises are awaited."""
        script = f"return (({expression})(...arguments))" if arguments else f"return ({expression})"
        return self._call("WebDriver:ExecuteScript", {"script": script, "args": arguments, "sandbox": None})["value"]

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.profile, ignore_errors=True)
