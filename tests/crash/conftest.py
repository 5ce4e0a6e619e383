"""Fixtures: an empty store on each engine."""

import pytest

from stores import fresh_postgres, postgres  # noqa: F401 (fixtures)


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request):
    return request.param


@pytest.fixture
def store(engine, request, tmp_path):
    """The URL of an empty store."""
    if engine == "postgres":
        return request.getfixturevalue("fresh_postgres")()
    return f"sqlite://{tmp_path}/greenroom.db"
