"""Page object of the demo page: uses its labels and buttons, and reads its state from `window.greenroom`."""

import json

from browser import wait_until

# Chromium's console message for failed requests.
FAILED_REQUEST = "Failed to load resource"


class DemoPage:
    """The page of one participant."""

    def __init__(self, context, endpoint, name):
        self.name, self.endpoint = name, endpoint
        self.page = context.new_page()
        self.console_errors = []
        self.page.on("pageerror", lambda error: self.console_errors.append(str(error)))
        self.page.on("console", self._on_console)

    def _on_console(self, message):
        if message.type in ("error", "warning") and FAILED_REQUEST not in message.text:
            self.console_errors.append(message.text)

    def open(self, token=None):
        """Loads the page, optionally with a token in the URL fragment."""
        fragment = f"#token={token}" if token else ""
        self.page.goto(f"{self.endpoint}/_greenroom/demo{fragment}")
        return self

    def click_button(self, name):
        self.page.get_by_role("button", name=name, exact=True).click()

    def tile(self, participant):
        return self.page.locator(f'#tiles [data-participant="{participant}"]')

    # Joining and leaving

    def submit_token(self, token):
        """Enters a token, clicks the button and waits for the outcome."""
        if self.page.url == "about:blank":
            self.open()
        self.page.get_by_label("Participant token").fill(token)
        self.click_button("Join the stage")
        self.until("greenroom.phase === 'joined' || greenroom.phase === 'left' || greenroom.error")
        return self

    def join(self, token):
        self.submit_token(token)
        assert self.evaluate("greenroom.phase") == "joined", self.describe()
        return self

    def publish(self, source="camera", codec="", layers=False):
        """Publishes and waits until the stage state lists this participant as publisher."""
        self.page.get_by_label("Send", exact=True).select_option(source)
        self.page.get_by_label("Codec", exact=True).select_option(codec)
        self.page.get_by_label("three layers", exact=True).set_checked(layers)
        self.click_button("Publish")
        self.until("greenroom.participants.some((one) => one.isPublishing && one.id === greenroom.participantId)")
        return self

    # State

    def evaluate(self, expression):
        return self.page.evaluate(expression)

    def until(self, condition, seconds=30):
        return wait_until(self.page, condition, seconds, self.describe)

    def describe(self):
        """The page's state, for failure messages."""
        return f"{self.name}: {json.dumps(self.evaluate('greenroom'))}"

    def receives(self, publisher, *conditions):
        """Waits until audio and video of a publisher were decoded; returns the statistics."""
        return self._subscription(publisher, "video.frames >= 30", "video.keyFrames >= 1", *AUDIBLE, *conditions)

    def hears(self, publisher):
        """The same for audio only."""
        return self._subscription(publisher, *AUDIBLE, "video.frames === 0")

    def _subscription(self, publisher, *conditions):
        found = f"greenroom.subscriptions['{publisher}']"
        met = " && ".join(f"s.{condition}" for condition in conditions)
        return self.until(f"((s) => s && {met} ? s : null)({found})")

    def ended(self, publisher=None):
        """Waits until a media connection has ended, by default the own publication; returns the time in seconds."""
        name = f"'{publisher}'" if publisher else "null"
        return self.until(f"greenroom.ended.find((one) => one.publisher === {name})")["at"] / 1000

    def closed(self):
        """Waits until the events WebSocket is closed; returns code, reason and time in seconds."""
        closed = self.until("greenroom.closed")
        return {**closed, "at": closed["at"] / 1000}

    def error(self):
        """Waits for an error; returns its displayed code and text."""
        self.until("greenroom.error")
        alert = self.page.get_by_role("alert")
        return alert.locator("strong").inner_text(), alert.locator("span").inner_text()


# Conditions for audible audio: silence measures 0.
AUDIBLE = ("audio.packets >= 50", "audio.energy > 0.0001", "loudest > 0.01", "level >= 0")
