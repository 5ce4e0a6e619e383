"""A server as a container of testcontainers.

with GreenroomContainer("greenroom") as container:
    greenroom = container.server().isolated()
"""

from __future__ import annotations

import secrets
import socket
from typing import Any, cast

from testcontainers.core.container import DockerContainer

from .credentials import Credentials
from .process import container_settings, free_port, stopped_on_error, wait_until_ready
from .server import DEFAULT_REGION, START_SECONDS, Server


class GreenroomContainer(DockerContainer):
    """A container of a greenroom image, with the signed test API."""

    def __init__(self, image: str = "greenroom", region: str = DEFAULT_REGION, **options: Any) -> None:
        super().__init__(image, **options)
        self.region = region
        self.credentials = Credentials(f"GREENROOM{secrets.token_hex(8).upper()}", secrets.token_hex(20))
        self.port = free_port(socket.SOCK_STREAM)
        media = free_port(socket.SOCK_DGRAM)
        self.endpoint = f"http://127.0.0.1:{self.port}"
        # On 127.0.0.1 only, which `with_bind_ports` cannot say.
        ports = cast(dict[str, Any], self.ports)
        ports["4600/tcp"] = ("127.0.0.1", self.port)
        ports[f"{media}/udp"] = ("127.0.0.1", media)
        for name, value in container_settings(self.endpoint, media, self.credentials, region).items():
            self.with_env(name, value)

    def start(self) -> GreenroomContainer:
        super().start()
        running = _Running(self)
        with stopped_on_error(running):
            wait_until_ready(running, self.server().is_ready, START_SECONDS)
        return self

    def server(self) -> Server:
        """The server in the container. `stop` of the container stops it."""
        return Server(self.endpoint, region=self.region, credentials=self.credentials)


class _Running:
    """The container, as the wait for readiness needs it."""

    def __init__(self, container: GreenroomContainer) -> None:
        self._container = container
        self.endpoint = container.endpoint

    def log(self, mark: int = 0) -> str:
        return "".join(part.decode(errors="replace") for part in self._container.get_logs())

    def mark(self) -> int:
        return 0

    def has_ended(self) -> bool:
        wrapped = self._container.get_wrapped_container()
        wrapped.reload()
        return wrapped.status in ("exited", "dead")

    def stop(self) -> None:
        self._container.stop()
