"""Errors of the kit."""

from __future__ import annotations


class GreenroomError(Exception):
    """Base class of all errors of the kit."""


class ServerError(GreenroomError):
    """A server was not found, did not start, or ended. The message contains the end of its log."""


class SharedClockError(GreenroomError):
    """The clock belongs to the whole server, and other tests use that server at the same time."""


class ApiError(GreenroomError):
    """An error response of the test API, with the server's message."""

    def __init__(self, status: int, code: str, message: str, request: str) -> None:
        super().__init__(f"{code}: {message} ({request}: status {status})")
        self.status = status
        self.code = code
        self.message = message


class ValidationError(ApiError):
    """The request is invalid; the message names the member."""


class AccessDenied(ApiError):
    """The request is not allowed to use the test API, or to act on that account."""


class NotFound(ApiError):
    """The resource does not exist."""


class Conflict(ApiError):
    """The state of the server does not allow the request."""


class TestApiMissing(ApiError):
    """The server does not serve the test API: start it with `--test-api=on`."""

    __test__ = False  # not a test class for pytest


class WaitTimeout(GreenroomError, AssertionError):
    """No such call or event happened in time. `closest` describes the most similar one."""

    def __init__(self, message: str, closest: str | None, seen: int) -> None:
        super().__init__(message)
        self.closest = closest
        self.seen = seen


_CLASSES: dict[str, type[ApiError]] = {
    "ValidationException": ValidationError,
    "SerializationException": ValidationError,
    "AccessDeniedException": AccessDenied,
    "ResourceNotFoundException": NotFound,
    "ConflictException": Conflict,
}


def error_of(status: int, code: str, message: str, request: str) -> ApiError:
    """The error of a response."""
    if code == "UnknownOperationException" and "has no endpoint" not in message:
        message = f"{message}; the server must run with --test-api=on or --test-api=public".lstrip("; ")
        return TestApiMissing(status, code, message, request)
    return _CLASSES.get(code, ApiError)(status, code, message, request)
