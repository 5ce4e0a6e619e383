"""Access keys."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Credentials:
    """An access key."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


def development_key(account: str) -> Credentials:
    """The development key of an account: its number, and the secret `test`. Accepted on loopback addresses only."""
    return Credentials(account, "test")


def random_account() -> str:
    """A random account number of 12 digits. 10^11 numbers: two of 200 concurrent tests are the same with p = 2e-7."""
    return str(100_000_000_000 + secrets.randbelow(900_000_000_000))
