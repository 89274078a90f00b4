"""What befalls a target group: a line in the log each, by the ids of RDS's own events, and counted.

Source of the ids: "Amazon RDS event categories and event messages" in the RDS user guide.
"""

from __future__ import annotations

from typing import Any, Final

import structlog

from rdsproxy.topology.health import State

FAILOVER_STARTED: Final = "RDS-EVENT-0013"
"""A Multi-AZ instance failover started."""
FAILOVER_COMPLETED: Final = "RDS-EVENT-0071"
"""Completed failover to DB instance."""
PREVIOUS_PRIMARY: Final = "RDS-EVENT-0070"
"""Promoting previous primary again."""

_log = structlog.get_logger("rdsproxy.topology")


class Events:
    """The log of one target group, and its sums. Times are reactor time, in seconds."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._lost_at: float | None = None
        self._without_writer = 0.0
        self.failovers = 0
        """How often another target became the writer."""
        self.rivalries = 0
        """How often more than one target claimed to be the writer."""

    @property
    def without_writer(self) -> float:
        """Seconds in all during which clients of the writer were held, until now."""
        since = self._reactor.seconds() - self._lost_at if self._lost_at is not None else 0.0
        return self._without_writer + since

    def found(self, target: object, *, first: bool, same: bool) -> None:
        """Clients are led to this writer."""
        if same and self._lost_at is None:
            return  # it was only looked at
        held = self._reactor.seconds() - self._lost_at if self._lost_at is not None else 0.0
        self._lost_at = None
        self._without_writer += held
        if first:
            _log.info("writer found", target=str(target))
        elif same:
            _log.info(
                "the writer is back", target=str(target), held_seconds=round(held, 3), event_id=PREVIOUS_PRIMARY
            )
        else:
            self.failovers += 1
            _log.warning(
                "failover completed", target=str(target), held_seconds=round(held, 3), event_id=FAILOVER_COMPLETED
            )

    def lost(self, target: object, why: str) -> None:
        """Clients have to wait from here on."""
        if self._lost_at is None:
            self._lost_at = self._reactor.seconds()
        _log.warning("the writer is lost", target=str(target), reason=why, event_id=FAILOVER_STARTED)

    def paused(self) -> None:
        """An operator has paused the proxy."""
        if self._lost_at is None:
            self._lost_at = self._reactor.seconds()
        _log.warning("paused")

    def resumed(self) -> None:
        """An operator has ended the pause."""
        _log.warning("resumed")

    def rivals(self, writer: object, others: list[str]) -> None:
        """More than one target takes writes."""
        self.rivalries += 1
        _log.error(
            "several targets claim to be the writer; clients stay with the one that was it first",
            target=str(writer),
            others=others,
        )

    def changed(self, target: object, state: str, role: str, reason: str, detail: str) -> None:
        """A target is otherwise than it was."""
        log = _log.info if state == State.AVAILABLE else _log.warning
        log("target", target=str(target), state=state, role=role, reason=reason, detail=detail)

    def listed(self, targets: list[str]) -> None:
        """The group has other targets than before."""
        _log.info("targets", targets=targets)
