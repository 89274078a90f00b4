"""A database server, and what the first connection to it learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rdsproxy.backend.connection import DatabaseConnection
from rdsproxy.backend.login import ask
from rdsproxy.protocol import commands
from rdsproxy.protocol.results import number
from rdsproxy.session.state import Collation

_STATEMENT_ID: Final = b"statement_id"


@dataclass(frozen=True, slots=True)
class Facts:
    """What does not change from one connection of a server to the next."""

    version: str
    """As in the greeting, which clients of the proxy are shown."""
    collation: int
    """The server's default, lower 8 bits, for the greeting."""
    max_connections: int
    max_allowed_packet: int
    """Bytes."""
    tracked: bytes
    """The value for session_track_system_variables."""
    collations: Mapping[int, Collation]
    defaults: Mapping[bytes, bytes]
    """Global values of the character set variables, which COM_RESET_CONNECTION goes back to."""

    @property
    def is_mariadb(self) -> bool:
        """MariaDB, rather than MySQL."""
        return "MariaDB" in self.version

    @property
    def knows_roles(self) -> bool:
        """Users may have roles, as since MySQL 8.0 and in every MariaDB."""
        return self.is_mariadb or not self.version.startswith("5.")


async def learn_facts(connection: DatabaseConnection, version: str, collation: int) -> Facts:
    """Ask a connection that has just logged in. Raises LoginError, ProtocolError and ConnectionLostError."""
    limits, collations, defaults, variables = await ask(
        connection,
        [
            commands.query(b"SELECT @@max_connections, @@max_allowed_packet"),
            commands.query(b"SELECT ID, COLLATION_NAME, CHARACTER_SET_NAME FROM information_schema.COLLATIONS"),
            commands.query(
                b"SHOW GLOBAL VARIABLES WHERE Variable_name IN ('character_set_client', 'character_set_connection', "
                b"'character_set_results', 'collation_connection')"
            ),
            commands.query(b"SHOW SESSION VARIABLES"),
        ],
    )
    if "MariaDB" in version:
        tracked = b"*"
    else:
        # '*' would put statement_id, which grows with each statement, into every OK.
        names = (name for name, _ in variables.table(2) if name)
        tracked = b",".join(name for name in names if name != _STATEMENT_ID and b"." not in name)
    max_connections, max_allowed_packet = limits.row(2)
    return Facts(
        version=version,
        collation=collation,
        max_connections=number(max_connections, 1),
        max_allowed_packet=number(max_allowed_packet, 1 << 24),
        tracked=tracked,
        collations={
            number(id_): Collation(name, character_set)
            for id_, name, character_set in collations.table(3)
            if id_ and name and character_set
        },
        defaults={name: value or b"" for name, value in defaults.table(2) if name},
    )


async def learn_baseline(connection: DatabaseConnection) -> dict[bytes, bytes]:
    """Ask for the session variables of a connection that was set up and not used yet.

    Variables that differ from connection to connection, or from moment to moment, are left out: to write them
    back would be wrong.
    """
    (variables,) = await ask(connection, [commands.query(b"SHOW SESSION VARIABLES")])
    return {name: value or b"" for name, value in variables.table(2) if name and name not in _FLEETING}


_FLEETING: Final = frozenset(
    (
        _STATEMENT_ID,
        b"error_count",
        b"identity",
        b"insert_id",
        b"last_gtid",
        b"last_insert_id",
        b"pseudo_thread_id",
        b"rand_seed1",
        b"rand_seed2",
        b"timestamp",
        b"warning_count",
    )
)
