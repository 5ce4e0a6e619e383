"""A server for tests: started by the kit, or running already."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from types import TracebackType

from .client import Greenroom
from .credentials import Credentials, development_key, random_account
from .errors import ServerError
from .process import Container, Process, Running, stopped_on_error, wait_until_ready
from .transport import send

START_SECONDS = 30
READY_PATH = "/_greenroom/ready"
SERVER_ACCOUNT = "000000000000"
DEFAULT_REGION = "us-east-1"


class Server:
    """A server. `start` finds or starts one; as a context manager it is stopped at the end of the block."""

    def __init__(
        self,
        endpoint: str,
        *,
        region: str = DEFAULT_REGION,
        credentials: Credentials | None = None,
        own_account: str = SERVER_ACCOUNT,
        exclusive: bool = True,
        running: Running | None = None,
    ) -> None:
        """`credentials` is an access key of the server's own account (`--account`), if the server requires signatures
        (`--test-api=public`). `exclusive`: no other test uses the server at the same time."""
        self.endpoint = endpoint.rstrip("/")
        self.region = region
        self.credentials = credentials
        self.own_account = own_account
        self.exclusive = exclusive
        self._running = running

    @classmethod
    def start(
        cls,
        *,
        binary: str | None = None,
        endpoint: str | None = None,
        image: str | None = None,
        credentials: Credentials | None = None,
        store: str = "sqlite::memory:",
        region: str = DEFAULT_REGION,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        exclusive: bool | None = None,
        timeout: float = START_SECONDS,
    ) -> Server:
        """A server that is ready.

        The first of these is used: the arguments `endpoint`, `binary` or `image`; the variables GREENROOM_ENDPOINT,
        GREENROOM_BIN or GREENROOM_IMAGE; the command `greenroom` of the PATH. `arguments` and `environment` are further
        flags and settings of the server. `store` is a database URL, or `temporary`: a SQLite file, deleted at the end.
        An endpoint of a server with `--test-api=public` needs `credentials` (default: GREENROOM_ACCESS_KEY_ID and
        GREENROOM_SECRET_ACCESS_KEY). The clock of a server can be moved if no other test uses it at the same time
        (`exclusive`): by default of one that this call starts, and not of one that runs already.
        """
        if not (endpoint or binary or image):
            endpoint, binary, image = _of_environment()
        if endpoint:
            credentials = credentials or _environment_key()
            server = cls(endpoint, region=region, credentials=credentials, exclusive=bool(exclusive))
            if not server.is_ready():
                raise ServerError(f"the server at {endpoint} is not ready: GET {READY_PATH} does not return 200")
            return server
        running: Running
        if image and not binary:
            credentials = credentials or Credentials(f"GREENROOM{secrets.token_hex(8).upper()}", secrets.token_hex(20))
            running = Container(image, credentials, region, arguments, environment or {})
        else:
            credentials = None
            running = Process(binary or _binary_of_path(), store, region, arguments, environment or {}, timeout)
        with stopped_on_error(running):
            exclusive = exclusive is not False
            server = cls(running.endpoint, region=region, credentials=credentials, exclusive=exclusive, running=running)
            wait_until_ready(running, server.is_ready, timeout)
        atexit.register(server.stop)
        return server

    def is_ready(self) -> bool:
        try:
            return send("GET", f"{self.endpoint}{READY_PATH}", read_timeout=5).status_code == 200
        except ServerError:
            return False

    def isolated(self, region: str | None = None) -> Greenroom:
        """The control client of a new account, at a random number. Its resources, quotas, faults and journal are its own."""
        return self.account(random_account(), region)

    def account(self, account: str | None = None, region: str | None = None) -> Greenroom:
        """The control client of an account (default: the server's own)."""
        number, region = account or self.own_account, region or self.region
        return Greenroom(
            self.endpoint,
            number,
            region,
            self._key_of(number, region),
            signed_by=self.credentials,
            exclusive=self.exclusive,
        )

    def log(self, mark: int = 0) -> str:
        """The log of a server that the kit has started, since a `log_mark`; otherwise empty."""
        return self._running.log(mark) if self._running else ""

    def log_mark(self) -> int:
        """The current end of the log."""
        return self._running.mark() if self._running else 0

    def stop(self) -> None:
        """Stops a server that the kit has started. Otherwise nothing is to do."""
        running, self._running = self._running, None
        if running:
            atexit.unregister(self.stop)
            running.stop()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"Server({self.endpoint!r})"

    def _key_of(self, account: str, region: str) -> Credentials:
        """The access key of an account: its development key, or a new one on a server that requires signatures."""
        if not self.credentials:
            return development_key(account)
        if account == self.own_account:
            return self.credentials
        own = self.credentials
        maker = Greenroom(self.endpoint, account, region, own, signed_by=own)
        return maker.seed({"accessKeys": [{"name": "testkit"}]}).access_key("testkit")


def _of_environment() -> tuple[str | None, str | None, str | None]:
    """Endpoint, binary and image of the environment: the first that is set, and no other."""
    names = ("GREENROOM_ENDPOINT", "GREENROOM_BIN", "GREENROOM_IMAGE")
    endpoint, binary, image = (os.environ.get(name) or None for name in names)
    if endpoint:
        return endpoint, None, None
    return (None, binary, None) if binary else (None, None, image)


def _binary_of_path() -> str:
    found = shutil.which("greenroom")
    if not found:
        raise ServerError(
            "greenroom was not found: install it, or name it in GREENROOM_BIN, or a server that runs in "
            "GREENROOM_ENDPOINT, or an image in GREENROOM_IMAGE"
        )
    return found


def _environment_key() -> Credentials | None:
    names = ("GREENROOM_ACCESS_KEY_ID", "GREENROOM_SECRET_ACCESS_KEY")
    key, secret = (os.environ.get(name) for name in names)
    return Credentials(key, secret) if key and secret else None
