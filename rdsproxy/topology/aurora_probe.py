"""Look at one server of an Aurora cluster: how it is, and whom it knows of.

Source: "Aurora MySQL-specific information_schema tables" in the Aurora user guide. A server that is deleted or renamed
stays in the table, with an old LAST_UPDATE_TIMESTAMP.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rdsproxy.backend.connection import DatabaseConnection
from rdsproxy.protocol import commands
from rdsproxy.protocol.errors import ProtocolError
from rdsproxy.protocol.results import Row
from rdsproxy.topology.health import Health, Role, State
from rdsproxy.topology.probe import ASK_ROLE, Probe, role_in

_ASK_ID: Final = commands.query(b"SELECT @@aurora_server_id")
_ASK_CLUSTER: Final = commands.query(
    b"SELECT SERVER_ID, SESSION_ID = 'MASTER_SESSION_ID', REPLICA_LAG_IN_MILLISECONDS, "
    b"UNIX_TIMESTAMP(LAST_UPDATE_TIMESTAMP) FROM information_schema.replica_host_status"
)
# ER_UNKNOWN_TABLE (of information_schema), ER_NO_SUCH_TABLE, ER_UNKNOWN_SYSTEM_VARIABLE
_NOT_AURORA: Final = frozenset((1109, 1146, 1193))

GHOST: Final = 300.0
"""Seconds that a row may be older than the newest one: beyond, its server is gone. By the newest row, and not by the
clock: the column is a DATETIME, and in which time zone is not documented."""


class AuroraProbe(Probe):
    """Asks for the cluster instead of SHOW REPLICA STATUS, as long as the server does not turn out to be no Aurora."""

    _is_aurora = True

    async def _ask(self, connection: DatabaseConnection) -> Health:
        if not self._is_aurora:
            return await super()._ask(connection)
        variables, name, rows = await connection.ask([ASK_ROLE, _ASK_ID, _ASK_CLUSTER])
        role = role_in(variables)
        err = name.err or rows.err
        if err is None:
            return _health(role, name.row(1)[0], rows.table(4))
        self._is_aurora = err.code not in _NOT_AURORA
        why = "it is not Aurora" if err.code in _NOT_AURORA else "its cluster cannot be listed"
        return Health(State.AVAILABLE, role, detail=f"{why}: error {err.code}")


def _health(role: Role, name: bytes | None, rows: Iterable[Row]) -> Health:
    own = _text(name)
    lag: float | None = None
    writer: tuple[float, str] | None = None
    ages: dict[str, float] = {}
    for server, is_writer, behind, updated in rows:
        name_there = _text(server)
        at = _number(updated, float("inf"))
        ages[name_there] = at
        if is_writer == b"1" and (writer is None or at > writer[0]):
            writer = at, name_there
        if name_there == own and role is Role.READ_ONLY and behind is not None:
            lag = _number(behind, 0.0) / 1000
    newest = max((at for at in ages.values() if at != float("inf")), default=0.0)
    cluster = {server for server, at in ages.items() if at >= newest - GHOST}
    cluster.add(own)
    if writer is not None:
        # It is not told whether the writer's own row is kept up to date.
        cluster.add(writer[1])
    return Health(State.AVAILABLE, role, lag, cluster=frozenset(cluster - {""}))


def _text(value: bytes | None) -> str:
    return (value or b"").decode("ascii", "replace")


def _number(value: bytes | None, default: float) -> float:
    try:
        return default if value is None else float(value)
    except ValueError:
        raise ProtocolError("not a number in answer to the proxy's own query") from None
