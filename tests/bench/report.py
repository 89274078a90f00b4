"""The results as tables for people (Markdown) and as JSON for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.contestant import Contestant
from tests.bench.measure import Result, Sample
from tests.bench.plan import Workload

RESULTS = Path("var/bench")
COLUMNS = (
    "clients",
    "contestant",
    "qps",
    "p95 ms",
    "CPU us/query",
    "qps/direct",
    "qps/HAProxy",
    "p95/HAProxy",
    "CPU/HAProxy",
    "qps/Router",
    "CPU/Router",
)
Measure = Callable[[Sample], float | None]


def ratio(ours: Sequence[Sample], theirs: Sequence[Sample], measure: Measure) -> float | None:
    """Return the median of the ratios of runs in the same round; None if there are none.

    Runs of one round lie next to each other in time, so what disturbed one disturbed the other.
    """
    others = {sample.round: measure(sample) for sample in theirs}
    pairs = [(measure(sample), others.get(sample.round)) for sample in ours]
    ratios = [mine / other for mine, other in pairs if mine is not None and other]
    return median(ratios) if ratios else None


def table(results: Iterable[Result]) -> list[str]:
    """Return the lines of one table: the cells of one load on one database, medians of the rounds."""
    rows = [_row(result, name) for result in results for name in result.cell.contestants]
    # Columns about a contestant that was not there say nothing.
    kept = [index for index in range(len(COLUMNS)) if any(cells[index] for cells in rows)]
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
    return [row([line[index] for index in kept]) for line in lines]


def _row(result: Result, name: str) -> list[str]:
    samples = result.samples.get(name, [])
    start = [str(result.cell.clients), name]
    if not samples:
        return [*start, "failed", *[""] * (len(COLUMNS) - 3)]
    used = [sample.cpu for sample in samples if sample.cpu is not None]

    def against(rival: str, measure: Measure) -> str:
        if rival == name:
            return ""
        value = ratio(samples, result.samples.get(rival, []), measure)
        return "" if value is None else f"{value:.2f}"

    return [
        *start,
        f"{median(sample.qps for sample in samples):,.0f}",
        f"{median(sample.p95 for sample in samples):.2f}",
        f"{median(used):.1f}" if used else "",
        against("direct", _qps),
        against("haproxy", _qps),
        against("haproxy", _p95),
        against("haproxy", _cpu),
        against("router", _qps),
        against("router", _cpu),
    ]


def _qps(sample: Sample) -> float:
    return sample.qps


def _p95(sample: Sample) -> float:
    return sample.p95


def _cpu(sample: Sample) -> float | None:
    return sample.cpu


def row(cells: Sequence[str]) -> str:
    """Return a line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def section(
    workload: Workload, database: str, contestants: Mapping[str, Contestant], results: Sequence[Result]
) -> list[str]:
    """Return heading, settings, table and failures of one load on one database."""
    names = results[0].cell.contestants
    lines = [
        f"## {workload.name} on {database}",
        "",
        f"p95 is of one event: {workload.event}.",
        *(f"- {name}: {contestants[name].setting(workload)}" for name in names),
        "",
        *table(results),
        "",
    ]
    for result in results:
        for name, reasons in result.failures.items():
            lines.append(f"- {result.cell.clients} clients, {name}: {len(reasons)} failed, the first: {reasons[0]}")
        for name, samples in result.samples.items():
            if errors := sum(sample.errors for sample in samples):
                lines.append(
                    f"- {result.cell.clients} clients, {name}: {errors} transactions met a deadlock or the like"
                )
    return lines if lines[-1] == "" else [*lines, ""]


def as_data(header: Mapping[str, str], results: Iterable[Result]) -> dict[str, Any]:
    """Return everything that was measured, for json.dumps."""
    return {
        "header": dict(header),
        "cells": [
            {
                "database": result.cell.database,
                "workload": result.cell.workload.name,
                "clients": result.cell.clients,
                "samples": {
                    name: [dataclasses.asdict(sample) for sample in samples] for name, samples in result.samples.items()
                },
                "failures": result.failures,
            }
            for result in results
        ],
    }
