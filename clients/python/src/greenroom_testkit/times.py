"""Times and durations, as the test API has them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

Time = datetime | str
Duration = float | timedelta | str

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def iso(time: Time) -> str:
    """ISO 8601. A naive datetime is rejected, as its time zone is unknown."""
    if isinstance(time, str):
        return time
    if time.tzinfo is None:
        raise ValueError(f"{time!r} has no time zone: use datetime(…, tzinfo=timezone.utc)")
    return time.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def parse(text: str) -> datetime:
    """A time of a response, in UTC."""
    text = re.sub(r"\.(\d{6})\d+", r".\1", text)
    if match := re.search(r"\.(\d{1,5})(?=Z|[+-])", text):
        # datetime.fromisoformat of Python 3.10 wants three or six digits.
        text = text.replace(match.group(), f".{match.group(1):0<6}")
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc)


def seconds(duration: Duration) -> float:
    """Seconds of a number, a timedelta, or a text such as `90s`, `5m`, `1h`, `250ms`."""
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if not isinstance(duration, str):
        return float(duration)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", duration.strip())
    if not match:
        raise ValueError(f"{duration!r} is not a duration such as 90s, 5m, 1h or 250ms")
    return float(match.group(1)) * _UNITS[match.group(2)]
