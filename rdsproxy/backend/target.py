"""A database server, and what the first connection to it learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rdsproxy.backend.connection import DatabaseConnection
from rdsproxy.backend.login import ask
from rdsproxy.protocol import commands
from rdsproxy.protocol.handshake import Greeting
from rdsproxy.protocol.results import number
from rdsproxy.session.pinning import CHANGING
from rdsproxy.session.state import Collation
from rdsproxy.session.tracking import SYSTEM_VARIABLES

# Since 10.10 MariaDB has collations that belong to several character sets, and lists them in a table of their own.
_COLLATIONS: Final = (
    b"SELECT ID, COLLATION_NAME, CHARACTER_SET_NAME FROM information_schema.COLLATIONS /*M!101001 UNION SELECT ID, "
    b"FULL_COLLATION_NAME, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY */"
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What does not change from one connection of a server to the next."""

    version: str
    """As in the greeting, which clients of the proxy are shown."""
    capabilities: int
    """What the server offers."""
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


async def learn_facts(connection: DatabaseConnection, greeting: Greeting) -> Facts:
    """Ask a connection that has just logged in.

    Raises LoginError, ProtocolError and ConnectionLostError.
    """
    limits, collations, defaults, variables = await ask(
        connection,
        [
            commands.query(b"SELECT @@max_connections, @@max_allowed_packet"),
            commands.query(_COLLATIONS),
            commands.query(
                b"SHOW GLOBAL VARIABLES WHERE Variable_name IN ('character_set_client', 'character_set_connection', "
                b"'character_set_results', 'collation_connection')"
            ),
            commands.query(b"SHOW SESSION VARIABLES"),
        ],
    )
    version = greeting.server_version
    # '*' would put what each statement changes into each OK.
    names = (name for name, _ in variables.table(2) if name)
    tracked = b",".join(name for name in names if name not in CHANGING and b"." not in name)
    max_connections, max_allowed_packet = limits.row(2)
    return Facts(
        version=version,
        capabilities=greeting.capabilities,
        collation=greeting.charset,
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


async def learn_baseline(connection: DatabaseConnection, facts: Facts) -> dict[bytes, bytes]:
    """Ask for the session variables of a connection that was set up and not used yet.

    Variables that differ from connection to connection, or from moment to moment, are left out: to write them
    back would be wrong.
    """
    (variables,) = await ask(connection, [commands.query(b"SHOW SESSION VARIABLES")])
    baseline = {name: value or b"" for name, value in variables.table(2) if name and name not in _FLEETING}
    return baseline | {SYSTEM_VARIABLES: facts.tracked}  # SHOW cuts off long values


MEANING: Final[tuple[bytes, ...]] = (
    b"autocommit",
    b"character_set_client",
    b"character_set_connection",
    b"character_set_results",
    b"collation_connection",
    b"default_week_format",
    b"div_precision_increment",
    b"foreign_key_checks",
    b"group_concat_max_len",
    b"lc_time_names",
    b"sql_mode",
    b"sql_safe_updates",
    b"time_zone",
    b"transaction_isolation",
    b"transaction_read_only",
    b"tx_isolation",
    b"tx_read_only",
    b"unique_checks",
)
"""Session variables that change what statements mean, and so have to be alike on all targets of a group.

Others are each server's own affair: its paths, and `auto_increment_offset`, by which writers are told apart.
"""

_FLEETING: Final = frozenset(
    (
        *CHANGING,
        b"error_count",
        b"identity",
        b"insert_id",
        b"last_insert_id",
        b"pseudo_thread_id",
        b"rand_seed1",
        b"rand_seed2",
        b"timestamp",
        b"warning_count",
    )
)
