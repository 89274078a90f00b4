"""What is measured: workloads, numbers of clients, and the cells that they make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

Database = Literal["mariadb", "mysql"]

LUA = Path(__file__).parent / "lua"
CLIENTS = (1, 8, 64, 512)
# Enough rows that 512 writers do not all meet in one, few enough that all of them stay in memory.
TABLES, ROWS = 4, 25_000

# What a run takes beside its seconds: sysbench starts, and logs its clients in and out.
RUN_OVERHEAD, RUN_OVERHEAD_PER_CLIENT = 0.1, 0.0015
# Starting and stopping a proxy for a cell.
START_OVERHEAD = 0.7
WARM_UP_SECONDS = 1
# Making two servers and their tables.
SERVER_SECONDS = 15


@dataclass(frozen=True)
class Workload:
    """A load, as a script of sysbench.

    ``connections`` are what rdsproxy may have of the database. ``event`` names what one unit of latency is.
    """

    name: str
    script: str
    arguments: tuple[str, ...]
    event: str
    connections: int = 20


WORKLOADS = (
    Workload("point-select", "oltp_point_select", ("--db-ps-mode=disable",), "one query"),
    Workload("read-write", "oltp_read_write", ("--db-ps-mode=disable",), "a transaction of 20 queries"),
    Workload("prepared", "oltp_point_select", ("--db-ps-mode=auto",), "one execution", connections=8),
    Workload("large-results", str(LUA / "large_results.lua"), ("--db-ps-mode=disable",), "2,000 rows, 250 kB"),
    Workload("connect", str(LUA / "connect.lua"), ("--db-ps-mode=disable",), "connect, one query, quit"),
)


@dataclass(frozen=True)
class Cell:
    """One load by one number of clients on one database, for each of the contestants in turn."""

    database: Database
    workload: Workload
    clients: int
    contestants: tuple[str, ...]

    def rounds(self, count: int) -> Iterator[tuple[str, ...]]:
        """Return the order of the contestants in each round: each comes first in its turn."""
        for number in range(count):
            turn = number % len(self.contestants)
            yield self.contestants[turn:] + self.contestants[:turn]


def make_plan(
    database: Database, contestants: Sequence[str], workloads: Iterable[Workload], clients: Sequence[int]
) -> list[Cell]:
    """Return the cells of a run, those of one database after the other.

    Router's connection sharing does not work with MariaDB. With MariaDB as the database Router gets
    cells of its own on MySQL, and rdsproxy is measured there once more to be compared with it.
    """
    groups: list[tuple[Database, tuple[str, ...]]]
    if database == "mariadb" and "router" in contestants:
        rivals = tuple(name for name in contestants if name in ("rdsproxy", "router"))
        groups = [("mariadb", tuple(name for name in contestants if name != "router")), ("mysql", rivals)]
    else:
        groups = [(database, tuple(contestants))]
    loads = list(workloads)
    return [
        Cell(where, workload, count, who) for where, who in groups if who for workload, count in product(loads, clients)
    ]


def estimate(plan: Sequence[Cell], rounds: int, seconds: int) -> float:
    """Return about how many seconds a run takes."""
    total: float = SERVER_SECONDS
    for cell in plan:
        overhead = RUN_OVERHEAD + RUN_OVERHEAD_PER_CLIENT * cell.clients
        runs = START_OVERHEAD + WARM_UP_SECONDS + overhead + rounds * (seconds + overhead)
        total += len(cell.contestants) * runs
    return total
