"""How many connections a pool may have, from the settings and what the target allows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings of `[target_group]` that bound a pool."""

    max_connections_percent: int
    max_connections: int | None
    max_idle_connections_percent: int
    borrow_timeout: float
    """Seconds; 0: do not wait."""
    max_prepared_statements: int
    """On one connection."""

    def connections(self, of_target: int) -> int:
        """Give how many connections may be open at a target that allows `of_target`; at least 1."""
        # One is the monitor's.
        share = max(1, min(of_target * self.max_connections_percent // 100, of_target - 1))
        return share if self.max_connections is None else min(share, self.max_connections)

    def idle_connections(self, of_target: int) -> int:
        """Give how many may stay open unused."""
        return min(of_target * self.max_idle_connections_percent // 100, self.connections(of_target))

    def prepared_statements(self, of_target: int, connections: int) -> int:
        """Give how many one of so many connections may keep at a target that allows `of_target` in all; at least 1.

        Were the target's limit used up by what the proxy keeps, its other clients could prepare nothing.
        """
        return max(1, min(self.max_prepared_statements, of_target // connections))
