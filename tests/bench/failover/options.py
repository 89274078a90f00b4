"""The command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.failover.contestants import CONTESTANTS
from tests.bench.failover.events import EVENTS, Event
from tests.bench.options import list_of, number
from tests.bench.plan import Database

PICTURE = Path("docs/failover.svg")


@dataclass(frozen=True)
class Options:
    """What to measure. ``delay``, ``timeout`` and ``limit`` are in seconds."""

    database: Database
    events: tuple[Event, ...]
    contestants: tuple[str, ...]
    rounds: int
    clients: int
    delay: float
    """From the event to the promotion."""
    timeout: float
    """What clients wait for an answer."""
    limit: float
    """No run begins later than this."""
    picture: Path | None


def parse_arguments(arguments: Sequence[str] | None = None) -> Options:
    """Return the options; argparse ends the program when one is wrong."""
    names = [event.name for event in EVENTS]
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.failover",
        description="Compare what a failover costs through rdsproxy, HAProxy and no proxy: see docs/benchmarks.md.",
    )
    add = parser.add_argument
    add("--database", choices=("mariadb", "mysql"), default="mariadb", help="default: mariadb")
    add("--events", type=list_of(names), default=tuple(names), metavar="NAMES", help=f"some of {','.join(names)}")
    add(
        "--contestants",
        type=list_of(CONTESTANTS),
        default=CONTESTANTS,
        metavar="NAMES",
        help=f"some of {','.join(CONTESTANTS)}",
    )
    add("--rounds", type=number, default=3, metavar="N", help="default: 3")
    add("--clients", type=number, default=16, metavar="N", help="that write; default: 16")
    add("--delay", type=_seconds, default=1.0, metavar="S", help="from the event to the promotion; default: 1")
    add("--timeout", type=_seconds, default=5.0, metavar="S", help="that clients wait for an answer; default: 5")
    add("--limit", type=_seconds, default=540.0, metavar="S", help="begin no run after this time; default: 540")
    add("--picture", type=Path, nargs="?", const=PICTURE, metavar="FILE", help=f"write an SVG; default: {PICTURE}")
    said = parser.parse_args(arguments)
    return Options(
        said.database,
        tuple(event for event in EVENTS if event.name in said.events),
        said.contestants,
        said.rounds,
        said.clients,
        said.delay,
        said.timeout,
        said.limit,
        said.picture,
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError("must be above 0 and at most 3600")
    return seconds
