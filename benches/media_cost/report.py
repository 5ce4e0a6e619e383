"""The table of the results."""

import dataclasses
import os
import statistics

from service.report import amount

HEAD = [
    "case",
    "server",
    "time per packet",
    "packets/s",
    "Mbit/s per subscription",
    "lost (by receivers)",
    "memory per subscription",
    "cores: server, driver",
    "greenroom : Janus",
]


def table(results, subject):
    lines = [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    for case, servers in results.items():
        for index, (name, rounds) in enumerate(servers.items()):
            every = list(rounds.values())
            median = lambda field: statistics.median(getattr(result, field) for result in every)
            cells = [
                case if index == 0 else "",
                name,
                f"{spread([result.cost for result in every])} µs",
                amount(median("rate")),
                f"{median('mbit'):.2f}",
                f"{100 * median('loss'):.2f} % ({100 * median('receiver_loss'):.2f} %)",
                f"{median('memory'):.0f} KiB",
                f"{median('server_cores'):.2f}, {median('driver_cores'):.2f}",
                "" if name == subject else ratio(servers.get(subject, {}), rounds),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def ratio(own, other):
    """Of the time per packet, over the rounds that both have."""
    ratios = [own[number].cost / other[number].cost for number in own.keys() & other.keys()]
    return spread(ratios) if ratios else ""


def spread(values):
    text = amount(statistics.median(values))
    return f"{text} ({amount(min(values))}–{amount(max(values))})" if len(values) > 1 else text


def machine():
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{os.cpu_count()} cores; load averages at the end {load}, which include the benchmark"


def figures(results):
    """As JSON: results by case, server and round."""
    rounds = lambda results: {number: dataclasses.asdict(result) for number, result in results.items()}
    return {case: {name: rounds(results) for name, results in servers.items()} for case, servers in results.items()}
