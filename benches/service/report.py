"""Results and their tables."""

import dataclasses
import datetime
import math
import os
import pathlib
import platform
import statistics
import subprocess

from .context import ROOT


def at_least(least):
    return f"≥ {least:g}", lambda ratio: ratio >= least


def at_most(most, text=None):
    return text or f"≤ {most:g}", lambda ratio: ratio <= most


@dataclasses.dataclass
class Comparison:
    """A comparison: the results of both subjects in each round, and their ratio."""

    what: str
    against: str
    unit: str
    subject: list
    reference: list
    aim: tuple | None = None
    note: str = ""
    # Compare times rather than rates: twice the rate is half the time.
    inverse: bool = False

    @property
    def ratios(self):
        pairs = zip(self.subject, self.reference, strict=True)
        pairs = [(other, own) if self.inverse else (own, other) for own, other in pairs]
        # The reference can be 0 in a round on a busy machine.
        return [above / below if below else math.inf for above, below in pairs]

    @property
    def ratio(self):
        return statistics.median(self.ratios)

    @property
    def held(self):
        return "" if self.aim is None else "yes" if self.aim[1](self.ratio) else "no"

    def cells(self):
        ratios = self.ratios
        spread = f" ({amount(min(ratios))}–{amount(max(ratios))})" if len(ratios) > 1 else ""
        return [
            self.what,
            f"{amount(statistics.median(self.subject))} {self.unit}",
            self.against,
            f"{amount(statistics.median(self.reference))} {self.unit}",
            f"{amount(self.ratio)}{spread}",
            self.aim[0] if self.aim else "",
            self.held,
        ]


@dataclasses.dataclass
class Measurement:
    """An absolute result."""

    what: str
    value: float
    unit: str
    note: str = ""

    def cells(self):
        return [self.what, f"{amount(self.value)} {self.unit}", self.note]


HEAD = ["benchmark", "greenroom", "reference", "reference result", "ratio", "target", "met"]


def amount(number):
    """A number with three significant digits."""
    if number >= 1000:
        return f"{number:,.0f}"
    if number >= 100:
        return f"{number:.0f}"
    return f"{number:.3g}" if number < 10 else f"{number:.1f}"


def plain(line):
    if isinstance(line, Measurement):
        return f"{line.what}\n    {amount(line.value)} {line.unit}" + (f"\n      {line.note}" if line.note else "")
    what, own, against, other, ratio, aim, held = line.cells()
    verdict = f"  target {aim}, met: {held}" if aim else ""
    note = f"\n      {line.note}" if line.note else ""
    return f"{what}\n    {own}  |  {against}: {other}\n    ratio {ratio}{verdict}{note}"


def figures(line):
    """A result as JSON."""
    fields = dataclasses.asdict(line)
    if isinstance(line, Comparison):
        fields |= {"aim": line.aim and line.aim[0], "ratios": line.ratios, "ratio": line.ratio, "held": line.held}
    return fields


def document(where, context, done):
    """The section of benches/RESULTS.md."""
    lines = [line for found in done.values() for line in found]
    measured = [line for line in lines if isinstance(line, Comparison)]
    facts = [line for line in lines if isinstance(line, Measurement)]
    how = "--quick, " if context.quick else ""
    text = [
        "## Service benchmark",
        "",
        f"`benches/run` ({how}{context.rounds} rounds of {context.seconds:g} s, {context.connections} connections). {where}.",
    ]
    if measured:
        text += ["", table(HEAD, measured), *(f"- {line.what}: {line.note}." for line in measured if line.note)]
    if facts:
        text += ["", "## Capacity", "", table(["what", "result", "note"], facts)]
    return "\n".join(text)


def table(head, lines):
    rows = [head, ["---"] * len(head), *(line.cells() for line in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def machine(context):
    """The machine and the date."""
    cpu = next(
        (line.split(":")[1].strip() for line in read("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    kilobytes = next((int(line.split()[1]) for line in read("/proc/meminfo") if line.startswith("MemTotal")), 0)
    git = lambda *words: subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    what = f"{cpu}, {os.cpu_count()} cores, {kilobytes / 2**20:.0f} GiB"
    commit = f"commit {git('rev-parse', '--short', 'HEAD')}{changed}"
    parts = [str(datetime.date.today()), what, "a given binary" if context.given else commit]
    if "postgres" in context.cache:
        parts.append(f"PostgreSQL {context.postgres.version()}")
    pinned = next(
        line for line in (ROOT / "benches/requirements.txt").read_text().splitlines() if line.startswith("moto")
    )
    parts.append("moto " + pinned.partition("==")[2])
    load = os.getloadavg()[0]
    return "; ".join(parts) + f"; load average at the end {load:.1f}"


def read(file):
    try:
        return pathlib.Path(file).read_text().splitlines()
    except OSError:
        return []
