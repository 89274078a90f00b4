"""The command line of the benchmark."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.bench.plan import CLIENTS, WORKLOADS, Database, Workload

CONTESTANTS = ("direct", "rdsproxy", "haproxy", "router")


@dataclass(frozen=True)
class Options:
    """What to measure and for how long."""

    database: Database
    workloads: tuple[Workload, ...]
    clients: tuple[int, ...]
    contestants: tuple[str, ...]
    rounds: int
    seconds: int
    profile: bool


def parse_arguments(arguments: Sequence[str] | None = None) -> Options:
    """Return the options; argparse ends the program when one is wrong."""
    names = [workload.name for workload in WORKLOADS]
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Compare rdsproxy with no proxy, HAProxy and MySQL Router: see docs/benchmarks.md.",
    )
    add = parser.add_argument
    add("--database", choices=("mariadb", "mysql"), default="mariadb", help="default: mariadb")
    add("--only", type=list_of(names), metavar="LOADS", help=f"some of {','.join(names)}")
    add("--clients", type=_numbers, metavar="N,N", help=f"default: {','.join(map(str, CLIENTS))}")
    add("--contestants", type=list_of(CONTESTANTS), metavar="NAMES", help=f"some of {','.join(CONTESTANTS)}")
    add("--rounds", type=number, default=3, metavar="N", help="default: 3")
    add("--seconds", type=number, metavar="N", help="of one run; default: 4, with --quick 2")
    add("--quick", action="store_true", help="8 and 64 clients without Router, about five minutes")
    add("--profile", action="store_true", help="cProfile of rdsproxy in one cell (point-select, 8 clients, or as said)")
    said = parser.parse_args(arguments)
    contestants = said.contestants or (CONTESTANTS[:3] if said.quick else CONTESTANTS)
    workloads = tuple(load for load in WORKLOADS if said.only is None or load.name in said.only)
    clients = said.clients or ((8, 64) if said.quick else CLIENTS)
    if said.profile:
        contestants = ("rdsproxy",)
        workloads = workloads[:1]
        clients = said.clients[:1] if said.clients else (8,)
    seconds = said.seconds or (2 if said.quick else 4)
    return Options(said.database, workloads, clients, contestants, said.rounds, seconds, said.profile)


def number(text: str) -> int:
    """Return a number of clients, rounds or seconds."""
    value = int(text)
    # 600: the server's max_connections leaves room for no more clients that have one each.
    if not 1 <= value <= 600:
        raise argparse.ArgumentTypeError("must be from 1 to 600")
    return value


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(number(part) for part in text.split(","))


def list_of(names: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """Return what reads some of these names, with commas between."""

    def chosen(text: str) -> tuple[str, ...]:
        parts = text.split(",")
        for part in parts:
            if part not in names:
                raise argparse.ArgumentTypeError(f"{part!r} is none of {', '.join(names)}")
        # In our order: direct first.
        return tuple(name for name in names if name in parts)

    return chosen
