"""Crashes a server again and again, and says what became of everything: scripts/crash --help."""

import argparse
import os
import random
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

sys.path.append(str(Path(__file__).resolve().parents[1] / "sdk"))

import psycopg  # noqa: E402

from crash import Crash  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/crash", description="Crashes a server under load, again and again.")
    parser.add_argument("--rounds", type=int, default=100, help="kills under load, of each engine (100)")
    parser.add_argument("--minutes", type=float, default=60, help="as many rounds as begin within, of each engine (60)")
    parser.add_argument("--engine", choices=["sqlite", "postgres", "both"], default="both")
    parser.add_argument("--seed", type=int, default=None, help="the same seed makes the same choices; else one is drawn")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--pause-ms", type=float, default=10, help="mean pause of a client between two calls (10)")
    parser.add_argument("--most", type=int, default=150, help="writes of a round at most (150)")
    return parser.parse_args()


@contextmanager
def store(engine, folder):
    """The URL of an empty store."""
    if engine == "sqlite":
        yield f"sqlite://{folder}/greenroom.db"
        return
    url, name = os.environ["GREENROOM_TEST_POSTGRES"], f"greenroom_crash_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    yield urlsplit(url)._replace(path=f"/{name}").geturl()
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def main():
    asked = arguments()
    seed = random.randrange(10**6) if asked.seed is None else asked.seed
    lost = 0
    for engine in ("sqlite", "postgres") if asked.engine == "both" else (asked.engine,):
        with tempfile.TemporaryDirectory() as folder, store(engine, folder) as url:
            crash = Crash(
                engine,
                url,
                Path(folder),
                seed,
                clients=asked.clients,
                pause=asked.pause_ms / 1000,
                most=asked.most,
                say=lambda text: print(text, file=sys.stderr, flush=True),
            )
            report = crash.run(asked.rounds, asked.minutes * 60)
        print(*report.lines(), sep="\n", flush=True)
        lost += bool(report.problems)
    print(f"{(asked.engine == 'both') + 1 - lost} passed, {lost} failed")
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
