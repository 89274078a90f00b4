"""The results as a table for people (Markdown) and as JSON for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, median_high
from typing import Any

from tests.bench.failover.measure import Sample
from tests.bench.report import row

COLUMNS = (
    "event",
    "contestant",
    "clients dropped",
    "errors",
    "outside transactions",
    "failed connects",
    "idle dropped",
    "idle changed",
    "first write s",
    "outage s",
    "lost",
    "doubled",
)


@dataclass
class Result:
    """All rounds of one event, by contestant; ``failures`` says why a round has no sample."""

    event: str
    contestants: Sequence[str]
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    failures: dict[str, list[str]] = field(default_factory=dict)

    def typical(self, name: str) -> Sample | None:
        """Return the round with the median outage."""
        samples = self.samples.get(name)
        if not samples:
            return None
        middle = median_high(sample.outage for sample in samples)
        return next(sample for sample in samples if sample.outage == middle)


def table(results: Iterable[Result]) -> list[str]:
    """Return the lines of the table."""
    rows = [_cells(result, name) for result in results for name in result.contestants]
    return [row(cells) for cells in (COLUMNS, ["---"] * len(COLUMNS), *rows)]


def _cells(result: Result, name: str) -> list[str]:
    samples = result.samples.get(name, [])
    if not samples:
        return [result.event, name, "failed", *[""] * (len(COLUMNS) - 3)]
    first = [sample.first_write for sample in samples if sample.first_write is not None]
    return [
        result.event,
        name,
        _middle(sample.dropped for sample in samples),
        _errors(samples),
        _middle(sample.outside for sample in samples),
        _middle(sample.refused for sample in samples),
        _middle(sample.idle_dropped for sample in samples),
        _middle(sample.idle_changed for sample in samples),
        f"{median(first):.2f}" if first else "",
        f"{median(sample.outage for sample in samples):.2f}",
        # What must not be is not averaged away.
        _worst(sample.lost for sample in samples),
        _worst(sample.doubled for sample in samples),
    ]


def _middle(numbers: Iterable[int]) -> str:
    return f"{median_high(numbers)}"


def _worst(numbers: Iterable[int]) -> str:
    return f"{max(numbers)}"


def _errors(samples: Sequence[Sample]) -> str:
    names = sorted({name for sample in samples for name in sample.errors})
    counts = {name: [sample.errors.get(name, 0) for sample in samples] for name in names}
    return ", ".join(f"{name}: {_range(numbers)}" for name, numbers in counts.items()) or "none"


def _range(numbers: Sequence[int]) -> str:
    least, most = min(numbers), max(numbers)
    return f"{most}" if least == most else f"{least} to {most}"


def notes(results: Iterable[Result]) -> list[str]:
    """Return a line for each thing that a table cannot say."""
    lines = []
    for result in results:
        for name, reasons in result.failures.items():
            lines.append(f"- {result.event}, {name}: {len(reasons)} rounds failed, the first: {reasons[0]}")
        for name, samples in result.samples.items():
            problems = [problem for sample in samples for problem in sample.problems]
            if problems:
                lines.append(f"- {result.event}, {name}: {problems[0]}")
    return lines


def as_data(header: Mapping[str, str], results: Iterable[Result]) -> dict[str, Any]:
    """Return everything that was measured, for json.dumps."""
    return {
        "header": dict(header),
        "events": [
            {
                "event": result.event,
                "samples": {
                    name: [dataclasses.asdict(sample) for sample in samples] for name, samples in result.samples.items()
                },
                "failures": result.failures,
            }
            for result in results
        ],
    }
