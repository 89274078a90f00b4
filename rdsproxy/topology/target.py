"""One server of a target group."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from rdsproxy.backend.connector import Connector
from rdsproxy.pool.pool import Pool
from rdsproxy.topology.health import REGISTERING, Health, Reason, Role, State


class Place(NamedTuple):
    """Where a server is."""

    host: str
    """A name or an address."""
    port: int
    name: str
    """What its certificate is for: the host, or the name that leads to its address."""
    role: Role | None = None
    """As configured; None: as it says of itself."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Target:
    """A server, how it was when last looked at, and the connections to it."""

    def __init__(self, place: Place, connector: Connector) -> None:
        self.place = place
        self.connector = connector
        self.health = REGISTERING
        self.pool: Pool | None = None
        """Its connections in the role that it has now, once anybody wanted one."""

    def __repr__(self) -> str:
        return f"Target({self.place})"

    def told(self, health: Health) -> None:
        """Take what a look at it has shown."""
        if health.state is State.AVAILABLE and health.role is None:
            # It is there, but could not be asked: so it is what it was.
            health = replace(health, role=self.health.role)
        before = self.health
        if health.role is Role.READ_WRITE and (before.role is Role.READ_ONLY or before.reason is Reason.PROMOTED):
            health = replace(health, reason=Reason.PROMOTED)
        self.health = health

    @property
    def available(self) -> bool:
        """It answers."""
        if self.place.role is not None and self.health.reason is Reason.AUTH_FAILURE:
            # It need not be asked for its role, and others may be let in.
            return True
        return self.health.state is State.AVAILABLE

    @property
    def shown(self) -> tuple[str, str]:
        """Its state and role, for operators."""
        return self.health.state.value, self.role.value if self.role is not None else "UNKNOWN"

    @property
    def role(self) -> Role | None:
        """Its role, while it answers: the configured one, or what it says."""
        return self.place.role or self.health.role if self.available else None
