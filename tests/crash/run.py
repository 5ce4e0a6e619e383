"""The long crash test: scripts/crash --help."""

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

from crash_run import CrashRun  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/crash", description="Kills a server under load repeatedly and checks for lost and inconsistent data.")
    parser.add_argument("--rounds", type=int, default=100, help="kills under load per engine (100)")
    parser.add_argument("--minutes", type=float, default=60, help="start no round after this time, per engine (60)")
    parser.add_argument("--engine", choices=["sqlite", "postgres", "both"], default="both")
    parser.add_argument("--seed", type=int, default=None, help="seed of the random choices (random)")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--pause-ms", type=float, default=10, help="mean pause of a client between two requests (10)")
    parser.add_argument("--most", type=int, default=150, help="maximum writes of a round (150)")
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
    options = arguments()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    failed = 0
    for engine in ("sqlite", "postgres") if options.engine == "both" else (options.engine,):
        with tempfile.TemporaryDirectory() as folder, store(engine, folder) as url:
            crash = CrashRun(
                engine,
                url,
                Path(folder),
                seed,
                clients=options.clients,
                pause=options.pause_ms / 1000,
                max_writes=options.most,
                progress=lambda text: print(text, file=sys.stderr, flush=True),
            )
            report = crash.run(options.rounds, options.minutes * 60)
        print(*report.lines(), sep="\n", flush=True)
        failed += bool(report.problems)
    print(f"{(options.engine == 'both') + 1 - failed} passed, {failed} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
