"""Real servers on each storage engine, for what operators do and survive."""

from running import engine, new_file, new_store, pytest_pyfunc_call, start_server  # noqa: F401 (fixtures)
from stores import fresh_postgres, postgres  # noqa: F401 (fixtures)
