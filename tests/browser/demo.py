"""The demo page as somebody uses it: by its labels and buttons. What it knows it keeps in `window.greenroom`."""

import json

from browser import until

# What Chromium writes into the console of its own accord when a request is refused.
REFUSED_REQUEST = "Failed to load resource"


class Demo:
    """One participant's page."""

    def __init__(self, context, endpoint, name):
        self.name, self.endpoint = name, endpoint
        self.page = context.new_page()
        self.complaints = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._heard)

    def _heard(self, message):
        if message.type in ("error", "warning") and REFUSED_REQUEST not in message.text:
            self.complaints.append(message.text)

    def open(self, token=None):
        """Loads the page, with the token in its address if there is one."""
        fragment = f"#token={token}" if token else ""
        self.page.goto(f"{self.endpoint}/_greenroom/demo{fragment}")
        return self

    def press(self, name):
        self.page.get_by_role("button", name=name, exact=True).click()

    def tile(self, participant):
        return self.page.locator(f'#tiles [data-participant="{participant}"]')

    # Joining and leaving

    def try_to_join(self, token):
        """Types a token in and presses the button; done when it is known how that went."""
        if self.page.url == "about:blank":
            self.open()
        self.page.get_by_label("Participant token").fill(token)
        self.press("Join the stage")
        self.until("greenroom.phase === 'joined' || greenroom.phase === 'left' || greenroom.error")
        return self

    def join(self, token):
        self.try_to_join(token)
        assert self.know("greenroom.phase") == "joined", self.describe()
        return self

    def publish(self, source="camera", codec="", layers=False):
        """Done when the service has said that this participant publishes."""
        self.page.get_by_label("Send", exact=True).select_option(source)
        self.page.get_by_label("Codec", exact=True).select_option(codec)
        self.page.get_by_label("three layers", exact=True).set_checked(layers)
        self.press("Publish")
        self.until("greenroom.participants.some((one) => one.isPublishing && one.id === greenroom.participantId)")
        return self

    # What the page knows

    def know(self, expression):
        return self.page.evaluate(expression)

    def until(self, condition, seconds=30):
        return until(self.page, condition, seconds, self.describe)

    def describe(self):
        """All that the page knows, for the message of a test that failed."""
        return f"{self.name}: {json.dumps(self.know('greenroom'))}"

    def receives(self, publisher, *conditions):
        """Waits for picture and sound of somebody to have been decoded, and answers the measurement."""
        return self._subscription(publisher, "video.frames >= 30", "video.keyFrames >= 1", *SOUND, *conditions)

    def hears(self, publisher):
        """The same for sound alone."""
        return self._subscription(publisher, *SOUND, "video.frames === 0")

    def _subscription(self, publisher, *conditions):
        found = f"greenroom.subscriptions['{publisher}']"
        met = " && ".join(f"s.{condition}" for condition in conditions)
        return self.until(f"((s) => s && {met} ? s : null)({found})")

    def ended(self, publisher=None):
        """Waits for a media connection to have ended, and answers when, in seconds: of oneself unless one is named."""
        name = f"'{publisher}'" if publisher else "null"
        return self.until(f"greenroom.ended.find((one) => one.publisher === {name})")["at"] / 1000

    def closed(self):
        """Waits for the events WebSocket to be closed, and answers how; the time is in seconds."""
        closed = self.until("greenroom.closed")
        return {**closed, "at": closed["at"] / 1000}

    def error(self):
        """Waits for an error to be shown, and answers its code and text as they stand on the page."""
        self.until("greenroom.error")
        alert = self.page.get_by_role("alert")
        return alert.locator("strong").inner_text(), alert.locator("span").inner_text()


# The fake microphone beeps, the test pattern hums: an empty sound measures 0.
SOUND = ("audio.packets >= 50", "audio.energy > 0.0001", "loudest > 0.01", "level >= 0")
