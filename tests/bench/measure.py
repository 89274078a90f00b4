"""Measuring a cell: each contestant in turn, round after round."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import sysbench
from tests.bench.contestant import Contestant
from tests.bench.plan import WARM_UP_SECONDS, Cell
from tests.bench.processes import BenchError, Child
from tests.servers import DatabaseServer


@dataclass(frozen=True)
class Sample:
    """One run of one contestant. ``p95`` in milliseconds; ``cpu`` of the proxy, microseconds per query."""

    round: int
    qps: float
    p95: float
    cpu: float | None
    errors: int


@dataclass
class Result:
    """All runs of a cell, by contestant; ``failures`` says why a run has no sample."""

    cell: Cell
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    failures: dict[str, list[str]] = field(default_factory=dict)

    def fail(self, name: str, error: BenchError) -> None:
        """Note a run that failed."""
        self.failures.setdefault(name, []).append(str(error))


def measure(
    cell: Cell,
    server: DatabaseServer,
    contestants: Mapping[str, Contestant],
    folder: Path,
    *,
    rounds: int,
    seconds: int,
    say: Callable[[str], None],
) -> Result:
    """Measure a cell and return what there is; a contestant that fails is noted, the others go on.

    ``folder`` is for the contestants' files; it must not exist and does not afterwards.
    """
    result = Result(cell)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        running: dict[str, tuple[sysbench.Login, Child | None]] = {}
        for name in cell.contestants:
            try:
                running[name] = stack.enter_context(
                    contestants[name].running(folder / name, server, cell.workload, cell.clients)
                )
                # Opens the pools and fills the caches.
                sysbench.run(running[name][0], cell.workload, cell.clients, WARM_UP_SECONDS)
            except BenchError as error:
                result.fail(name, error)
        for number, order in enumerate(cell.rounds(rounds)):
            for name in order:
                if name not in running:
                    continue
                try:
                    sample = _run(cell, *running[name], number, seconds)
                except BenchError as error:
                    result.fail(name, error)
                    say(f"    {name}: {error}")
                else:
                    result.samples.setdefault(name, []).append(sample)
    return result


def _run(cell: Cell, login: sysbench.Login, child: Child | None, number: int, seconds: int) -> Sample:
    started: list[float] = []

    def on_started() -> None:
        # What the logins before the start cost belongs to no query.
        if child:
            started.append(child.cpu_seconds())

    report = sysbench.run(login, cell.workload, cell.clients, seconds, on_started)
    cpu = None
    if child and started and report.queries:
        cpu = (child.cpu_seconds() - started[0]) * 1e6 / report.queries
    return Sample(number, report.qps, report.p95, cpu, report.errors)
