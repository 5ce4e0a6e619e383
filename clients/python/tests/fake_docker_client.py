"""A client of Docker for tests, as testcontainers uses it: runs the server's program in place of a container."""

import os
import subprocess


class FakeContainer:
    short_id = "fake"

    def __init__(self, program, log, environment, ports):
        host, port = ports["4600/tcp"]
        # As the image does, and at the published port.
        settings = {**environment, "GREENROOM_LISTEN": f"{host}:{port}", "GREENROOM_DEV_CREDENTIALS": "off"}
        settings["GREENROOM_MEDIA_ADDR"] = settings["GREENROOM_MEDIA_ADDR"].replace("0.0.0.0", host)
        del settings["GREENROOM_MEDIA_PUBLIC_IP"]
        self.command, self.log = {"args": [program], "env": {**settings, "PATH": os.environ["PATH"]}}, log

    def start(self):
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(**self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def logs(self, stdout=True, stderr=True):
        return self.log.read_bytes() if stdout else b""

    def reload(self):
        self.status = "running" if self.process.poll() is None else "exited"

    def remove(self, **_):
        self.process.kill()
        self.process.wait()


class FakeDockerClient:
    def __init__(self, program, folder):
        self.program, self.log, self.images = program, folder / "container.log", []
        self.client = self

    def create(self, image, environment, ports, **_):
        self.images.append(image)
        return FakeContainer(self.program, self.log, environment, ports)

    def start(self, container):
        container.start()

    def close(self):
        pass
