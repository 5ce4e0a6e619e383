#!python
"""A docker command for tests: runs the server's program with the settings and flags of `docker run`."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

folder, program = Path(os.environ["FAKE_DOCKER"]), os.environ["FAKE_DOCKER_PROGRAM"]
verb, *rest = sys.argv[1:]
with (folder / "calls").open("a") as calls:
    print(*sys.argv[1:], file=calls)
log = folder / "log"


def run():
    if not program:
        sys.exit("Cannot connect to the Docker daemon")
    ports, names = [], []
    while rest[0].startswith("--"):
        option = rest.pop(0)
        if option == "--publish":
            ports.append(rest.pop(0))
        elif option == "--env":
            names.append(rest.pop(0))
    _image, *flags = rest
    # As the image does, and at the published ports.
    api = next(port for port in ports if port.endswith(":4600")).removesuffix(":4600")
    settings = {name: os.environ[name] for name in names}
    settings |= {"GREENROOM_LISTEN": api, "GREENROOM_DEV_CREDENTIALS": "off", "PATH": os.environ["PATH"]}
    settings["GREENROOM_MEDIA_ADDR"] = re.sub(r"^0\.0\.0\.0", "127.0.0.1", settings["GREENROOM_MEDIA_ADDR"])
    del settings["GREENROOM_MEDIA_PUBLIC_IP"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [program, *flags], env=settings, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
        )
    print(server.pid)


def is_running(process):
    """Whether it runs; one that has ended stays a zombie until its parent is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


if verb == "run":
    run()
elif verb == "logs":
    sys.stdout.write(log.read_text())
elif verb == "inspect":
    print("true" if is_running(rest[-1]) else "false")
elif verb == "rm" and is_running(rest[-1]):
    os.kill(int(rest[-1]), signal.SIGTERM)
