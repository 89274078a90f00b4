"""How a target is, in the words of the RDS API (DescribeDBProxyTargets)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """As TargetHealth.State."""

    REGISTERING = "REGISTERING"
    AVAILABLE = "AVAILABLE"
    UNAVAILABLE = "UNAVAILABLE"


class Reason(StrEnum):
    """As TargetHealth.Reason; why a target is not available, or PROMOTED of a writer that was none before."""

    NONE = ""
    UNREACHABLE = "UNREACHABLE"
    """No answer in time."""
    CONNECTION_FAILED = "CONNECTION_FAILED"
    """An answer, but none that a database that is up gives."""
    AUTH_FAILURE = "AUTH_FAILURE"
    """It refuses the monitor's user."""
    INVALID_REPLICATION_STATE = "INVALID_REPLICATION_STATE"
    """A replica that does not replicate, or is too far behind."""
    PROMOTED = "PROMOTED"


class Role(StrEnum):
    """As DBProxyTarget.Role."""

    READ_WRITE = "READ_WRITE"
    READ_ONLY = "READ_ONLY"


@dataclass(frozen=True, slots=True)
class Health:
    """What one look at a target has shown."""

    state: State
    role: Role | None = None
    """What it says of itself; None: it was not reached."""
    lag: float | None = None
    """Seconds that a replica is behind; None: not a replica, or not to be seen with the monitor's privileges."""
    reason: Reason = Reason.NONE
    detail: str = ""
    """For the log. Names no secret."""
    cluster: frozenset[str] | None = None
    """Ids of the servers of its cluster, its own among them, as it sees them; None: it does not say."""


REGISTERING = Health(State.REGISTERING)
