"""How long things took, as a histogram."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper bounds in seconds; each belongs to its own bucket."""


class Durations:
    """How many took how long."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        """One for each of BOUNDS, and those that took longer."""
        self.total = 0.0
        """Seconds, all together."""

    # Has a twin in shortcut/lending.c.
    def note(self, seconds: float) -> None:
        """Take one more."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds
