"""Figures and their table."""

import math
import os
import platform
import statistics
from dataclasses import dataclass


@dataclass
class Figure:
    """One value of one round; `reference` is browser to browser, `most` or `least` what to reach."""

    what: str
    value: float
    unit: str = ""
    reference: float | None = None
    most: float | None = None
    least: float | None = None

    def __str__(self):
        reference = "" if self.reference is None else f" (browser to browser {number(self.reference)})"
        return f"{self.what}: {number(self.value)} {self.unit}{reference}"


class Results:
    def __init__(self):
        self.figures = {}

    def add(self, situation, figure):
        self.figures.setdefault((situation, figure.what), []).append(figure)

    def rows(self):
        for (situation, what), figures in self.figures.items():
            values = [figure.value for figure in figures]
            references = [figure.reference for figure in figures if figure.reference is not None]
            yield situation, what, figures[-1], values, references

    def table(self):
        lines = ["| situation | figure | value | browser to browser | to reach | reached |", "|---|---|---|---|---|---|"]
        last = None
        for situation, what, figure, values, references in self.rows():
            value = statistics.median(values)
            spread = f" ({number(min(values))}–{number(max(values))})" if len(values) > 1 else ""
            reference = number(statistics.median(references)) if references else ""
            aim, reached = "", ""
            if figure.most is not None:
                aim, reached = f"≤ {number(figure.most)}", "yes" if value <= figure.most else "no"
            if figure.least is not None:
                aim, reached = f"≥ {number(figure.least)}", "yes" if value >= figure.least else "no"
            first = situation if situation != last else ""
            last = situation
            unit = f" {figure.unit}" if figure.unit else ""
            lines.append(f"| {first} | {what} | {number(value)}{unit}{spread} | {reference} | {aim} | {reached} |")
        return "\n".join(lines)

    def json(self):
        return [
            {"situation": situation, "figure": what, "unit": figure.unit, "values": values, "references": references}
            | {"most": figure.most, "least": figure.least}
            for situation, what, figure, values, references in self.rows()
        ]


def number(value):
    if math.isinf(value):
        return "never"
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def machine(session):
    load = " ".join(f"{load:.1f}" for load in os.getloadavg())
    return f"Chromium {session.chromium.version}; {platform.machine()}, {os.cpu_count()} cores, load {load}"
